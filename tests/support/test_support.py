"""The support code against the format reference, against QEMU, and against images made by others."""

import hashlib
import json
import lzma
import shutil
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from . import layout
from .build import ImageBuilder
from .damage import damage, flip, reseal
from .layout import (
    BITMAP_PRESENT,
    FULLY_PRESENT,
    GIB,
    IS_USER,
    MIB,
    NOT_PRESENT,
    PARTIALLY_PRESENT,
    SECTOR,
    TIB,
    UNDEFINED,
    UNMAPPED,
    ZERO,
)
from .logs import Data, Entry, LogBuilder, Zero, difference, session_guid
from .naive import NaiveError, naive_active_sequence, naive_content, naive_replayed, naive_size
from .parts import Bitmap, Block, Header, Item, Region, RegionTable
from .patterns import pattern
from .presets import disk2vhd_like, qemu_like
from .structures import HEADER, LOCATOR, bat_entry, fields, item, locate, structures, value_of

IMAGES = Path(__file__).parents[3] / "shared" / "images"
SMALL = 256 * MIB
DIRTY = "DiscUtils__vhdx-log-replay.vhdx"
LISTED = json.loads((IMAGES / "images.json").read_text()) if IMAGES.exists() else {}

needs_qemu = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
needs_images = pytest.mark.skipif(not LISTED, reason=f"there is no folder {IMAGES}")


def whole(path: Path, parents: tuple[Path, ...] = ()) -> bytes:
    return naive_content(path, 0, naive_size(path), parents)


def qemu_content(path: Path) -> bytes:
    raw = path.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-f", "vhdx", "-O", "raw", path, raw], check=True)
    return raw.read_bytes()


def mixed(**changes: Any) -> dict[str, Any]:
    blocks = {
        0: Block(pattern(0, MIB)),
        2: Block(state=ZERO),
        3: Block({5 * SECTOR: b"in the middle"}),
        4: Block(state=UNMAPPED, anchored=True, data=b"what was there"),
        5: Block(state=UNDEFINED),
        10: Block(pattern(10, MIB)),
    }
    return {"disk_size": 10 * MIB + 512, "blocks": blocks, **changes}


SHAPES = {
    "dynamic": lambda: ImageBuilder(**mixed()),
    "fixed": lambda: ImageBuilder(disk_type="fixed", disk_size=3 * MIB, blocks={1: Block(pattern(1, MIB))}),
    "qemu": lambda: qemu_like(**mixed(block_size=MIB)),
    "qemu fixed, short last block": lambda: qemu_like(
        disk_type="fixed",
        default_state=FULLY_PRESENT,
        disk_size=9 * MIB,
        blocks={1: Block(pattern(1, MIB))},
        file_length=17 * MIB,
    ),
    "disk2vhd": lambda: disk2vhd_like(disk_size=5 * MIB, blocks={2: Block(pattern(2, 2 * MIB))}),
    "large blocks": lambda: ImageBuilder(
        block_size=64 * MIB, disk_size=3 * MIB, blocks={0: Block(b"x" * 4096)}
    ),
    "junk in a bitmap entry": lambda: ImageBuilder(
        disk_size=20 * MIB, blocks={17: Block(pattern(17, MIB))}, bat={20: 2}, tail=b"unaligned"
    ),
}


def test_the_vectors_of_the_reference() -> None:
    assert layout.crc32c(b"123456789") == 0xE3069283
    table = layout.pack_region_table(
        [
            layout.pack_region_entry(layout.BAT_GUID, 3 * MIB, MIB),
            layout.pack_region_entry(layout.METADATA_GUID, 2 * MIB, MIB),
        ]
    )
    assert layout.REGION_TABLE.number(table, "checksum") == 0xC66B8CAE
    assert ImageBuilder().build()[192 * 1024 :].startswith(table)
    log_guid = UUID("e6fc743c-81ed-4fe8-bf54-698ed57ba0b8")
    header = layout.pack_header(
        sequence_number=8,
        file_write_guid=UUID("b98791bc-45d8-445b-ade6-5cbe550f2290"),
        data_write_guid=UUID("8fbc9db8-2cfd-45b8-9688-1c6fedbc7230"),
        log_guid=log_guid,
    )
    assert layout.HEADER.number(header, "checksum") == 0x6D6209C8
    empty = Entry((), 0x011CA264063FE553, 0, log_guid, 4 * MIB, 4 * MIB).pack()
    assert (len(empty), layout.LOG_ENTRY.number(empty, "checksum")) == (SECTOR, 0xF08D8991)


@pytest.mark.parametrize(
    ("disk_size", "block_size", "differencing", "entries"),
    [
        (10 * MIB, 32 * MIB, False, 1),
        (10 * GIB, 32 * MIB, False, 322),
        (4 * MIB, 2 * MIB, True, 2049),
        (8 * GIB, 2 * MIB, True, 4098),
    ],
)
def test_the_size_of_the_bat(disk_size: int, block_size: int, differencing: bool, entries: int) -> None:
    image = ImageBuilder(disk_size, block_size, disk_type="differencing" if differencing else "dynamic")
    assert image.bat_entries == entries


def test_a_pattern_names_its_owner_in_every_lane() -> None:
    data = pattern(3, 4096, seed=7)
    assert len({data[at : at + 16] for at in range(0, 4096, 16)}) == 256
    assert pattern(3, 100, seed=7, start=1001) == data[1001:1101]
    assert data != pattern(4, 4096, seed=7)
    assert data != pattern(3, 4096, seed=8)


@pytest.mark.parametrize("shape", SHAPES)
def test_builder_and_naive_reader_agree(shape: str, tmp_path: Path) -> None:
    image = SHAPES[shape]()
    path = image.write(tmp_path / "image.vhdx")
    assert path.read_bytes() == image.build()
    assert whole(path) == image.content()


@needs_qemu
@pytest.mark.parametrize("shape", SHAPES)
def test_qemu_agrees(shape: str, tmp_path: Path) -> None:
    image = SHAPES[shape]()
    path = image.write(tmp_path / "image.vhdx")
    subprocess.run(["qemu-img", "check", "-f", "vhdx", path], check=True)
    assert qemu_content(path) == image.content()


@pytest.mark.parametrize("sector_size", [512, 4096])
def test_a_chain(sector_size: int, tmp_path: Path) -> None:
    base = ImageBuilder(disk_size=6 * MIB, logical_sector_size=sector_size)
    base.blocks = {number: Block(pattern(number, MIB)) for number in range(6)}
    middle = base.child("base.vhdx")
    middle.disk_size = 5 * MIB
    middle.blocks = {
        1: Block(pattern(1, MIB, 1), PARTIALLY_PRESENT, present={0, 7, 8, 255}),
        2: Block(state=ZERO),
        3: Block(pattern(3, MIB, 1)),
    }
    top = middle.child("middle.vhdx")
    top.disk_size = 8 * MIB
    top.blocks = {
        0: Block(pattern(0, MIB, 2), PARTIALLY_PRESENT, present=b"\x05\x80"),
        1: Block(pattern(1, MIB, 2), PARTIALLY_PRESENT, present=[1, 8]),
        3: Block(state=UNMAPPED, present=b"\xff" * 8),
    }
    paths = [image.write(tmp_path / name) for image, name in ((base, "b"), (middle, "m"), (top, "t"))]
    expected = top.content(middle.content(base.content()))
    assert whole(paths[2], (paths[1], paths[0])) == expected
    owners = [int.from_bytes(expected[n * sector_size :][:4], "little") for n in range(3)]
    assert owners == [2, 0, 2]
    assert value_of(paths[2], LOCATOR, "key_value_count") == 5


def test_bitmaps_of_several_chunks(tmp_path: Path) -> None:
    image = ImageBuilder(disk_size=9 * GIB, block_size=256 * MIB, disk_type="differencing")
    image.blocks = {n: Block({0: pattern(n, SECTOR)}, PARTIALLY_PRESENT, present={0, 2}) for n in (0, 17, 35)}
    parent = ImageBuilder(disk_size=MIB).write(tmp_path / "parent.vhdx")
    path = image.write(tmp_path / "image.vhdx")
    assert sorted(image.plan().bitmaps) == [0, 1, 2]
    for number in image.blocks:
        sectors = pattern(number, SECTOR)
        expected = sectors[:512] + bytes(512) + sectors[1024:1536] + bytes(512)
        assert naive_content(path, number * 256 * MIB, 2048, [parent]) == expected
    image.bitmaps[1] = Bitmap(state=NOT_PRESENT)
    image.write(path)
    with pytest.raises(NaiveError, match="bitmap is not present"):
        naive_content(path, 17 * 256 * MIB, 512, [parent])


def test_a_disk_of_64_tib_is_cheap(tmp_path: Path) -> None:
    last = 64 * TIB // MIB - 1
    image = ImageBuilder(disk_size=64 * TIB, blocks={5: Block(b"five"), last: Block(b"last")})
    path = image.write(tmp_path / "image.vhdx")
    assert image.plan().regions["bat"][1] == 513 * MIB
    assert path.stat().st_blocks * 512 < 2 * MIB
    assert naive_content(path, last * MIB, 8) == b"last\0\0\0\0"
    image.default_state = FULLY_PRESENT
    image.blocks = {}
    tracemalloc.start()
    sizes = [len(data) for _, data in image.pieces()]
    assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    tracemalloc.stop()
    assert sum(sizes) > 512 * MIB
    assert image.length() == 64 * TIB + 516 * MIB


def test_everything_can_be_told_otherwise(tmp_path: Path) -> None:
    image = ImageBuilder(
        headers={1: Header(checksum=7), 2: Header(log_version=3, signature=b"tail")},
        region_tables={2: RegionTable(raw=b"gone")},
        regions={"bat": Region(at=64 * MIB, size=3 * MIB), "extra": Region(required=1, data=b"extra")},
        items={
            "virtual_disk_id": Item(omit=True),
            "note": Item(value=b"hello", flags=IS_USER),
            "physical_sector_size": Item(value=b"\x00\x01\x00\x00", length=9, flags=1),
        },
        bitmaps={0: Bitmap(state=BITMAP_PRESENT, data=b"\xff", reserved=1)},
        disk_size=3 * GIB + 5 * GIB,
        fill=lambda blocks: blocks % 2 * 3,
        bat={7: 0xFFFFFFFFFFFFFFFF},
        patches=[(300 * 1024, b"junk")],
        file_length=80 * MIB + 1,
    )
    path = image.write(tmp_path / "image.vhdx")
    assert path.stat().st_size == 80 * MIB + 1
    assert image.build() == path.read_bytes()
    assert value_of(path, HEADER, "checksum", 1) == 7
    assert value_of(path, HEADER, "log_version", 2) == 3
    assert locate(path, bat_entry(7)) == 64 * MIB + 56
    assert value_of(path, bat_entry(7), "file_offset_mb") == (1 << 44) - 1
    assert [value_of(path, bat_entry(i), "raw") for i in (0, 1, 2, 3)] == [0, 3, 0, 3]
    assert value_of(path, bat_entry(4096), "raw") == image.plan().bitmaps[0] | 6 | 8
    assert value_of(path, item("physical_sector_size"), "value") == 256
    with pytest.raises(ValueError, match="virtual_disk_id"):
        locate(path, item("virtual_disk_id"))


def dirty(unchanged: int) -> tuple[ImageBuilder, ImageBuilder]:
    """An image whose BAT lacks what its log brings, and the image after the replay."""
    after = ImageBuilder(disk_size=60 * MIB, blocks={i: Block(pattern(i, SECTOR)) for i in (0, 2, 59)})
    plan = after.plan()
    junk = plan.metadata_offset + 200 * SECTOR
    before = ImageBuilder(disk_size=60 * MIB, file_length=plan.end, patches=[(junk, b"to be zeroed")])
    before.patches += [(at, pattern(number, SECTOR)) for number, at in plan.blocks.items()]
    changes = difference(before.build(), after.build(), plan.bat_offset, plan.bat_offset + MIB)
    ring = LogBuilder(flushed_file_offset=plan.end, last_file_offset=plan.end)
    first = ring.add()
    ring.add(*(Data(plan.metadata_offset + (50 + i) * SECTOR, bytes(SECTOR)) for i in range(unchanged)))
    ring.add(*changes, Zero(junk, 2 * SECTOR), tail=first)
    before.log = ring
    return before, after


def test_a_dirty_log(tmp_path: Path) -> None:
    before, after = dirty(unchanged=127)
    path = before.write(tmp_path / "dirty.vhdx")
    assert whole(path) == after.content()
    assert {str(structure.kind) for structure, _ in structures(path)} >= {"zero descriptor", "data sector"}
    before.log_guid = session_guid(99)
    before.write(path)
    with pytest.raises(NaiveError, match="no active sequence"):
        naive_size(path)
    before.log_guid = layout.ZERO_GUID
    before.write(path)
    assert whole(path) == bytes(60 * MIB)


@needs_qemu
def test_qemu_replays_the_same(tmp_path: Path) -> None:
    before, after = dirty(unchanged=126)  # QEMU fails on a second sector of descriptors
    path = before.write(tmp_path / "dirty.vhdx")
    subprocess.run(["qemu-img", "check", "-f", "vhdx", "-r", "all", path], check=True)
    assert whole(path) == after.content()
    assert qemu_content(path) == after.content()
    assert naive_content(path, 0, SECTOR) == pattern(0, SECTOR)
    with path.open("rb") as file:
        file.seek(after.plan().metadata_offset + 200 * SECTOR)
        assert file.read(2 * SECTOR) == bytes(2 * SECTOR)


def test_a_sequence_that_wraps() -> None:
    ring = LogBuilder(position=MIB - 2 * SECTOR)
    ring.place(Entry((Data(MIB * 2, b"s" * SECTOR),), 900, 0, session_guid(2)))
    ring.position, ring.sequence_number = MIB - 4 * SECTOR, 50
    sector = pattern(1, SECTOR)
    first = ring.add(Data(3 * MIB, sector))
    second = ring.add(Data(3 * MIB + SECTOR, sector), Data(5 * MIB, sector), tail=first)
    third = ring.add(Zero(3 * MIB, SECTOR), tail=second)
    sequence = naive_active_sequence(ring.contents(), ring.guid)
    assert sequence is not None
    assert [entry.offset for entry in sequence] == [MIB - 4 * SECTOR, MIB - 2 * SECTOR, SECTOR]
    assert [entry.offset for entry in naive_replayed(sequence)] == [second, third]
    assert sequence[1].writes == ((3 * MIB + SECTOR, SECTOR, sector), (5 * MIB, SECTOR, sector))
    assert naive_active_sequence(ring.contents(), session_guid(2)) is None


def test_a_full_ring_ends_the_scan() -> None:
    ring = LogBuilder()
    first = ring.add()
    while ring.position:
        ring.add(tail=first)
    sequence = naive_active_sequence(ring.contents(), ring.guid)
    assert sequence is not None
    assert len(sequence) == MIB // SECTOR


@pytest.mark.parametrize(
    "lie",
    [
        Entry((Zero(2 * MIB, SECTOR, sequence_number=4),), 2),
        Entry((Zero(2 * MIB, 100),), 2),
        Entry((Zero(128 * 1024, SECTOR),), 2),
        Entry((Data(2 * MIB, bytes(SECTOR), data_signature=b"atad"),), 2),
        Entry((Data(2 * MIB, bytes(SECTOR), sequence_low=9),), 2),
        Entry((), 2, entry_length=2 * SECTOR),
        Entry((), 2, padding=bytes(SECTOR)),
        Entry((), 2, descriptor_count=1),
        Entry((), 2, checksum=0),
        Entry((), 2, tail=MIB),
        Entry((), 4),
    ],
    ids=lambda lie: str(lie)[:60],
)
def test_a_lying_entry_ends_the_sequence(lie: Entry) -> None:
    ring = LogBuilder()
    ring.add()
    lie.log_guid = ring.guid
    ring.place(lie)
    sequence = naive_active_sequence(ring.contents(), ring.guid)
    assert sequence is not None
    assert [entry.sequence_number for entry in sequence] == [1]


def test_every_field_can_be_damaged_behind_its_checksum(tmp_path: Path) -> None:
    ring = LogBuilder(position=MIB - SECTOR)
    ring.last_file_offset = 8 * MIB
    ring.add(Data(2 * MIB + 200 * SECTOR, pattern(1, SECTOR)), Zero(2 * MIB + 201 * SECTOR, SECTOR))
    image = ImageBuilder(disk_size=2 * MIB).child()
    image.blocks = {1: Block(b"one", PARTIALLY_PRESENT, present={0})}
    image.log = ring
    path = image.write(tmp_path / "image.vhdx")
    original = path.read_bytes()
    before = np.frombuffer(original, np.uint8)
    kinds = set()
    for structure, copy in structures(path):
        kinds.add(structure.kind)
        for field in fields(structure):
            old = value_of(path, structure, field.name, copy)
            at = locate(path, structure, copy) + field.offset
            new = old ^ 1 if isinstance(old, int) else b"\xa5" * field.size
            damage(path, structure, field.name, new, copy)
            changed = np.flatnonzero(np.frombuffer(path.read_bytes(), np.uint8) != before)
            inside = changed[(changed >= at) & (changed < at + field.size)]
            assert len(inside), (structure, field)
            checksum = np.setdiff1d(changed, inside)
            assert not len(checksum) or checksum[-1] - checksum[0] < 4, (structure, field)
            path.write_bytes(original)
    assert len(kinds) == 14


def test_checksums_are_broken_on_demand_and_repaired(tmp_path: Path) -> None:
    path = ImageBuilder().write(tmp_path / "image.vhdx")
    damage(path, HEADER, "sequence_number", 3, copy=2, reseal=False)
    damage(path, HEADER, "version", 2, copy=1, reseal=False)
    with pytest.raises(NaiveError, match="no header"):
        naive_size(path)
    reseal(path, HEADER, copy=2)
    assert naive_size(path) == 10 * MIB
    flip(path, locate(path, HEADER, copy=2) + 100)
    with pytest.raises(NaiveError, match="no header"):
        naive_size(path)


@needs_images
@pytest.mark.parametrize("name", [n for n, m in LISTED.items() if m["virtual_size"] <= SMALL or n == DIRTY])
def test_real_images(name: str, tmp_path: Path) -> None:
    def unpack(which: str) -> Path:
        path = tmp_path / which.split("__")[1]
        with lzma.open(IMAGES / f"{which}.xz") as packed, path.open("wb") as file:
            shutil.copyfileobj(packed, file)
        return path

    path = unpack(name)
    differs = LISTED[name]["type"] == "differencing"
    parents = [unpack("dfvfs__fat-parent.vhdx")] if differs else []
    size = naive_size(path)
    assert size == LISTED[name]["virtual_size"]
    digest = hashlib.sha256()
    for at in range(0, size, 64 * MIB):
        digest.update(naive_content(path, at, min(64 * MIB, size - at), parents))
    assert digest.hexdigest() == LISTED[name]["content_sha256"]
