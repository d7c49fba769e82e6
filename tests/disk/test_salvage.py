"""Reading damaged images: never an error for a block, every wrong byte in a range that is called doubtful."""

import hashlib
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

import vhdx
from tests.hostile.images import clean, dirty, family
from tests.support.build import ImageBuilder
from tests.support.damage import damage, flip, overwrite
from tests.support.layout import (
    FULLY_PRESENT,
    GIB,
    HEADER_OFFSETS,
    KIB,
    MIB,
    PARTIALLY_PRESENT,
    REGION_TABLE_OFFSETS,
    SECTOR,
)
from tests.support.logs import Data, LogBuilder, Zero, session_guid
from tests.support.parts import Bitmap, Block, Header, Item, MetadataTable, Region, RegionTable
from tests.support.patterns import pattern
from tests.support.reading import whole
from tests.support.structures import HEADER, item, locate, log_entry, structures
from vhdx import CorruptImageError, Doubt, ExtentKind, UnsupportedImageError, VhdxError
from vhdx.disk.chain import VhdxDisk
from vhdx.disk.open import open_disk

Change = Callable[[ImageBuilder], None]


def salvaged(path: Path) -> tuple[bytes, list[Doubt]]:
    """The whole disk and its doubts; extents, small reads and large reads agree."""
    with open_disk(path, salvage=True) as disk:
        content = whole(disk)
        check_extents(disk, content)
        return content, list(disk.doubts)


def check_extents(disk: VhdxDisk, content: bytes) -> None:
    """Extents cover the disk, and what they say is what is read, in pieces of any size."""
    end = 0
    for extent in disk.extents():
        assert extent.offset == end
        end = extent.end
        if extent.kind is not ExtentKind.DATA:
            assert not any(content[extent.offset : extent.end])
            continue
        assert extent.file_offset is not None
        with open(disk.chain[extent.depth - 1], "rb") as file:
            file.seek(extent.file_offset)
            assert file.read(extent.length) == content[extent.offset : extent.end]
    assert end == disk.size
    chance = random.Random(end)
    for _ in range(30):
        offset = chance.randrange(disk.size)
        length = min(chance.choice((1, 512, 5000)), disk.size - offset)
        assert disk.pread(length, offset) == content[offset : offset + length]


def covered(doubts: Iterable[Doubt], size: int) -> bytearray:
    """For each 512 bytes of the disk whether they are doubtful."""
    marks = bytearray(-(-size // 512))
    for doubt in doubts:
        assert 0 <= doubt.offset < doubt.offset + doubt.length <= size
        first, stop = doubt.offset // 512, -(-(doubt.offset + doubt.length) // 512)
        marks[first:stop] = b"\1" * (stop - first)
    return marks


def wrong_sectors(content: bytes, right: bytes) -> list[int]:
    assert len(content) == len(right)
    return [at // 512 for at in range(0, len(right), 512) if content[at : at + 512] != right[at : at + 512]]


def where(doubts: Iterable[Doubt]) -> list[tuple[int, int]]:
    return [(doubt.offset, doubt.length) for doubt in doubts]


# Sound images ------------------------------------------------------------------------------------


def test_a_sound_image_reads_as_ever_and_nothing_is_doubtful(tmp_path: Path) -> None:
    child, _ = family(tmp_path)
    for path in (clean().write(tmp_path / "clean"), dirty().write(tmp_path / "dirty"), child):
        with open_disk(path) as disk:
            assert list(disk.doubts) == []
            right = whole(disk)
        before = hashlib.sha256(path.read_bytes()).digest()
        assert salvaged(path) == (right, [])
        assert hashlib.sha256(path.read_bytes()).digest() == before


def test_only_for_reading(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="salvage"):
        open_disk(clean().write(tmp_path / "a"), "r+", salvage=True)


# Blocks ------------------------------------------------------------------------------------------

SHORT = 5 * 512
PLACES = clean().plan().blocks


@pytest.mark.parametrize(
    ("word", "doubtful", "reads", "reason"),
    [
        (4, (MIB, MIB), 0, "state 4"),
        (PLACES[2] | 4, (MIB, MIB), 0, "state 4"),
        (6, (MIB, MIB), 0, "the header section"),
        (MIB | 6, (MIB, MIB), None, "the log"),
        (500 * MIB | 6, (MIB, MIB), 0, "behind the end"),
        ((1 << 64) - MIB | 6, (MIB, MIB), 0, "none that a file can have"),
    ],
)
def test_one_bad_block(
    tmp_path: Path, word: int, doubtful: tuple[int, int] | None, reads: int | None, reason: str
) -> None:
    image = clean()
    image.bat = {1: word}
    path = image.write(tmp_path / "a.vhdx")
    content, doubts = salvaged(path)
    right = clean().content()
    assert content[:MIB] == right[:MIB]
    assert content[2 * MIB :] == right[2 * MIB :]
    assert any(reason in doubt.reason for doubt in doubts), doubts
    if doubtful:
        assert where(doubts) == [doubtful]
    if reads is not None:
        assert content[MIB : 2 * MIB] == bytes(MIB)
    with open_disk(path) as disk, pytest.raises(CorruptImageError):
        disk.pread(1, MIB)


def test_a_partially_present_block_without_a_parent_is_read(tmp_path: Path) -> None:
    image = clean()
    image.blocks[2] = Block(pattern(2, MIB), PARTIALLY_PRESENT)
    content, doubts = salvaged(image.write(tmp_path / "a.vhdx"))
    assert content == clean().content()
    assert doubts == []


def test_space_claimed_twice_is_read_for_both(tmp_path: Path) -> None:
    image = clean()
    image.bat = {1: PLACES[2] | 6}
    content, doubts = salvaged(image.write(tmp_path / "a.vhdx"))
    assert content[MIB : 2 * MIB] == content[2 * MIB : 3 * MIB] == pattern(2, MIB)
    assert where(doubts) == [(MIB, 2 * MIB)]


def test_space_claimed_twice_in_a_large_table(tmp_path: Path) -> None:
    """More entries than `open` compares; the second claim stands in another window of the table."""
    image = ImageBuilder(300_000 * MIB, MIB, blocks={7: Block(b"x"), 8: Block(b"y")})
    place = image.plan().blocks[7]
    image.bat = {image.bat_index(299_000): place | 6}
    with open_disk(image.write(tmp_path / "a.vhdx"), salvage=True) as disk:
        assert where(disk.doubts) == [(7 * MIB, MIB), (299_000 * MIB, MIB)]


@pytest.mark.parametrize("other", ["block", "bitmap"])
def test_a_shared_bitmap_in_a_large_table(other: str, tmp_path: Path) -> None:
    image = ImageBuilder(200 * GIB).child()
    bits = {1: b"\xff" * 256, 4097: b"\x0f" * 256}
    image.blocks = {n: Block(pattern(n, MIB), PARTIALLY_PRESENT, present=bits[n]) for n in bits}
    image.blocks[150_000] = Block(pattern(3, MIB))
    plan = image.plan()
    place = plan.blocks[150_000] if other == "block" else plan.bitmaps[1]
    image.bat = {image.bitmap_index(0): place | FULLY_PRESENT}
    with open_disk(image.write(tmp_path / "child"), salvage=True) as disk:
        shared = [doubt for doubt in disk.doubts if "is claimed by another" in doubt.reason]
    assert sorted(where(shared)) == [(MIB, MIB), (150_000 * MIB if other == "block" else 4097 * MIB, MIB)]


def test_overlapping_large_blocks(tmp_path: Path) -> None:
    image = ImageBuilder(32 * MIB, 8 * MIB, blocks={0: Block(b"x"), 2: Block(b"y")})
    image.bat = {2: image.plan().blocks[0] + 3 * MIB | 6}
    content, doubts = salvaged(image.write(tmp_path / "a.vhdx"))
    assert where(doubts) == [(0, 8 * MIB), (16 * MIB, 8 * MIB)]
    assert content[:1] == b"x"


def test_a_cut_file(tmp_path: Path) -> None:
    image = clean()
    image.file_length = PLACES[2] + 300 * KIB + 100
    content, doubts = salvaged(image.write(tmp_path / "a.vhdx"))
    there = 2 * MIB + 300 * KIB + 100
    assert content == clean().content()[:there] + bytes(image.disk_size - there)
    assert where(doubts) == [(there, image.disk_size - there)]
    assert "behind the end of the file" in doubts[0].reason


def test_a_table_that_ends_with_the_file(tmp_path: Path) -> None:
    image = clean()
    image.placement = ("log", "metadata", "bat")
    image.file_length = image.plan().bat_offset + 17
    content, doubts = salvaged(image.write(tmp_path / "a.vhdx"))
    assert content == bytes(image.disk_size)
    assert where(doubts) == [(2 * MIB, MIB + SHORT), (0, MIB)]


def test_what_stands_behind_a_table_that_is_too_small_is_no_entry(tmp_path: Path) -> None:
    count, last = 140_000, 139_999
    image = ImageBuilder(count * MIB, MIB, blocks={7: Block(b"seven"), last: Block(b"last")})
    image.regions = {"bat": Region(length=MIB, size=2 * MIB)}
    path = image.write(tmp_path / "a.vhdx")
    with pytest.raises(CorruptImageError, match="BAT region has"):
        open_disk(path)
    first = 131_072 - 131_072 // 4097
    with open_disk(path, salvage=True) as disk:
        assert disk.pread(5, 7 * MIB) == b"seven"
        assert disk.pread(4, last * MIB) == bytes(4)
        assert where(disk.doubts) == [(first * MIB, (count - first) * MIB)]


# Bitmaps and parents -----------------------------------------------------------------------------


def test_a_bitmap_that_is_gone(tmp_path: Path) -> None:
    path, _ = family(tmp_path)
    child = clean().child()
    overwrite(path, locate_bitmap_entry(path, child.bitmap_index(0)), bytes(8))
    content, doubts = salvaged(path)
    assert content[:MIB] == pattern(0, MIB, 1)
    assert where(doubts) == [(0, MIB), (3 * MIB, SHORT)]


def locate_bitmap_entry(path: Path, index: int) -> int:
    from tests.support.structures import bat_entry  # noqa: PLC0415

    return locate(path, bat_entry(index))


def test_a_bad_place_keeps_what_the_parent_says(tmp_path: Path) -> None:
    path, _ = family(tmp_path)
    with open_disk(path) as disk:
        right = whole(disk)
    overwrite(path, locate_bitmap_entry(path, 3), (900 * MIB | 7).to_bytes(8, "little"))
    content, doubts = salvaged(path)
    assert where(doubts) == [(3 * MIB, SHORT)]
    for sector in range(5):
        at = 3 * MIB + sector * 512
        assert content[at : at + 512] == (bytes(512) if sector in (1, 2, 4) else right[at : at + 512])


@pytest.mark.parametrize(
    ("entry", "reads", "told"),
    [
        ((900 * MIB) | 6, "parent", "its place is behind the end of the file; the parent is read"),
        (4, "parent", "the block is in state 4, which is reserved; the parent is read"),
        (
            (900 * MIB) | 0x81232,
            "parent",
            "its entry in the table has bits that none may have; the parent is read",
        ),
        ((900 * MIB) | 2, "zeros", None),
        (3, "zeros", None),
    ],
)
def test_what_a_child_cannot_tell_its_parent_may(
    entry: int, reads: str, told: str | None, tmp_path: Path
) -> None:
    """But a block that is sound and zeros is zeros, whatever the parent has."""
    path, parent = family(tmp_path)
    with open_disk(parent) as disk:
        below = disk.pread(MIB, 0)
    assert any(below)
    overwrite(path, locate_bitmap_entry(path, 0), entry.to_bytes(8, "little"))
    content, doubts = salvaged(path)
    assert content[:MIB] == (below if reads == "parent" else bytes(MIB))
    assert [doubt.reason.partition(": ")[2] for doubt in doubts if doubt.offset == 0] == [told][: bool(told)]


def said_nothing(disk: VhdxDisk) -> list[tuple[int, int]]:
    """Where a child leaves the answer to its parent."""
    own = disk.own_extents()
    return [(e.offset, e.length) for e in own if e.kind is vhdx.ExtentKind.UNALLOCATED]


def test_a_missing_parent(tmp_path: Path) -> None:
    path, parent = family(tmp_path)
    with open_disk(path) as disk:
        right = whole(disk)
        below = said_nothing(disk)
    parent.unlink()
    content, doubts = salvaged(path)
    assert where(doubts) == below
    wanted = clean().guid("data write")
    reason = f"{path}: the parent with DataWriteGuid {wanted} was not found; zeros are read"
    assert {doubt.reason for doubt in doubts} == {reason}
    marks = covered(doubts, len(right))
    assert all(marks[sector] for sector in wrong_sectors(content, right))
    with open_disk(path, salvage=True) as disk:
        assert disk.chain == (str(path),)


def test_a_parent_that_was_written_to(tmp_path: Path) -> None:
    path, parent = family(tmp_path)
    with open_disk(parent, "r+") as disk:
        disk.pwrite(b"x", 0)
    _, doubts = salvaged(path)
    assert doubts
    assert "parent" in doubts[0].reason


def test_a_damaged_parent_counts_where_it_shows(tmp_path: Path) -> None:
    path, parent = family(tmp_path)
    overwrite(parent, locate_bitmap_entry(parent, 0), (900 * MIB | 6).to_bytes(8, "little"))
    overwrite(parent, locate_bitmap_entry(parent, 1), (900 * MIB | 6).to_bytes(8, "little"))
    with open_disk(path, salvage=True) as disk:
        doubts = list(disk.doubts)
        content = whole(disk)
        hidden = [place for place in said_nothing(disk) if place[0] < MIB]
    assert where(doubts) == hidden  # block 1 of the child hides that of the parent
    assert all(str(parent) in doubt.reason for doubt in doubts)
    assert content[512:1024] == bytes(512)


def test_a_locator_that_cannot_be_read(tmp_path: Path) -> None:
    path, _ = family(tmp_path)
    overwrite(path, locate(path, item("parent_locator")), b"\xff" * 16)
    _, doubts = salvaged(path)
    assert doubts
    assert "the parent" in doubts[0].reason


# Headers and logs --------------------------------------------------------------------------------


def test_no_header(tmp_path: Path) -> None:
    image = dirty()
    image.headers = {1: Header(checksum=1), 2: Header(checksum=2)}
    content, doubts = salvaged(image.write(tmp_path / "a.vhdx"))
    assert doubts == []
    assert content == salvaged(dirty().write(tmp_path / "sound.vhdx"))[0]  # the log tells its session itself


def test_headers_that_contradict_each_other(tmp_path: Path) -> None:
    image = clean()
    image.sequence_numbers = (5, 5)
    image.headers = {2: Header(data_write_guid=session_guid(3))}
    content, doubts = salvaged(image.write(tmp_path / "a.vhdx"))
    assert content == clean().content()
    assert where(doubts) == [(0, image.disk_size)]


def test_a_log_that_cannot_be_replayed_names_what_it_would_change(tmp_path: Path) -> None:
    path = dirty().write(tmp_path / "a.vhdx")
    for sector in (3, 5):  # the entry before the tail, and that at the tail
        flip(path, MIB + sector * SECTOR + 2000)
    content, doubts = salvaged(path)
    assert where(doubts)[0] == (0, len(content))
    assert "no complete sequence" in doubts[0].reason
    named = [doubt for doubt in doubts if "entry 8589934598" in doubt.reason]
    assert where(named) == [(0, len(content))]
    assert any("entry 8589934597" in doubt.reason for doubt in doubts) is False  # it leads into a block


def _not_replayed(image: ImageBuilder, folder: Path, *changes: Data | Zero) -> list[tuple[int, int]]:
    """The ranges that are doubtful for the one entry of a log, which is not whole, with these changes."""
    image.log = LogBuilder()
    image.log.add(*changes)
    path = image.write(folder / "image.vhdx")
    damage(path, log_entry(0), "checksum", 1)
    with open_disk(path, salvage=True) as disk:
        return where(doubt for doubt in disk.doubts if "entry 1 of the log" in doubt.reason)


def test_zeros_over_two_structures_make_doubtful_what_either_says(tmp_path: Path) -> None:
    image = clean()
    image.placement = ("log", "bat", "metadata")
    start = image.plan().metadata_offset - SECTOR
    assert _not_replayed(image, tmp_path, Zero(start, SECTOR)) == []  # entries of no block
    assert _not_replayed(image, tmp_path, Zero(start, 2 * SECTOR)) == [(0, image.disk_size)]


@pytest.mark.parametrize("before", [0, 3 * MIB])
def test_zeros_over_bitmaps_make_doubtful_what_they_tell_of(before: int, tmp_path: Path) -> None:
    """From where nobody is, or from the middle of a bitmap, to the first bits of the next one."""
    image = ImageBuilder(13 * GIB, 32 * MIB).child()
    chunk = 128 * 32 * MIB
    image.bitmaps = {0: Bitmap(file_offset=20 * MIB), 1: Bitmap(file_offset=24 * MIB - before)}
    image.file_length = 40 * MIB
    half = MIB // 2
    zeros = Zero(20 * MIB + half, (24 * MIB - before) - (20 * MIB + half) + SECTOR)
    found = _not_replayed(image, tmp_path, zeros)
    assert found == [(chunk // 2, chunk // 2 + 32 * MIB)]


def test_a_longer_change_at_the_same_place_counts_too(tmp_path: Path) -> None:
    image = clean()
    image.placement = ("log", "bat", "metadata")
    start = image.plan().metadata_offset - SECTOR
    found = _not_replayed(image, tmp_path, Zero(start, SECTOR), Zero(start, 2 * SECTOR))
    assert found == [(0, image.disk_size)]


def test_a_file_shorter_than_its_log_says_is_replayed(tmp_path: Path) -> None:
    """The log is whole, so what it says is right; what the file lost is zeros and doubtful."""
    image = dirty()
    assert isinstance(image.log, LogBuilder)
    end = image.plan().end
    log = LogBuilder(sequence_number=2**33 + 5, flushed_file_offset=end, last_file_offset=end)
    log.add(*(Data(at, data) for at, data in targets()))
    image.log = log
    image.file_length = PLACES[3]
    path = image.write(tmp_path / "a.vhdx")
    with pytest.raises(CorruptImageError, match="the file was cut"):
        open_disk(path)
    content, doubts = salvaged(path)
    right = clean().content()
    assert content == right[: 3 * MIB] + bytes(SHORT)
    reasons = {doubt.reason.removeprefix(f"{path}: ") for doubt in doubts}
    assert reasons == {
        "entry 8589934597 of the log changes what says where it is",
        "its place is behind the end of the file; zeros are read",
    }


def targets() -> list[tuple[int, bytes]]:
    before, after = dirty().build(), clean().build()
    at = clean().plan().bat_offset
    assert before[at : at + SECTOR] != after[at : at + SECTOR]
    return [(at, after[at : at + SECTOR])]


def test_a_log_of_an_unknown_version(tmp_path: Path) -> None:
    path = dirty().write(tmp_path / "a.vhdx")
    for copy in (1, 2):
        damage(path, HEADER, "log_version", 9, copy)
    _, doubts = salvaged(path)
    assert "version 9" in doubts[0].reason


def test_a_log_place_that_cannot_be(tmp_path: Path) -> None:
    image = clean()
    image.headers = {copy: Header(log_offset=MIB + 5) for copy in (1, 2)}
    assert salvaged(image.write(tmp_path / "a")) == (clean().content(), [])
    image.headers = {copy: Header(log_offset=MIB + 5, log_guid=session_guid(1)) for copy in (1, 2)}
    content, doubts = salvaged(image.write(tmp_path / "a"))
    assert content == clean().content()
    assert "not aligned" in doubts[0].reason


# Regions and metadata ----------------------------------------------------------------------------


def test_no_region_table_and_nothing_that_it_can_have_named_is_refused(tmp_path: Path) -> None:
    image = clean()
    image.bat = {0: 8}
    image.region_tables = {1: RegionTable(raw=bytes(64 * KIB)), 2: RegionTable(raw=b"x" * 64 * KIB)}
    with pytest.raises(CorruptImageError, match="no table that fits the metadata"):
        salvaged(image.write(tmp_path / "a.vhdx"))


def test_damaged_region_tables_that_can_still_be_read(tmp_path: Path) -> None:
    image = clean()
    image.region_tables = {1: RegionTable(checksum=1), 2: RegionTable(raw=bytes(64 * KIB))}
    assert salvaged(image.write(tmp_path / "a.vhdx")) == (clean().content(), [])  # a search finds the same
    image.bat = {0: 8}  # and finds nothing
    assert where(salvaged(image.write(tmp_path / "b.vhdx"))[1])[0] == (0, image.disk_size)


@pytest.mark.parametrize("name", ["virtual_disk_id", "physical_sector_size", "logical_sector_size"])
@pytest.mark.parametrize("how", [Item(omit=True), Item(length=3), Item(offset=5)])
def test_items_that_another_source_tells(tmp_path: Path, name: str, how: Item) -> None:
    image = clean()
    image.items = {name: how}
    path = image.write(tmp_path / "a.vhdx")
    assert salvaged(path) == (clean().content(), [])
    with open_disk(path, salvage=True) as disk:
        assert disk.logical_sector_size == 512
        if name == "virtual_disk_id":
            assert disk.disk_id != image.guid("disk id"), "it was lost"


@pytest.mark.parametrize("name", ["virtual_disk_size", "file_parameters"])
def test_items_that_nothing_else_tells(tmp_path: Path, name: str) -> None:
    image = clean()
    image.items = {name: Item(omit=True)}
    with pytest.raises(CorruptImageError, match="has to be told"):
        salvaged(image.write(tmp_path / "a.vhdx"))


def test_a_sector_size_that_matters_is_not_guessed(tmp_path: Path) -> None:
    image = ImageBuilder(5000 * MIB, MIB, items={"logical_sector_size": Item(omit=True)})
    with pytest.raises(CorruptImageError, match=r"has to be told \(--logical-sector-size\)"):
        open_disk(image.write(tmp_path / "a.vhdx"), salvage=True)


def test_a_damaged_metadata_table(tmp_path: Path) -> None:
    image = clean()
    image.metadata_table = MetadataTable(signature=b"metadatx")
    assert salvaged(image.write(tmp_path / "a.vhdx")) == (clean().content(), [])  # at their usual places


def test_no_vhdx_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    for data in (b"", b"x" * 100, bytes(MIB)):
        path.write_bytes(data)
        with pytest.raises(VhdxError):
            open_disk(path, salvage=True)


def test_another_version_is_refused(tmp_path: Path) -> None:
    path = clean().write(tmp_path / "a.vhdx")
    for copy in (1, 2):
        damage(path, HEADER, "version", 2, copy)
    with pytest.raises(UnsupportedImageError):
        open_disk(path, salvage=True)


# Everything at once ------------------------------------------------------------------------------


def _bad_entries(image: ImageBuilder, chance: random.Random) -> None:
    places = [*image.plan().blocks.values(), 0, MIB, 2 * MIB, 3 * MIB, 700 * MIB, 1 << 50]
    for _ in range(chance.randrange(1, 5)):
        block = chance.randrange(image.payload_blocks)
        state = chance.choice((4, FULLY_PRESENT, FULLY_PRESENT, 4))
        place = chance.choice(places)
        if state == 4 or place != image.plan().blocks.get(block):
            image.bat[image.bat_index(block)] = place | state


def _cut(image: ImageBuilder, chance: random.Random) -> None:
    image.file_length = chance.randrange(2 * MIB + 130 * KIB, image.plan().end)


@pytest.mark.parametrize("seed", range(60))
def test_every_wrong_byte_is_doubtful(seed: int, tmp_path: Path) -> None:
    """Random blocks, damaged in ways that leave traces: bad entries, space claimed twice, cut files."""
    chance = random.Random(seed)
    image = ImageBuilder(chance.randrange(1, 14) * MIB - chance.choice((0, 512, 7 * 512)), seed=seed)
    for number in range(image.payload_blocks):
        state = chance.choice((0, 1, 2, 3, FULLY_PRESENT, FULLY_PRESENT, FULLY_PRESENT))
        image.blocks[number] = Block(pattern(number, MIB), state)
    right = image.content()
    changes: list[Callable[[ImageBuilder, random.Random], None]] = [_bad_entries, _cut]
    for change in chance.sample(changes, chance.choice((1, 2))):
        change(image, chance)
    content, doubts = salvaged(image.write(tmp_path / "a.vhdx"))
    marks = covered(doubts, len(right))
    assert all(marks[sector] for sector in wrong_sectors(content, right))


@pytest.mark.parametrize("seed", range(60))
def test_hostile_files(seed: int, tmp_path: Path) -> None:
    """Any damage anywhere: opening may be refused, but what opens reads without an error to its end."""
    chance = random.Random(seed)
    path = dirty().write(tmp_path / "a.vhdx") if seed % 2 else family(tmp_path)[0]
    places = [locate(path, structure, copy) for structure, copy in structures(path)]
    for place in chance.sample(places, chance.randrange(1, 6)):
        overwrite(
            path, place + chance.randrange(24), chance.choice([b"\xff" * 8, bytes(8), chance.randbytes(8)])
        )
    for offset in chance.sample(
        [*HEADER_OFFSETS.values(), *REGION_TABLE_OFFSETS.values()], chance.randrange(3)
    ):
        overwrite(path, offset, bytes(64))
    if seed % 3 == 0:
        with path.open("r+b") as file:
            file.truncate(chance.randrange(path.stat().st_size))
    try:
        disk = open_disk(path, salvage=True)
    except VhdxError as error:
        assert error.structure  # noqa: PT017
        return
    with disk:
        size = min(disk.size, 64 * MIB)
        content = b"".join(disk.pread(min(MIB, size - at), at) for at in range(0, size, MIB))
        assert len(content) == size
        for extent in disk.extents(length=size):
            if extent.kind is not ExtentKind.DATA:
                assert not any(content[extent.offset : extent.end])
        for number, doubt in enumerate(disk.doubts):
            assert doubt.offset + doubt.length <= disk.size
            if number > 1000:
                break


@pytest.mark.parametrize("position", range(0, 9, 2))
def test_a_torn_entry_of_the_log(tmp_path: Path, position: int) -> None:
    path = dirty().write(tmp_path / "a.vhdx")
    damage(path, log_entry(5 * SECTOR), "checksum", 1)
    flip(path, MIB + position * SECTOR)
    content, doubts = salvaged(path)
    assert covered(doubts, len(content)).count(1) == len(covered([], len(content)))
