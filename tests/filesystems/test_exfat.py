"""Free space of exFAT, against exfatprogs and exfat-fuse."""

import random
import struct
from pathlib import Path

import pytest

from tests.support.tools import needs
from vhdx.filesystems import exfat
from vhdx.filesystems.base import FileSystem, examine
from vhdx.filesystems.exfat_boot import Boot, parsed

from .noise import hashes, loop_device, partclone_free, patch
from .scribble import FUSE, aged, clean, mounted, needs_partclone, number, over, reader, reason, run, scribble

MIB = 1 << 20
pytestmark = needs("mkfs.exfat", "fsck.exfat", "dump.exfat", "mount.exfat-fuse", "losetup")


def made(path: Path, size: int, *options: str) -> Path:
    with open(path, "wb") as file:
        file.truncate(size)
    run("mkfs.exfat", "-L", "Söder", *options, path)
    return path


def boot_of(path: Path) -> Boot:
    boot = parsed(reader(path)(512, 0))
    assert boot is not None
    return boot


def free_by_dump(path: Path) -> int:
    return number(run("dump.exfat", path), r"Free Clusters:\s+(\d+)")


@FUSE
@pytest.mark.parametrize(
    ("cluster", "size"),
    [
        (512, 24 * MIB),
        (4096, 64 * MIB + 512 * 3),
        pytest.param(131072, 128 * MIB, marks=pytest.mark.slow),
        pytest.param(2 * MIB, 512 * MIB, marks=pytest.mark.slow),
    ],
)
def test_files_live_through_noise_in_what_is_free(tmp_path: Path, cluster: int, size: int) -> None:
    path = made(tmp_path / "e", size, "-c", str(cluster))
    folder = tmp_path / "folder"
    with loop_device(path) as device, mounted(["mount.exfat-fuse", device], folder):
        aged(folder, cluster, 120 if cluster < MIB else 40, MIB // 4)
        before = hashes(folder)
    result = clean(exfat, path)
    assert (result.file_system.kind, result.file_system.label) == ("exFAT", "Söder")
    assert result.file_system.block_size == cluster
    free = free_by_dump(path) * cluster
    assert result.file_system.free == free > 0
    assert scribble(path, result) == free
    assert "clean" in run("fsck.exfat", "-n", path)
    with loop_device(path) as device, mounted(["mount.exfat-fuse", "-o", "ro", device], folder):
        assert hashes(folder) == before


@FUSE
def test_mounted_one_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path / "e", 24 * MIB)
    with loop_device(path) as device, mounted(["mount.exfat-fuse", device], tmp_path / "folder") as folder:
        (folder / "f").write_bytes(b"x")
        run("sync")
        assert "not unmounted" in reason(exfat, path)
    clean(exfat, path)


@needs_partclone
def test_partclone_finds_the_same(tmp_path: Path) -> None:
    """On some volumes it keeps two clusters more, which `dump.exfat` counts as free, too."""
    path = made(tmp_path / "e", 24 * MIB, "-c", "4096")
    free = clean(exfat, path).file_system.free
    assert free == free_by_dump(path) * 4096
    assert free - partclone_free("partclone.exfat", path) in (0, 2 * 4096)


def test_flags(tmp_path: Path) -> None:
    path = made(tmp_path / "e", 24 * MIB)
    for flags, told in ((2, "not unmounted"), (4, "failures"), (6, "not unmounted")):
        patch(path, 106, struct.pack("<H", flags))
        assert told in reason(exfat, path)
    patch(path, 106, b"\0\0")
    patch(path, 112, b"\x63")
    clean(exfat, path)
    patch(path, 300, b"\1")
    assert "checksum" in reason(exfat, path)


def summed(data: bytearray, sector_size: int = 512) -> bytearray:
    """With the checksum of the boot sectors made right."""
    total = 0
    for at in range(11 * sector_size):
        if at not in (106, 107, 112):
            total = (((total & 1) << 31 | total >> 1) + data[at]) % (1 << 32)
    data[11 * sector_size : 12 * sector_size] = struct.pack("<I", total) * (sector_size // 4)
    return data


def looked_at(data: bytes | bytearray) -> FileSystem:
    found = exfat.recognise(over(data), len(data))
    assert found is not None
    result = examine(found, len(data))
    list(result.free_ranges())
    return result.file_system


def test_boot_sectors(tmp_path: Path) -> None:
    data = made(tmp_path / "e", 24 * MIB).read_bytes()
    boot = boot_of(tmp_path / "e")
    for at, value in (
        (72, b"\xff" * 8),
        (80, b"\1\0\0\0"),
        (84, b"\1\0\0\0"),
        (88, b"\x20\0\0\0"),
        (88, b"\xff\xff\xff\xff"),
        (92, bytes(4)),
        (92, b"\xff\xff\xff\xff"),
        (96, b"\1\0\0\0"),
        (96, struct.pack("<I", boot.clusters + 2)),
        (104, b"\0\2"),
        (109, b"\x20"),
        (110, b"\xff"),
        (510, b"\0\0"),
    ):
        other = bytearray(data)
        other[at : at + len(value)] = value
        told = looked_at(summed(other))
        assert (told.free, told.state) == (None, "unknown"), at
    assert looked_at(summed(bytearray(data))).state == "clean"
    assert "only" in looked_at(data[: 12 * MIB]).reasons[0]
    assert exfat.recognise(over(data[:100]), 100) is None
    assert exfat.recognise(over(bytes(512)), 512) is None


def entry_of(data: bytes | bytearray, boot: Boot, kind: int) -> int:
    """Where the entry of a kind stands in the root directory's first cluster."""
    start = boot.heap_offset + (boot.root_cluster - 2) * boot.cluster_size
    return next(at for at in range(start, start + boot.cluster_size, 32) if data[at] == kind)


def test_root_directory_and_bitmap(tmp_path: Path) -> None:
    path = made(tmp_path / "e", 24 * MIB, "-c", "4096")
    data, boot = path.read_bytes(), boot_of(path)
    bitmap, upper_case = entry_of(data, boot, 0x81), entry_of(data, boot, 0x82)
    fat_entry = boot.fat_offset + boot.root_cluster * 4
    first = int.from_bytes(data[bitmap + 20 : bitmap + 24], "little")
    bits = boot.heap_offset + (first - 2) * boot.cluster_size
    for at, value, told in (
        (bitmap, b"\x01", "names no bitmap"),
        (bitmap + 1, b"\x01", "missing or too short"),
        (bitmap + 24, b"\x01\0\0\0", "missing or too short"),
        (bitmap + 24, b"\xff" * 8, "longer than it can be"),
        (bitmap + 24, struct.pack("<Q", 1 << 16), "leads to cluster|too short"),
        (bitmap + 20, bytes(4), "leads to cluster"),
        (bitmap + 20, struct.pack("<I", boot.clusters + 2), "leads to cluster"),
        (upper_case, b"\x02", "names no bitmap"),
        (upper_case + 24, bytes(8), "too short"),
        (fat_entry, struct.pack("<I", boot.root_cluster), "no end"),
        (fat_entry, struct.pack("<I", boot.clusters + 99), "leads to cluster"),
        (bits, b"\xfe", "free by its bitmap"),
        (bits, b"\xfb", "free by its bitmap"),
    ):
        other = bytearray(data)
        other[at : at + len(value)] = value
        result = looked_at(other)
        assert result.free is None
        assert any(part in result.reasons[0] for part in told.split("|")), (at, result.reasons)


def test_bitmap_in_a_chain(tmp_path: Path) -> None:
    """Its clusters need not follow each other: what the FAT says counts."""
    path = made(tmp_path / "e", 24 * MIB, "-c", "512")
    data, boot = bytearray(path.read_bytes()), boot_of(path)
    before = looked_at(data)
    entry = entry_of(data, boot, 0x81)
    first = int.from_bytes(data[entry + 20 : entry + 24], "little")

    def place(cluster: int) -> slice:
        start = boot.heap_offset + (cluster - 2) * 512
        return slice(start, start + 512)

    far = boot.clusters - 50
    data[place(far)] = data[place(first + 1)]
    struct.pack_into("<I", data, boot.fat_offset + far * 4, first + 2)
    struct.pack_into("<I", data, boot.fat_offset + first * 4, far)
    data[place(first + 1)] = b"\xff" * 512
    assert "free by its bitmap" in looked_at(data).reasons[0]
    piece, bit = divmod(far - 2, 512 * 8)
    start = place(first + piece).start + bit // 8
    data[start] |= 1 << bit % 8
    after = looked_at(data)
    assert before.free is not None
    assert after.free == before.free - 512


def test_mutations_end_in_a_reason_or_in_ranges(tmp_path: Path) -> None:
    path = made(tmp_path / "e", 6 * MIB)
    data, boot = path.read_bytes(), boot_of(path)
    root = boot.heap_offset + (boot.root_cluster - 2) * boot.cluster_size
    dice = random.Random(4)
    for _ in range(200):
        other = bytearray(data)
        area = dice.choice(
            (range(72, 113), range(boot.fat_offset, boot.fat_offset + 40), range(root, root + 128))
        )
        for _ in range(dice.randrange(1, 4)):
            other[dice.choice(area)] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        if area.start == 72:
            other = summed(other)
        found = exfat.recognise(over(other), len(other))
        if found is not None:
            list(examine(found, 1 << 60).free_ranges())


@FUSE
def test_files_against_the_bitmap(tmp_path: Path) -> None:
    path = made(tmp_path / "e", 24 * MIB, "-c", "4096")
    with loop_device(path) as device, mounted(["mount.exfat-fuse", device], tmp_path / "folder") as folder:
        (folder / "a" / "b").mkdir(parents=True)
        (folder / "a" / "b" / "f").write_bytes(b"all of it" * 20000)
        (folder / "a" / "g").write_bytes(b"others" * 20000)
    data, boot = path.read_bytes(), boot_of(path)
    assert looked_at(data).reasons == ()
    bitmap = entry_of(data, boot, 0x81)
    bits = boot.heap_offset + (int.from_bytes(data[bitmap + 20 : bitmap + 24], "little") - 2) * 4096
    for content in (b"all of it" * 20, b"others" * 20):
        cluster = (data.find(content) - boot.heap_offset) // 4096 + 2
        other = bytearray(data)
        other[bits + (cluster - 2) // 8] &= ~(1 << (cluster - 2) % 8) & 0xFF
        assert f"cluster {cluster} is free by its bitmap and belongs to a file" in looked_at(other).reasons[0]

    f, g = streams(data, len(b"all of it" * 20000)), streams(data, len(b"others" * 20000))
    other = bytearray(data)
    other[f + 20 : f + 24] = data[g + 20 : g + 24]
    assert "belongs to two files" in looked_at(other).reasons[0]
    other[f + 20 : f + 24] = struct.pack("<I", boot.clusters)
    assert "more clusters than there are" in looked_at(other).reasons[0]
    other[f + 20 : f + 32] = data[f + 20 : f + 24] + b"\xff" * 8
    assert "more clusters than there are" in looked_at(other).reasons[0]


def streams(data: bytes | bytearray, length: int) -> int:
    """Where the entry stands that tells of a file of this length."""
    wanted = struct.pack("<Q", length)
    (found,) = [
        at for at in range(0, len(data), 32) if data[at] == 0xC0 and data[at + 8 : at + 16] == wanted
        and data[at + 24 : at + 32] == wanted
    ]  # fmt: skip
    return found


@FUSE
def test_file_in_a_chain(tmp_path: Path) -> None:
    """The same bytes as a chain instead of one piece; then a chain that leads astray."""
    path = made(tmp_path / "e", 24 * MIB, "-c", "4096")
    with loop_device(path) as device, mounted(["mount.exfat-fuse", device], tmp_path / "folder") as folder:
        (folder / "f").write_bytes(b"all of it" * 20000)
    data, boot = bytearray(path.read_bytes()), boot_of(path)
    free = looked_at(data).free
    stream, count = streams(data, 180000), -(-180000 // 4096)
    first = int.from_bytes(data[stream + 20 : stream + 24], "little")
    data[stream + 1] = 1
    place = boot.fat_offset + first * 4
    data[place : place + 4 * count] = struct.pack(f"<{count}I", *range(first + 1, first + count), 0xFFFFFFFF)
    assert (looked_at(data).free, looked_at(data).reasons) == (free, ())
    for at, value, told in (
        (count - 2, 0xFFFFFFFF, "too short"),
        (3, first, "belongs to two files"),
        (3, boot.clusters - 9, "leads to cluster 0"),
        (3, boot.clusters + 2, "which it does not have"),
    ):
        other = data.copy()
        struct.pack_into("<I", other, place + 4 * at, value)
        assert told in looked_at(other).reasons[0]


@FUSE
def test_directory_in_itself(tmp_path: Path) -> None:
    path = made(tmp_path / "e", 24 * MIB, "-c", "4096")
    with loop_device(path) as device, mounted(["mount.exfat-fuse", device], tmp_path / "folder") as folder:
        (folder / "a" / "b").mkdir(parents=True)
    data, boot = bytearray(path.read_bytes()), boot_of(path)
    inner = [at for at in range(boot.heap_offset, len(data), 32) if data[at] == 0xC0]
    first = min(inner, key=lambda at: data[at + 20 : at + 24])
    for at in inner:
        data[at + 20 : at + 24] = data[first + 20 : first + 24]
    assert "stands in two places" in looked_at(data).reasons[0]
