"""Volumes that agree with themselves and still must not be believed: who else has them, where they are."""

import uuid
from pathlib import Path

import pytest

import vhdx
from tests.filesystems.noise import MIB, empty, patch, piece, run
from tests.filesystems.ntfs_making import place, restart_page
from tests.filesystems.test_detect import on_disk
from tests.partitions import tables
from tests.partitions.tables import gpt_disk, mbr_record
from tests.support.tools import needs

SIZE = 32 * MIB
AREA = 4 * MIB
"""Of a volume: 8192 sectors."""


def swap_area(signature: bytes = b"SWAPSPACE2") -> bytes:
    """A swap area of 4 MiB, or one in which a machine sleeps."""
    area = bytearray(AREA)
    area[1024:1032] = (1).to_bytes(4, "little") + (AREA // 4096 - 1).to_bytes(4, "little")
    area[4086:4096] = signature.ljust(10, b"\0")
    return bytes(area)


def made(path: Path, *words: str) -> bytes:
    """A new file system of 4 MiB."""
    run(*words, empty(path, AREA))
    return path.read_bytes()


def two_partitions(path: Path, first: bytes, second: bytes) -> Path:
    table = bytes(gpt_disk(SIZE, [(2048, 10239), (40960, 49151)], 512, 16))
    on_disk(path, table, MIB, content=first)
    patch(path, 20 * MIB, second)
    return path


# Machines that sleep ------------------------------------------------------------------------------


@needs("mkfs.ext4", "mkfs.vfat")
@pytest.mark.parametrize("signature", [b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001"])
def test_a_linux_that_sleeps_has_all_of_the_disk_in_memory(signature: bytes, tmp_path: Path) -> None:
    for words in (("mkfs.ext4", "-q"), ("mkfs.vfat",)):
        content = made(tmp_path / "part.raw", *words)
        image = two_partitions(tmp_path / "disk.raw", content, swap_area())
        assert [one.reasons for one in vhdx.file_systems(image)] == [(), ()]
        two_partitions(image, content, swap_area(signature))
        for quick in (False, True):
            first, second = vhdx.file_systems(image, quick=quick)
            assert first.free is second.free is None
            assert first.reasons[0].startswith("a Linux is hibernated in a swap area of this disk")
            assert second.reasons == ("it holds the memory of a machine that sleeps",)
        before = image.read_bytes()
        path = tmp_path / "disk.vhdx"
        vhdx.convert(image, path, discard_free=True, overwrite=True)
        vhdx.compact(path, discard_free=True, punch=True)
        with vhdx.open(path) as disk:
            assert disk.pread(disk.size, 0) == before


@needs("mkfs.btrfs")
def test_a_btrfs_beside_a_linux_that_sleeps_is_kept(tmp_path: Path) -> None:
    """It has no dirty state: only the swap area tells that later states of it are in memory."""
    area = empty(tmp_path / "btrfs.raw", 16 * MIB)
    run("mkfs.btrfs", "-q", "--mixed", area)
    image = two_partitions(tmp_path / "disk.raw", b"", swap_area(b"S1SUSPEND"))
    table = bytes(gpt_disk(SIZE, [(2048, 2048 + 32767), (40960, 49151)], 512, 16))
    patch(image, 0, table[:MIB])
    patch(image, SIZE - 65536, table[-65536:])
    patch(image, MIB, area.read_bytes())
    kinds = {one.kind: one.free for one in vhdx.file_systems(image)}
    assert kinds == {"btrfs": None, "swap": None}


@needs("mkfs.ntfs", "ntfscp", "mkfs.vfat", "mkfs.exfat", "mkfs.ext4")
def test_a_windows_that_sleeps_has_what_it_mounts_in_memory(tmp_path: Path) -> None:
    sleeping = empty(tmp_path / "ntfs.raw", AREA)
    run("mkfs.ntfs", "-q", "-F", sleeping)
    (tmp_path / "memory").write_bytes(b"HIBR".ljust(8192, b"m"))
    run("ntfscp", "-f", "-q", sleeping, tmp_path / "memory", "hiberfil.sys")
    for words, kept in ((("mkfs.vfat",), True), (("mkfs.exfat",), True), (("mkfs.ext4", "-q"), False)):
        content = made(tmp_path / "part.raw", *words)
        first, second = vhdx.file_systems(two_partitions(tmp_path / "d.raw", content, sleeping.read_bytes()))
        assert second.free is None
        assert (first.free is None) == kept, first


@needs("mkntfs", "ntfscluster", "mkfs.vfat")
def test_a_windows_in_fast_startup_has_what_it_mounts_in_memory(tmp_path: Path) -> None:
    """Its log tells, also where the file of its memory is on another disk."""
    volume = empty(tmp_path / "ntfs.raw", AREA)
    run("mkntfs", "-q", "-F", volume)
    page = restart_page(version=(2, 0))
    patch(volume, place(volume, 2), page + page)
    image = two_partitions(tmp_path / "d.raw", made(tmp_path / "fat", "mkfs.vfat"), volume.read_bytes())
    first, second = vhdx.file_systems(image)
    assert first.free is second.free is None
    assert first.reasons == ("a Windows that sleeps, or was not shut down, has another volume of this disk",)
    assert "fast startup" in second.reasons[0]


def test_the_signature_of_a_sleeper_is_enough(tmp_path: Path) -> None:
    content = bytearray(swap_area(b"S1SUSPEND"))
    content[1028:1032] = bytes(4)
    first, second = vhdx.file_systems(two_partitions(tmp_path / "d.raw", swap_area(), bytes(content)))
    assert first.free is second.free is None


# Partitions that are not what they look like ------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("af9b60a0-1431-4f62-bc68-3311714a69ad", "dynamic disk"),
        ("e75caf8f-f680-4cee-afa3-b001e56efc2d", "pool of disks"),
        ("6a898cc3-1dd2-11b2-99a6-080020736631", "pool of disks"),
    ],
)
def test_partitions_of_volume_managers_are_kept(
    kind: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "LINUX", uuid.UUID(kind))
    first, second = vhdx.file_systems(two_partitions(tmp_path / "disk.raw", swap_area(), swap_area()))
    assert first.free is second.free is None
    assert reason in first.reasons[0]


def test_a_dynamic_disk_in_an_mbr_is_kept(tmp_path: Path) -> None:
    table = mbr_record({0: (0x42, 2048, 8192)}).ljust(MIB, b"\0")
    (found,) = vhdx.file_systems(on_disk(tmp_path / "disk.raw", table, MIB, content=swap_area()))
    assert found.free is None
    assert "dynamic disk" in found.reasons[0]


def test_a_partition_over_the_table_is_kept(tmp_path: Path) -> None:
    """Its last sectors are the backup of the table, whatever its file system thinks of them."""
    last = SIZE // 512 - 1
    for places, content_at in (([(last - 8191, last)], SIZE - AREA), ([(4, 4 + 8191)], 4 * 512)):
        image = empty(tmp_path / "disk.raw", SIZE)
        table = bytes(gpt_disk(SIZE, places, 512, 16))
        patch(image, content_at, swap_area())
        patch(image, 0, table[: 6 * 512 if content_at > MIB else 4 * 512])
        patch(image, SIZE - 33 * 512, table[-33 * 512 :])
        (found,) = vhdx.file_systems(image)
        assert found.free is None
        assert "overlaps with the table" in found.reasons[0]


def test_a_partition_over_records_of_logical_ones_is_kept(tmp_path: Path) -> None:
    record = mbr_record({0: (0x82, 2048, 8192), 1: (0x05, 10000, 40000)})
    image = on_disk(tmp_path / "disk.raw", record.ljust(MIB, b"\0"), MIB, 12000 * 512, content=swap_area())
    patch(image, 10000 * 512, mbr_record({0: (0x82, 2000, 8192)}, 0))
    first, second = vhdx.file_systems(image)
    assert (first.partition, second.partition) == (1, 5)
    assert "overlaps with another one" in first.reasons[0]
    assert second.free is not None


@needs("mkfs.xfs")
def test_a_remnant_in_a_member_of_an_array_is_kept(tmp_path: Path) -> None:
    """The superblock of the array is at the end, where the remnant may call the bytes free."""
    image = empty(tmp_path / "disk.raw", 64 * MIB)
    run("mkfs.xfs", "-q", "-f", image)
    assert vhdx.file_systems(image)[0].free
    patch(image, 64 * MIB - 8192, (0xA92B4EFC).to_bytes(4, "little"))
    (found,) = vhdx.file_systems(image)
    assert (found.kind, found.free, found.state) == ("mdraid", None, "unknown")


@needs("mkfs.ext4")
def test_a_remnant_under_a_pool_is_kept(tmp_path: Path) -> None:
    """The label of a ZFS pool leaves the first 8 KiB alone, and with them the superblock of an ext4."""
    image = empty(tmp_path / "disk.raw", 64 * MIB)
    run("mkfs.ext4", "-q", "-b", "4096", image)
    assert vhdx.file_systems(image)[0].free
    assert piece(image, 16384, 64) == bytes(64), "space that its descriptors may grow into"
    patch(image, 16384 + 12, b"\0\0\0\x24\0\0\0\x20\0\0\0\7version\0")
    (found,) = vhdx.file_systems(image)
    assert (found.kind, found.free) == ("ZFS", None)


@needs("mkfs.ext4")
def test_a_remnant_in_the_disk_of_a_machine_in_the_machine_is_kept(tmp_path: Path) -> None:
    """Its partitions begin behind the first MiB, and in that the superblock of an ext4 may be left."""
    content = bytearray(made(tmp_path / "part.raw", "mkfs.ext4", "-q", "-b", "1024"))
    image = two_partitions(tmp_path / "disk.raw", bytes(content), swap_area())
    assert vhdx.file_systems(image)[0].free
    content[:512] = mbr_record({0: (0x83, 2048, 2048)})
    patch(image, MIB, bytes(content))
    for quick in (False, True):
        first, second = vhdx.file_systems(image, quick=quick)
        assert second.free
        assert (first.kind, first.free) == ("ext4", None)
        assert first.reasons == ("it has a table of partitions of its own, too",)


@needs("mkfs.ntfs", "mkfs.vfat", "mkfs.exfat")
def test_boot_sectors_are_no_tables_of_partitions(tmp_path: Path) -> None:
    for words in (("mkfs.ntfs", "-q", "-F"), ("mkfs.vfat",), ("mkfs.exfat",)):
        content = made(tmp_path / "part.raw", *words)
        first, _ = vhdx.file_systems(two_partitions(tmp_path / "disk.raw", content, swap_area()))
        assert first.reasons == ()
