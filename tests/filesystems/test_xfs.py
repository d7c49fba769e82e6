"""XFS: what Debian's tools and the kernel make, overwritten wherever it is called free; and hostile ones."""

import random
import re
from pathlib import Path

import pytest

from tests.filesystems.noise import (
    MIB,
    aged,
    empty,
    examined,
    hashes,
    looked_at,
    mounted,
    only,
    overlaid,
    partclone_free,
    patch,
    piece,
    reader_of,
    run,
    spoil,
)
from tests.support.tools import needs
from vhdx.disk.raw import RawDisk
from vhdx.disk.volumes import volumes
from vhdx.filesystems import xfs
from vhdx.filesystems.base import examine
from vhdx.format.checksum import crc32c
from vhdx.storage.file import open_for_reading

pytestmark = needs("mkfs.xfs", "xfs_db", "xfs_repair")
SIZE = 80 * MIB
KINDS = {
    "default": (),
    "old features": ("-m", "finobt=0,reflink=0,bigtime=0,inobtcount=0"),
    "rmapbt": ("-m", "rmapbt=1"),
    "1K blocks": ("-b", "size=1024"),
    "4K sectors": ("-s", "size=4096"),
    "striped log": ("-l", "su=262144"),
    "many groups": ("-d", "agsize=16m", "-L", "label"),
}
ORDINARY = ("rmapbt", "1K blocks")


def made(path: Path, *options: str, size: int = SIZE) -> Path:
    run("mkfs.xfs", "-q", *options, empty(path, size))
    return path


def free_blocks(image: Path) -> int:
    """What xfs_db finds, without the blocks that groups keep ready for their btrees."""
    said = run("xfs_db", "-r", "-c", "freesp -s", image)
    found = re.search(r"^total free blocks (\d+)", said, re.MULTILINE)
    assert found, said
    return int(found[1]) - kept_ready(image)


def kept_ready(image: Path) -> int:
    """The blocks of all free lists. They are in use, but the superblock and others count them as free."""
    count = int(run("xfs_db", "-r", "-c", "sb 0", "-c", "p agcount", image).split()[-1])
    words = [word for group in range(count) for word in ("-c", f"agf {group}", "-c", "p flcount")]
    return sum(int(line.split()[-1]) for line in run("xfs_db", "-r", *words, image).splitlines())


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if kind in ORDINARY else pytest.mark.slow) for kind in KINDS],
)
def test_noise_in_free_space_changes_no_file(kind: str, tmp_path: Path) -> None:
    image = made(tmp_path / "disk.raw", *KINDS[kind])
    before = aged(image, 1, SIZE // 3)
    found = only(image)
    assert (found.kind, found.state, found.reasons) == ("XFS", "clean", ())
    assert found.label == ("label" if kind == "many groups" else None)
    assert found.free == free_blocks(image) * found.block_size
    assert spoil(image) == found.free
    run("xfs_repair", "-n", image)
    with mounted(image) as folder:
        assert hashes(folder) == before


def test_version_4_made_from_a_folder_by_mkfs(tmp_path: Path) -> None:
    """Kernels may have no version 4 any more, but mkfs fills one from a prototype."""
    chance = random.Random(4)
    rows = []
    for number in range(60):
        file = tmp_path / f"file{number}"
        file.write_bytes(chance.randbytes(int(chance.lognormvariate(9.5, 2)) % MIB))
        rows.append(f"f{number} ---644 0 0 {file}")
    (tmp_path / "proto").write_text("\n".join(["x", "0 0", "d--755 0 0", *rows, "$", ""]))
    image = made(tmp_path / "disk.raw", "-m", "crc=0", "-p", str(tmp_path / "proto"))
    found = only(image)
    assert (found.state, found.free) == ("clean", free_blocks(image) * 4096)
    spoil(image)
    run("xfs_repair", "-n", image)
    said = run("xfs_db", "-r", "-c", "blockget -n", "-c", "ncheck", image)
    names = {row.split()[1]: row.split()[0] for row in said.splitlines() if len(row.split()) == 2}
    for number in range(60):
        content = _content(image, names[f"f{number}"])
        assert content.startswith((tmp_path / f"file{number}").read_bytes()), number


def _content(image: Path, inode: str) -> bytes:
    """A file's blocks, as xfs_db lists them."""
    said = run("xfs_db", "-r", "-c", f"inode {inode}", "-c", "bmap", image)
    runs = re.findall(r"data offset \d+ startblock \d+ \((\d+)/(\d+)\) count (\d+)", said)
    each = int(run("xfs_db", "-r", "-c", "sb 0", "-c", "p agblocks", image).split()[-1])
    return b"".join(
        piece(image, (int(group) * each + int(block)) * 4096, int(count) * 4096)
        for group, block, count in runs
    )


@needs("partclone.xfs")
def test_partclone_leaves_out_as_much(tmp_path: Path) -> None:
    image = made(tmp_path / "disk.raw", size=300 * MIB)
    aged(image, 5, 20 * MIB)
    found = only(image)
    assert found.free is not None
    assert partclone_free("partclone.xfs", image) == found.free + 4096 * kept_ready(image)


def test_one_that_is_mounted_or_frozen_is_not_clean(tmp_path: Path) -> None:
    image = made(tmp_path / "disk.raw")
    with mounted(image) as folder:
        (folder / "file").write_bytes(bytes(MIB))
        run("sync", folder)
        copy = tmp_path / "copy.raw"
        copy.write_bytes(image.read_bytes())
        run("fsfreeze", "--freeze", folder)
        try:
            frozen = only(image)
        finally:
            run("fsfreeze", "--unfreeze", folder)
    for found in (only(copy), frozen):
        assert (found.state, found.free) == ("unclean", None)
        assert "its log holds changes" in found.reasons[0]
    assert only(image).state == "clean"


def test_the_quick_look_reads_little_and_needs_no_agreement(tmp_path: Path) -> None:
    image = made(tmp_path / "disk.raw")
    patch(image, 512 + 52, b"\0\0\0\1")  # the free blocks of the first group
    with RawDisk(open_for_reading(str(image))) as disk:
        (quick,) = volumes(disk, agree=False)
        assert (quick.file_system.state, list(quick.free_ranges())) == ("clean", [])
        (full,) = volumes(disk)
    assert full.file_system.reasons == ("the checksum of the header of group 0 is wrong",)


def test_one_tib_is_read_by_its_btrees(tmp_path: Path) -> None:
    image = made(tmp_path / "disk.raw", size=1 << 40)
    with looked_at(image) as (volume,):
        assert volume.file_system.free == free_blocks(image) * 4096
        assert sum(1 for _ in volume.free_ranges()) >= 4


# Damage and hostility ----------------------------------------------------------------------------


@pytest.fixture(scope="module", name="small")
def _small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("xfs") / "disk.raw", "-d", "size=16m", "-l", "size=6m", size=16 * MIB)


def reseal(image: bytearray, start: int, length: int, place: int) -> None:
    """Make the checksum of a structure fit."""
    image[start + place : start + place + 4] = bytes(4)
    image[start + place : start + place + 4] = crc32c(bytes(image[start : start + length])).to_bytes(
        4, "little"
    )


CHANGES = {
    "log on another device": (0, 48, bytes(8), "its log is on another device"),
    "log outside": (0, 48, b"\xff" * 8, "impossible place"),
    "log too long": (0, 96, b"\x7f\xff\xff\xff", "impossible place or size"),
    "needs repair": (0, 216, b"\0\0\0\x1b", "needs a repair"),
    "unknown incompat": (0, 216, b"\x40\0\0\x0b", "unknown features"),
    "unknown ro compat": (0, 212, b"\0\1\0\x0d", "unknown features"),
    "made half": (0, 126, b"\1", "making was not finished"),
    "other count": (0, 144, b"\0\0\0\0\0\0\0\1", "its superblock counts 1"),
    "root outside": (512, 16, b"\xff\xff\xff\xff", "leads out of the group"),
    "levels": (512, 28, b"\0\0\0\x40", "has 64 levels"),
    "root elsewhere": (512, 16, b"\0\0\0\0", "leads to block 0, which is none of it"),
    "both roots the same": (512, 20, b"\0\0\0\1", "which is none of it"),
    "sum of the group": (512, 52, b"\0\0\0\7", "counts 7"),
    "blocks of btrees": (512, 60, b"\0\0\0\7", "counts other blocks of btrees"),
    "another group": (512, 8, b"\0\0\0\1", "not that of this group"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_contradicts_itself_is_refused(name: str, small: Path) -> None:
    start, place, data, reason = CHANGES[name]
    image = bytearray(small.read_bytes())
    image[start + place : start + place + len(data)] = data
    reseal(image, start, 512, 224 if start == 0 else 216)
    found = xfs.recognise(reader_of(image), len(image))
    assert found is not None
    told = examine(found, len(image)).file_system
    assert told.free is None
    assert reason in told.reasons[0]


RECORDS = {
    "overlap": [(100, 50), (120, 50)],
    "out of order": [(200, 50), (100, 50)],
    "outside": [(100, 0xFFFFFFFF)],
    "empty": [(100, 0)],
    "the headers": [(0, 8)],
}


@pytest.mark.parametrize("name", RECORDS)
def test_records_that_cannot_be_are_refused(name: str, small: Path) -> None:
    image = bytearray(small.read_bytes())
    records = b"".join(a.to_bytes(4, "big") + b.to_bytes(4, "big") for a, b in RECORDS[name])
    start = 4096
    image[start + 6 : start + 8] = len(RECORDS[name]).to_bytes(2, "big")
    image[start + 56 : start + 56 + len(records)] = records
    reseal(image, start, 4096, 52)
    found = xfs.recognise(reader_of(image), len(image))
    assert found is not None
    assert examine(found, len(image)).file_system.free is None


def test_a_loop_in_a_btree_ends(small: Path) -> None:
    image = bytearray(small.read_bytes())
    start = 4096
    image[start + 4 : start + 6] = (1).to_bytes(2, "big")
    image[512 + 28 : 512 + 32] = (2).to_bytes(4, "big")
    image[start + 6 : start + 8] = (300).to_bytes(2, "big")
    most = (4096 - 56) // 12
    pointers = start + 56 + 8 * most
    image[pointers : pointers + 4 * most] = (2).to_bytes(4, "big") * most
    leaf = bytearray(image[start : start + 4096])
    record = (int.from_bytes(image[84:88], "big") - 20).to_bytes(4, "big") + (9).to_bytes(4, "big")
    leaf[4:6], leaf[6:8], leaf[56:64] = b"\0\0", b"\0\1", record
    image[8192 : 8192 + 4096] = leaf
    for at, length, place in ((512, 512, 216), (4096, 4096, 52), (8192, 4096, 52)):
        reseal(image, at, length, place)
    found = xfs.recognise(reader_of(image), len(image))
    assert found is not None
    told = examine(found, len(image)).file_system
    assert "overlap or are out of order" in told.reasons[0]


def test_a_log_with_two_ends_is_refused(small: Path) -> None:
    image = bytearray(small.read_bytes())
    found = xfs.recognise(reader_of(image), len(image))
    assert found is not None
    log = found.trusted().log
    place = log.offset + log.length // 2 + 7 * 512  # where the search in halves does not look
    image[place : place + 4] = (1).to_bytes(4, "big")
    assert "its log has more than one end" in str(_reasons(image))


def test_a_disk_that_is_cut_is_refused(small: Path) -> None:
    image = bytearray(small.read_bytes())
    for size in (len(image) - 4096, len(image) // 2, 8192, 4096, 512):
        assert "the space that it stands in" in str(_reasons(image[:size]))
    assert xfs.recognise(reader_of(image[:511]), 511) is None


def _reasons(image: bytearray) -> tuple[str, ...]:
    found = xfs.recognise(reader_of(image), len(image))
    assert found is not None
    return examine(found, len(image)).file_system.reasons


def test_damage_at_random_never_raises(small: Path) -> None:
    chance = random.Random(8)
    sound = small.read_bytes()
    structures = {0: (512, 224), 512: (512, 216), 4096: (4096, 52), 8192: (4096, 52)}
    for _ in range(300):
        start, (length, place) = chance.choice(list(structures.items()))
        structure = bytearray(sound[start : start + length])
        for _ in range(chance.randint(1, 4)):
            structure[chance.randrange(min(length, 300))] = chance.choice((0, 1, 0x7F, 0xFF, 0x80))
        reseal(structure, 0, length, place)
        read = overlaid(sound, {start: bytes(structure)})
        found = xfs.recognise(read, len(sound))
        if found is not None:
            examine(found, len(sound))


def test_it_is_examined_alone_as_on_a_disk(small: Path) -> None:
    assert examined(xfs.recognise, small) == only(small)
