"""What `info` tells of images: built ones, of which everything is known, and real ones."""

import json
import lzma
import os
from pathlib import Path
from typing import Any

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import GIB, MIB, PARTIALLY_PRESENT, TIB, UNMAPPED, ZERO, ZERO_GUID
from tests.support.logs import Data, LogBuilder
from tests.support.parts import Block, Header, Region
from tests.support.patterns import pattern
from tests.support.presets import disk2vhd_like, qemu_like
from vhdx.ops.info import ImageInfo, info

IMAGES = Path(__file__).parents[2].parent / "shared" / "images"
FACTS: dict[str, dict[str, Any]] = (
    json.loads((IMAGES / "images.json").read_text()) if (IMAGES / "images.json").exists() else {}
)


def of(folder: Path, image: ImageBuilder, **options: Any) -> ImageInfo:
    """What is told of a built image."""
    return info(image.write(folder / "a.vhdx"), **options)


def present(*blocks: int, at: dict[int, int] | None = None) -> dict[int, Block]:
    """Present blocks, at chosen MiB of the file."""
    places = at or {}
    return {
        block: Block(b"x", file_offset=places[block] * MIB if block in places else None) for block in blocks
    }


def test_everything_of_a_small_image(tmp_path: Path) -> None:
    image = ImageBuilder(
        10 * MIB + 512,
        2 * MIB,
        physical_sector_size=512,
        seed=3,
        blocks={**present(0, 1), 2: Block(state=ZERO), 3: Block(state=UNMAPPED)},
    )
    found = of(tmp_path, image)
    assert found.path == str(tmp_path / "a.vhdx")
    assert found.file_size == (tmp_path / "a.vhdx").stat().st_size == image.length()
    assert found.allocated_size == (tmp_path / "a.vhdx").stat().st_blocks * 512
    assert (found.virtual_size, found.block_size, found.disk_type) == (10 * MIB + 512, 2 * MIB, "dynamic")
    assert (found.logical_sector_size, found.physical_sector_size) == (512, 512)
    assert found.disk_id == image.guid("disk id")
    assert found.creator == "Microsoft Windows 10.0.19041.0"
    assert found.header_sequence_number == 9
    assert found.file_write_guid == image.guid("file write")
    assert found.data_write_guid == image.guid("data write")
    assert found.log_guid == ZERO_GUID
    assert found.log._asdict() == {
        "state": "clean",
        "size": MIB,
        "version": 0,
        "entries": 0,
        "first_sequence_number": None,
        "last_sequence_number": None,
    }
    assert found.blocks is not None
    assert found.blocks.total == 6
    assert found.blocks.by_state == {"not_present": 2, "zero": 1, "unmapped": 1, "fully_present": 2}
    assert (found.blocks.sector_bitmaps, found.blocks.fragmentation) == (0, 0.0)
    assert (found.parent_locator, found.chain, found.notes) == (None, None, ())


@pytest.mark.parametrize("disk_type", ["dynamic", "fixed"])
def test_the_type(tmp_path: Path, disk_type: Any) -> None:
    assert of(tmp_path, ImageBuilder(3 * MIB, disk_type=disk_type)).disk_type == disk_type


@pytest.mark.parametrize(
    ("places", "figure"),
    [
        ({}, None),
        ({3: 4}, None),
        ({0: 4, 2: 5}, None),  # blocks that are no neighbours cannot be torn apart
        ({0: 4, 1: 5, 2: 6, 3: 7}, 0.0),
        ({0: 7, 1: 6, 2: 5, 3: 4}, 1.0),
        ({0: 4, 1: 5, 2: 7, 3: 8}, 1 / 3),
        ({0: 9, 1: 5, 3: 4, 4: 8}, 1.0),
        ({0: 4, 1: 5, 3: 6, 4: 8}, 1 / 2),
    ],
)
def test_fragmentation(tmp_path: Path, places: dict[int, int], figure: float | None) -> None:
    found = of(tmp_path, ImageBuilder(5 * MIB, MIB, blocks=present(*places, at=places)))
    assert found.blocks is not None
    assert found.blocks.fragmentation == figure


@pytest.mark.parametrize("border", [4095, 131072])
def test_fragmentation_over_borders_of_the_table(tmp_path: Path, border: int) -> None:
    """Chunks of the disk, and windows in which the table is read, tear nothing apart."""
    image = ImageBuilder(140000 * MIB, MIB, blocks=present(border - 1, border, border + 1))
    found = of(tmp_path, image, blocks=True)
    assert found.blocks is not None
    assert found.blocks.by_state == {"not_present": 140000 - 3, "fully_present": 3}
    assert found.blocks.fragmentation == 0.0


@pytest.mark.parametrize("fixed_blocks", [4096, 200000])
def test_a_large_fixed_table(tmp_path: Path, fixed_blocks: int) -> None:
    image = ImageBuilder(fixed_blocks * MIB, MIB, disk_type="fixed")
    found = of(tmp_path, image, blocks=True)
    assert found.blocks is not None
    assert (found.blocks.by_state, found.blocks.fragmentation) == ({"fully_present": fixed_blocks}, 0.0)


@pytest.mark.parametrize(
    ("entries", "asked", "counted"),
    [
        (131072, None, True),  # a table of exactly 1 MiB
        (131073, None, False),
        (131073, True, True),
        (131072, False, False),
    ],
)
def test_large_tables_are_counted_when_asked(
    tmp_path: Path, entries: int, asked: bool | None, *, counted: bool
) -> None:
    blocks = entries - (entries - 1) // 4097
    image = ImageBuilder(blocks * MIB, MIB)
    assert image.bat_entries == entries
    assert (of(tmp_path, image, blocks=asked).blocks is not None) == counted


def test_the_largest_disk(tmp_path: Path) -> None:
    found = of(tmp_path, ImageBuilder(64 * TIB, MIB))
    assert (found.virtual_size, found.blocks) == (64 * TIB, None)


class TestLogs:
    """Of a dirty log: what would be replayed."""

    def image(self, entries: int, tail: int | None = None, length: int = MIB) -> ImageBuilder:
        """An image with this many entries in its log; the newest names the entry ``tail`` as its tail."""
        log = LogBuilder(length=length, sequence_number=100)
        table = ImageBuilder(4 * MIB, MIB).plan().bat_offset + length - MIB
        places: list[int] = []
        for number in range(entries):
            last = number == entries - 1
            named = places[tail] if last and tail is not None and tail < number else None
            places.append(log.add(Data(table, bytes(4096)), tail=named))
        return ImageBuilder(4 * MIB, MIB, log=log)

    @pytest.mark.parametrize(
        ("entries", "tail", "replayed", "first"),
        [(1, None, 1, 100), (5, 0, 5, 100), (5, 2, 3, 102), (5, None, 1, 104)],
    )
    def test_dirty(self, tmp_path: Path, entries: int, tail: int | None, replayed: int, first: int) -> None:
        image = self.image(entries, tail)
        found = of(tmp_path, image)
        assert image.log is not None
        assert (found.log.state, found.log.entries) == ("dirty", replayed)
        assert (found.log.first_sequence_number, found.log.last_sequence_number) == (first, 99 + entries)
        assert found.log_guid != ZERO_GUID

    def test_a_clean_log_with_old_entries(self, tmp_path: Path) -> None:
        image = self.image(3)
        image.log_guid = ZERO_GUID
        found = of(tmp_path, image)
        assert (found.log.state, found.log.entries, found.log.last_sequence_number) == ("clean", 0, None)

    def test_another_size(self, tmp_path: Path) -> None:
        assert of(tmp_path, self.image(1, length=3 * MIB)).log.size == 3 * MIB

    def test_blocks_are_counted_after_replay(self, tmp_path: Path) -> None:
        log = LogBuilder()
        log.add(Data(ImageBuilder(4 * MIB).plan().bat_offset, (2).to_bytes(8, "little") * 512))
        found = of(tmp_path, ImageBuilder(4 * MIB, MIB, log=log))
        assert found.blocks is not None
        assert found.blocks.by_state == {"zero": 4}


class TestChains:
    """Parents are opened only when they are asked for."""

    @pytest.fixture(name="child")
    def _child(self, tmp_path: Path) -> Path:
        parent = ImageBuilder(4 * MIB, MIB, seed=1, blocks=present(0, 1))
        parent.write(tmp_path / "parent.vhdx")
        child = parent.child()
        child.blocks = {1: Block(pattern(1, MIB), PARTIALLY_PRESENT, present={3})}
        return child.write(tmp_path / "child.vhdx")

    def test_the_image_alone(self, child: Path) -> None:
        (child.parent / "parent.vhdx").unlink()
        found = info(child)
        assert (found.disk_type, found.chain) == ("differencing", None)
        assert found.parent_locator is not None
        assert list(found.parent_locator) == [
            *("parent_linkage", "absolute_win32_path", "relative_path", "volume_path", "parent_linkage2")
        ]
        assert found.parent_locator["relative_path"] == ".\\parent.vhdx"
        assert found.blocks is not None
        assert found.blocks.by_state == {"not_present": 3, "partially_present": 1}
        assert found.blocks.sector_bitmaps == 1

    def test_all_layers(self, child: Path) -> None:
        found = info(child, chain=True)
        assert found.chain is not None
        layers = [(os.path.basename(layer.path), layer.disk_type, layer.log_state) for layer in found.chain]
        assert layers == [("child.vhdx", "differencing", "clean"), ("parent.vhdx", "dynamic", "clean")]
        assert str(found.chain[1].data_write_guid) in (found.parent_locator or {})["parent_linkage"]

    def test_all_layers_of_a_missing_parent(self, child: Path) -> None:
        (child.parent / "parent.vhdx").unlink()
        with pytest.raises(vhdx.ParentNotFoundError):
            info(child, chain=True)

    def test_a_parent_elsewhere(self, child: Path, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (tmp_path / "parent.vhdx").rename(elsewhere / "renamed")
        found = info(child, chain=True, parents=elsewhere)
        assert found.chain is not None
        assert found.chain[1].path == str(elsewhere / "renamed")

    def test_an_image_without_a_parent(self, child: Path) -> None:
        found = info(child.parent / "parent.vhdx", chain=True)
        assert found.chain is not None
        assert [layer.disk_type for layer in found.chain] == ["dynamic"]


@pytest.mark.parametrize(
    ("image", "codes"),
    [
        (ImageBuilder(4 * MIB), []),
        (qemu_like(), ["region.not_required", "region.not_required"]),
        (disk2vhd_like(), ["header.twins"]),
        (ImageBuilder(4 * MIB, headers={1: Header(checksum=0)}), ["header.damaged"]),
        (ImageBuilder(4 * MIB, regions={"mine": Region(at=8 * MIB, size=MIB)}), ["region.unknown"]),
    ],
    ids=["Windows", "QEMU", "Disk2vhd", "damaged header", "unknown region"],
)
def test_notes_on_what_is_unusual(tmp_path: Path, image: ImageBuilder, codes: list[str]) -> None:
    notes = of(tmp_path, image).notes
    assert [note.code for note in notes] == codes
    for note in notes:
        assert note.severity in ("note", "warning")
        assert note.structure
        assert note.text


@pytest.mark.parametrize("options", [{}, {"chain": True}, {"blocks": True}])
def test_nothing_stays_open(tmp_path: Path, options: dict[str, Any]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    of(tmp_path, ImageBuilder(4 * MIB), **options)
    (tmp_path / "a.vhdx").write_bytes(b"no image" * 1000)
    with pytest.raises(vhdx.CorruptImageError):
        info(tmp_path / "a.vhdx", **options)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(not FACTS, reason="../shared/images is absent")
@pytest.mark.parametrize("name", sorted(FACTS))
def test_real_images(tmp_path: Path, name: str) -> None:
    facts = FACTS[name]
    path = tmp_path / name
    path.write_bytes(lzma.decompress((IMAGES / f"{name}.xz").read_bytes()))
    found = info(path)
    assert found.virtual_size == facts["virtual_size"]
    assert found.file_size == facts["file_bytes"]
    assert found.creator == facts["creator"]
    assert facts["type"].startswith(found.disk_type)
    assert facts["block_size"] == f"{found.block_size // MIB} MiB"
    assert facts["sector_sizes"] == f"{found.logical_sector_size}/{found.physical_sector_size}"
    assert (found.log.state == "dirty") == facts["dirty_log"]
    codes = {note.code for note in found.notes}
    quirks = {"QEMU": {"region.not_required"}, "d2v": {"header.twins"}}
    assert codes == next((code for creator, code in quirks.items() if creator in found.creator), set())
    if not facts["dirty_log"]:
        assert found.blocks is not None
        names = {"NP": "not_present", "ZERO": "zero", "FULL": "fully_present", "PART": "partially_present"}
        counted = (part.split() for part in facts["blocks"].split(", ") if not part.startswith("bitmap"))
        expected = {names.get(word, word): int(count) for word, count in counted}
        assert found.blocks.by_state == expected


def test_a_disk_of_several_gigabytes_of_data_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only structures are looked at: a few system calls, whatever the disk holds."""
    path = ImageBuilder(8 * GIB, 32 * MIB, disk_type="fixed").write(tmp_path / "a.vhdx")
    read: list[int] = []
    pread = os.pread

    def count(descriptor: int, length: int, offset: int) -> bytes:
        read.append(length)
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", count)
    info(path)
    assert sum(read) < MIB
