"""Structures shown field by field, against the tests' own layouts, on sound images and on broken ones."""

import random
import subprocess
from pathlib import Path
from uuid import UUID

import pytest

from tests.cli.running import run
from tests.hostile.images import clean, dirty, family
from tests.support import layout
from tests.support.build import ImageBuilder
from tests.support.damage import damage, flip, overwrite
from tests.support.layout import KIB, MIB, SECTOR
from tests.support.parts import Block, Header, RegionTable
from tests.support.place import Plan
from tests.support.structures import HEADER, bat_entry, fields, layout_of, locate, read, structures, value_of
from tests.support.tools import needs
from vhdx.errors import VhdxError
from vhdx.ops.dump import contents, dump, raw_bytes
from vhdx.ops.structures import FieldValue

SMALL = ("identifier", "headers", "regions", "metadata", "locator", "bat:0-20", "log")


@pytest.fixture(name="images", scope="module")
def _images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("dump")
    return [dirty().write(folder / "dirty.vhdx"), *family(folder)]


def shown(path: Path, *words: str) -> list[FieldValue]:
    return [field for word in words for found in dump(path, word) for field in found.fields]


def log_words(path: Path) -> list[str]:
    return [f"log:{found.structure.split()[-1]}" for found in dump(path, "log")]


@pytest.mark.parametrize("which", range(3))
def test_every_field_of_every_structure(images: list[Path], which: int) -> None:
    path = images[which]
    found = shown(path, *SMALL, *log_words(path), "bat")
    by_place = {(field.file_offset, field.size): field for field in found}
    seen = 0
    for structure, copy in structures(path):
        start, size = locate(path, structure, copy), layout_of(structure).size
        with path.open("rb") as file:
            data = read(file, start, size)
        for field in fields(structure):
            if field.bits or (structure.kind == "item" and structure.name == "parent_locator"):
                continue
            ours = by_place[start + field.offset, field.size]
            raw = data[field.offset : field.offset + field.size]
            assert ours.raw == raw.hex() if len(raw) <= 32 else raw[:32].hex() == ours.raw[:-1]
            theirs = value_of(path, structure, field.name, copy)
            if isinstance(theirs, UUID):
                assert ours.value == str(theirs)
            elif field.kind == "int" and isinstance(ours.value, int) and structure.kind != "bat entry":
                assert ours.value == theirs
            seen += 1
    assert seen > 80


def test_the_parts_of_a_bat_entry(images: list[Path]) -> None:
    image = ImageBuilder(bat={3: 77 << 20 | 5 << 3 | 3})
    path = image.write(images[0].with_name("bat.vhdx"))
    (found,) = dump(path, "bat:3")
    assert found.structure == "BAT entry 3 (payload block 3)"
    assert [(field.name, field.value, field.meaning) for field in found.fields] == [
        ("state", 3, "UNMAPPED"),
        ("reserved", 40, ""),
        ("file offset", 77 * MIB, "77 MiB"),
    ]


def test_a_sector_bitmap(images: list[Path]) -> None:
    runs = [(field.name, field.value) for field in shown(images[1], "bitmap:0")]
    assert runs[:3] == [("sectors 0 to 0", 1), ("sectors 1 to 1", 0), ("sectors 2 to 14", 1)]
    third = 3 * 2048  # the first sector of the last block, of which the disk has five
    assert runs[-5:] == [
        (f"sectors {2048 - 1} to {third}", 0),
        (f"sectors {third + 1} to {third + 2}", 1),
        (f"sectors {third + 3} to {third + 3}", 0),
        (f"sectors {third + 4} to {third + 4}", 1),
        (f"sectors {third + 5} to {third + 2047}", 0),
    ]


def test_what_there_is(images: list[Path]) -> None:
    found = {content.word: content for content in contents(images[1])}
    plan = family_plan()
    assert found["bat"][1:3] == (plan.bat_offset, MIB)
    assert found["metadata"][1:3] == (plan.metadata_offset, MIB)
    assert found["bitmap:0"][1:3] == (plan.bitmaps[0], MIB)
    assert found["headers:2"].state == "valid, sequence number 9, current"
    assert found["log"].state == "clean"
    assert {content.word: content.state for content in contents(images[0])}["log"] == "dirty"
    for word in found:
        list(dump(images[1], word))


def family_plan() -> Plan:
    child = clean().child()
    child.blocks = {number: Block(b"", state) for number, state in ((0, 7), (1, 6), (2, 3), (3, 7))}
    return child.plan()


def test_damage_is_shown_with_what_would_be_right(tmp_path: Path) -> None:
    path = clean().write(tmp_path / "a.vhdx")
    damage(path, HEADER, "checksum", 7, copy=1)
    with path.open("rb") as file:
        right = layout.HEADER.number(layout.seal(read(file, 64 * KIB, SECTOR)), "checksum")
    first, second = dump(path, "headers")
    words = f"checksum is 0x00000007, its bytes give {right:#010x}"
    assert (first.damage, second.damage) == (words, None)
    checksum = next(field for field in first.fields if field.name == "checksum")
    assert checksum.meaning == f"wrong, the bytes give {right:#010x}"


def test_an_image_that_cannot_be_opened(tmp_path: Path) -> None:
    """No header, no valid region table: what can still be found is shown."""
    image = clean()
    image.headers = {1: Header(raw=b"x" * SECTOR), 2: Header(checksum=1)}
    image.region_tables = {1: RegionTable(checksum=1), 2: RegionTable(raw=bytes(64 * KIB))}
    path = image.write(tmp_path / "a.vhdx")
    assert [content.state.partition(":")[0] for content in contents(path)][:5] == [
        "valid",
        *["damaged"] * 4,
    ]
    assert [found.damage is None for found in dump(path, "headers")] == [False, False]
    block_size = next(field for field in shown(path, "metadata") if field.name == "block size")
    assert block_size.value == MIB
    assert "state" in {field.name for field in shown(path, "bat:0-3")}
    with pytest.raises(VhdxError, match="no valid header names a log"):
        shown(path, "log")


@pytest.mark.parametrize(
    "word",
    [
        "nothing",
        "identifier:1",
        "headers:3",
        "bat:x",
        "bat:5-3",
        "bat:999999999",
        "bitmap",
        "bitmap:9",
        "log:5",
        "log:4G",
    ],
)
def test_words_that_mean_nothing(images: list[Path], word: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        shown(images[0], word)


@needs("hexdump")
@pytest.mark.parametrize(
    ("offset", "length"), [(0, 4096), (64 * KIB + 3, 100), (2 * MIB, 70_000), (5, 0), (17, 15)]
)
def test_raw_is_what_hexdump_shows(images: list[Path], offset: int, length: int) -> None:
    theirs = subprocess.run(
        ["hexdump", "-C", "-s", str(offset), "-n", str(length), str(images[1])],
        capture_output=True,
        text=True,
        check=True,
    )
    ours = run("dump", "--raw", str(offset), str(length), images[1])
    assert ours.out.splitlines() == (theirs.stdout.splitlines() or [f"{offset:08x}"])


def test_raw_stays_in_the_file(images: list[Path]) -> None:
    size = images[0].stat().st_size
    assert b"".join(data for _, data in raw_bytes(images[0], size - 5, 5)) == images[0].read_bytes()[-5:]
    with pytest.raises(ValueError, match="not inside the file"):
        list(raw_bytes(images[0], size - 5, 6))


@pytest.mark.parametrize("seed", range(60))
def test_hostile_files(tmp_path: Path, seed: int) -> None:
    """Bytes changed at random in every structure, and files cut anywhere: an answer or a clean refusal."""
    chance = random.Random(seed)
    path = dirty().write(tmp_path / "a.vhdx") if seed % 2 else family(tmp_path)[0]
    places = [locate(path, structure, copy) for structure, copy in structures(path)]
    for place in chance.sample(places, 5):
        overwrite(
            path, place + chance.randrange(24), chance.choice([b"\xff" * 8, b"\0" * 8, chance.randbytes(8)])
        )
    flip(path, chance.randrange(MIB))
    if seed % 3 == 0:
        with path.open("r+b") as file:
            file.truncate(chance.randrange(path.stat().st_size))
    for word in (*SMALL, "bitmap:0", "log:12K", "log:0"):
        try:
            shown(path, word)
        except (VhdxError, OSError):
            continue
        except ValueError as error:
            assert "room for" in str(error) or "below" in str(error) or "from 0 to" in str(error)  # noqa: PT017
    list(contents(path))


def test_a_sector_bitmap_where_no_file_has_anything_reads_as_zeros(tmp_path: Path) -> None:
    path = family(tmp_path)[0]
    entry = locate(path, bat_entry(clean().child().bitmap_index(0)))
    overwrite(path, entry, (1 << 63 | 6).to_bytes(8, "little"))
    assert [field.value for field in shown(path, "bitmap:0")]
    assert "bitmap:0" in [content.word for content in contents(path)]
