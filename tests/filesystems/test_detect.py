"""What stands where: signatures, their order, and disks on which more than one thing claims a place."""

import random
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest

import vhdx
from tests.filesystems.noise import MIB, empty, looked_at, only, patch, piece, reader_of, run
from tests.partitions.tables import gpt_disk, mbr_record
from tests.support.tools import needs
from vhdx.disk.raw import RawDisk
from vhdx.disk.volume_map import VolumeMap
from vhdx.disk.volumes import volumes
from vhdx.filesystems import bits as bits_of_bitmaps
from vhdx.filesystems import detect
from vhdx.storage.file import open_for_reading

SIZE = 64 * MIB
SIGNATURES = {
    "BitLocker": (3, b"-FVE-FS-"),
    "BitLocker To Go": (424, bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")),
    "ReFS": (3, b"ReFS\0\0\0\0"),
    "LUKS": (0, b"LUKS\xba\xbe"),
    "ZFS": (16384, bytes((1, 1, *bytes(9), 1)) + b"\0\0\0\x24\0\0\0\x20\0\0\0\7version\0"),
    "bcache": (4096 + 24, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")),
    "bcachefs": (4096 + 24, bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef")),
    "Stratis": (516, b"!Stra0tis\x86\xff\x02^\x41rh"),
    "VDO": (0, b"dmvdo001"),
    "Ceph": (0, b"bluestore block device\n"),
    "F2FS": (1024, (0xF2F52010).to_bytes(4, "little")),
    "HFS+": (1024, b"H+\0\4"),
    "APFS": (32, b"NXSB"),
    "JFS": (32768, b"JFS1"),
    "ReiserFS": (65536 + 52, b"ReIsEr2Fs"),
    "UFS 1": (8192 + 1372, (0x11954).to_bytes(4, "little")),
    "UFS 2": (65536 + 1372, (0x19540119).to_bytes(4, "little")),
    "ISO 9660": (32769, b"CD001\1"),
    "UDF": (32769, b"BEA01\1"),
    "mdraid 1.1": (0, (0xA92B4EFC).to_bytes(4, "little")),
    "mdraid 1.2": (4096, (0xA92B4EFC).to_bytes(4, "little")),
    "mdraid 1.0": (SIZE - 8192, (0xA92B4EFC).to_bytes(4, "little")),
    "mdraid 0.90": (SIZE - 65536, (0xA92B4EFC).to_bytes(4, "little")),
    "mdraid 0.90 of others": (SIZE - 65536, (0xA92B4EFC).to_bytes(4, "big")),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_what_is_not_read_is_named_and_kept(name: str, tmp_path: Path) -> None:
    image = empty(tmp_path / "disk.raw", SIZE)
    patch(image, *SIGNATURES[name])
    found = only(image)
    assert found.kind in (name, name.rpartition(" ")[0], name.split(maxsplit=1)[0])
    assert (found.free, found.used, found.state, len(found.reasons)) == (None, None, "unknown", 1)


@needs("cryptsetup")
def test_a_volume_that_cryptsetup_made(tmp_path: Path) -> None:
    image = empty(tmp_path / "disk.raw", SIZE)
    words: list[str | Path] = [
        "cryptsetup",
        "luksFormat",
        "-q",
        "--pbkdf",
        "pbkdf2",
        "--pbkdf-force-iterations",
        "1000",
        image,
        "-",
    ]
    subprocess.run(words, input=b"secret", check=True, capture_output=True)
    assert only(image).reasons == ("it is encrypted",)


def test_nothing_is_nothing(tmp_path: Path) -> None:
    for size in (512, 4096, 65536, SIZE):
        with looked_at(empty(tmp_path / "disk.raw", size)) as found:
            assert found == ()
    noise = random.Random(1).randbytes(100_000)
    assert detect.detect(reader_of(noise), len(noise)) is None
    assert detect.detect(reader_of(b""), 0) is None


def test_a_signature_without_sense_is_not_passed_over(tmp_path: Path) -> None:
    """Behind a damaged XFS a remnant of something else may stand, and must not be believed."""
    image = empty(tmp_path / "disk.raw", SIZE)
    patch(image, 0, b"XFSB")
    swap(image)
    found = only(image)
    assert (found.kind, found.free) == ("XFS", None)
    assert "makes no sense" in found.reasons[0]


def swap(image: Path) -> None:
    patch(image, 4086, b"SWAPSPACE2")
    patch(image, 1024, (1).to_bytes(4, "little") + (SIZE // 4096 - 1).to_bytes(4, "little"))


@needs("mkfs.xfs")
def test_a_remnant_in_free_space_is_no_doubt_but_one_elsewhere_is(tmp_path: Path) -> None:
    image = empty(tmp_path / "disk.raw", SIZE)
    run("mkfs.xfs", "-q", "-f", image)
    alone = only(image)
    with looked_at(image) as (volume,):
        ranges = list(volume.free_ranges())
    remnant = 65536 - 10
    assert any(start <= remnant and remnant + 10 <= start + length for start, length in ranges)
    patch(image, 1028, (1).to_bytes(4, "little"))
    patch(image, remnant, b"SWAPSPACE2")
    assert only(image) == alone
    with RawDisk(open_for_reading(str(image))) as disk:
        (quick,) = volumes(disk, agree=False)
        assert "swap at" in quick.file_system.reasons[0]
    patch(image, remnant, bytes(10))
    swap(image)
    told = only(image)
    assert (told.kind, told.free, told.state) == ("XFS", None, "unknown")
    assert "swap at 4086" in told.reasons[0]


MAKERS = {
    "ext4": ("mkfs.ext4", "-q", "-F", "-b", "1024"),
    "ext4 in 4 KiB": ("mkfs.ext4", "-q", "-F", "-b", "4096"),
    "XFS": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
    "NTFS": ("mkfs.ntfs", "-q", "-F", "-Q"),
    "FAT32": ("mkfs.vfat", "-F", "32"),
    "FAT16": ("mkfs.vfat", "-F", "16", "-s", "8"),
    "exFAT": ("mkfs.exfat",),
    "swap": ("mkswap",),
}
ORDINARY = (("XFS", "ext4 in 4 KiB"), ("ext4 in 4 KiB", "XFS"), ("NTFS", "FAT32"), ("btrfs", "NTFS"))


@needs("mkfs.ext4", "mkfs.xfs", "mkfs.btrfs", "mkfs.ntfs", "mkfs.vfat", "mkfs.exfat", "mkswap")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(*pair, marks=() if pair in ORDINARY else pytest.mark.slow)
        for pair in permutations(MAKERS, 2)
    ],
)
def test_what_was_made_last_is_believed_or_nothing(before: str, after: str, tmp_path: Path) -> None:
    """Programs that make file systems leave parts of others, each in its way."""
    image = empty(tmp_path / "disk.raw", 160 * MIB)
    for kind in (before, after):
        run(*MAKERS[kind], image)
    found = only(image)
    assert found.free is None or after.startswith(found.kind)


# Disks -------------------------------------------------------------------------------------------


@pytest.fixture(name="swapped")
def _swapped(tmp_path: Path) -> bytes:
    image = empty(tmp_path / "swap.raw", 4 * MIB)
    swap(image)
    patch(image, 1028, (4 * MIB // 4096 - 1).to_bytes(4, "little"))
    return image.read_bytes()


def on_disk(path: Path, start: bytes, *places: int, content: bytes) -> Path:
    empty(path, 32 * MIB)
    patch(path, 0, start[:MIB])
    patch(path, 32 * MIB - 65536, start[-65536:].rjust(65536, b"\0"))
    for place in places:
        patch(path, place, content)
    return path


def test_partitions_are_looked_into_in_their_order(tmp_path: Path, swapped: bytes) -> None:
    table = bytes(gpt_disk(32 * MIB, [(40960, 49151), (2048, 10239)], 512, 16))
    image = on_disk(tmp_path / "disk.raw", table, MIB, 20 * MIB, content=swapped)
    found = vhdx.file_systems(image)
    assert [(one.partition, one.name, one.offset) for one in found] == [
        (1, "partition 1", 20 * MIB),
        (2, "partition 2", MIB),
    ]
    assert all((one.kind, one.free, one.reasons) == ("swap", 4 * MIB - 4096, ()) for one in found)
    with looked_at(image) as both:
        assert list(both[0].free_ranges()) == [(20 * MIB + 4096, 4 * MIB - 4096)]


@pytest.mark.parametrize(
    ("entries", "extra", "reason"),
    [
        ({0: (0x82, 2048, 8192), 1: (0x83, 10000, 2048)}, (), "overlaps with another one"),
        ({0: (0x82, 2048, 8191)}, (), "the space that it stands in only"),
        (
            {0: (0x82, 2048, 8192)},
            (32 * MIB - 65536, b"\xfc\x4e\x2b\xa9"),
            "as a whole has the signature of mdraid",
        ),
        ({0: (0x82, 2048, 8192), 1: (0xEE, 1, 100)}, (), None),
    ],
)
def test_partitions_that_cannot_be_believed_are_kept(
    entries: dict[int, tuple[int, int, int]],
    extra: tuple[int, bytes] | tuple[()],
    reason: str | None,
    tmp_path: Path,
    swapped: bytes,
) -> None:
    image = on_disk(tmp_path / "disk.raw", mbr_record(entries).ljust(MIB, b"\0"), MIB, content=swapped)
    if extra:
        patch(image, *extra)
    found = vhdx.file_systems(image)
    if reason is not None:
        assert found[0].free is None
        assert reason in found[0].reasons[0]


@needs("mkfs.ntfs", "ntfscp")
def test_a_windows_that_sleeps_on_one_volume_has_all_of_the_disk_in_memory(tmp_path: Path) -> None:
    volume, image = empty(tmp_path / "ntfs.raw", 4 * MIB), tmp_path / "disk.raw"
    run("mkfs.ntfs", "-q", "-F", volume)
    awake = volume.read_bytes()
    table = bytes(gpt_disk(32 * MIB, [(2048, 10239), (40960, 49151)], 512, 16))
    on_disk(image, table, MIB, 20 * MIB, content=awake)
    assert [(one.kind, one.state) for one in vhdx.file_systems(image)] == [("NTFS", "clean")] * 2
    (tmp_path / "memory").write_bytes(b"HIBR".ljust(8192, b"m"))
    run("ntfscp", "-f", "-q", volume, tmp_path / "memory", "hiberfil.sys")
    patch(image, 20 * MIB, volume.read_bytes())
    first, second = vhdx.file_systems(image)
    assert first.free is second.free is None
    assert first.reasons == ("a Windows that sleeps, or was not shut down, has another volume of this disk",)
    assert "hibernated" in second.reasons[0]


def test_a_partition_behind_the_end_is_cut(tmp_path: Path, swapped: bytes) -> None:
    table = mbr_record({0: (0x82, 2048, 0xFFFF0000), 1: (0x82, 0xFFFF0000, 100)})
    image = on_disk(tmp_path / "disk.raw", table.ljust(MIB, b"\0"), MIB, content=swapped)
    assert [one.partition for one in vhdx.file_systems(image)] == [1]


def test_segments_out_of_order_give_ranges_in_the_order_of_the_disk(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    with RawDisk(open_for_reading(str(empty(tmp_path / "disk.raw", 4096)))) as disk:
        volume = VolumeMap(disk, [(2000, 100), (2100, 50), (1000, 200), (3000, 50)])
        assert [tuple(segment) for segment in volume.segments] == [
            (0, 2000, 150),
            (150, 1000, 200),
            (350, 3000, 50),
        ]
        runs = [np.array([[10, 20], [100, 100]]), np.array([[340, 20], [370, 10]])]
        rows = [tuple(row) for part in volume.on_disk(lambda: iter(runs)) for row in part.tolist()]
        assert rows == [(1000, 50), (1190, 10), (2010, 20), (2100, 50), (3000, 10), (3020, 10)]
        with pytest.raises(ValueError, match="not inside the volume"):
            volume.read(2, 399)


@needs("mkfs.ntfs", "mkfs.exfat", "mkfs.vfat", "mcopy", "ntfscp")
@pytest.mark.parametrize(
    ("words", "size"),
    [
        (("mkfs.ntfs", "-q", "-F"), 6 * MIB + 512),
        (("mkfs.exfat",), 6 * MIB),
        (("mkfs.vfat", "-F", "12", "-s", "8"), 8 * MIB),
        (("mkfs.vfat", "-F", "16"), 20 * MIB),
        (("mkfs.vfat", "-F", "32"), 40 * MIB),
    ],
)
def test_a_quick_look_counts_what_is_free(words: tuple[str, ...], size: int, tmp_path: Path) -> None:
    image, file = empty(tmp_path / "disk.raw", size), tmp_path / "file"
    run(*words, image)
    file.write_bytes(bytes(300_000))
    if words[0] == "mkfs.ntfs":
        run("ntfscp", "-f", "-q", image, file, "file")
    elif words[0] == "mkfs.vfat":
        run("mcopy", "-i", image, file, "::")
    (quick,), (full,) = vhdx.file_systems(image, quick=True), vhdx.file_systems(image)
    assert quick == full
    assert quick.free is not None


def test_clear_bits_are_counted() -> None:
    chance = random.Random(6)
    for count in (1, 7, 8, 9, 4096, 2_097_153, 2_500_001):
        bitmap = chance.randbytes(-(-count // 8))
        bits = "".join(f"{byte:08b}"[::-1] for byte in bitmap)[:count]
        assert bits_of_bitmaps.clear_count(reader_of(bitmap), count) == bits.count("0")
    assert bits_of_bitmaps.clear_count(reader_of(b""), 1 << 40) is None


# Images and the command ---------------------------------------------------------------------------


def test_an_image_tells_its_file_systems_and_so_does_the_command(tmp_path: Path, swapped: bytes) -> None:
    table = bytes(gpt_disk(32 * MIB, [(2048, 10239)], 512, 16))
    raw = on_disk(tmp_path / "disk.raw", table, MIB, content=swapped)
    image = tmp_path / "disk.vhdx"
    vhdx.convert(raw, image)
    with vhdx.open(image) as disk:
        assert disk.filesystems() == vhdx.file_systems(image) == vhdx.file_systems(raw)
        assert disk.filesystems(quick=True) == disk.filesystems()
    said = subprocess.run(
        [sys.executable, "-m", "vhdx", "info", image], capture_output=True, text=True, check=True
    )
    assert "file systems:\n  partition 1: swap, 4 KiB used, 4 MiB" in said.stdout.replace("4 MiB - ", "")


def test_info_needs_no_numpy(tmp_path: Path, swapped: bytes) -> None:
    table = bytes(gpt_disk(32 * MIB, [(2048, 10239)], 512, 16))
    image = tmp_path / "disk.vhdx"
    vhdx.convert(on_disk(tmp_path / "disk.raw", table, MIB, content=swapped), image)
    code = (
        "import sys; from vhdx.ops.info import info\n"
        "print(info(sys.argv[1]).file_systems[0].kind, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, image], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["swap", "False"]
    assert piece(image, 0, 8) == b"vhdxfile"
