"""`Disk.changed_extents` and `vhdx diff`: exactly what BAT and bitmaps of the upper layers say."""

import json
import random
from pathlib import Path

import pytest

from tests.cli.running import run, succeed
from tests.support.build import ImageBuilder
from tests.support.layout import FULLY_PRESENT, MIB, NOT_PRESENT, PARTIALLY_PRESENT, UNDEFINED, UNMAPPED, ZERO
from tests.support.parts import Block
from vhdx import ExtentKind
from vhdx.disk.open import open_disk
from vhdx.storage.file import FileStorage

from .making import own_block
from .test_machine import joined
from .twin import twin_of

Changes = list[tuple[int, int, str]]


def changes_of(path: Path, since: int | str | None = None) -> Changes:
    with open_disk(path) as disk:
        return [(e.offset, e.length, e.kind.value) for e in disk.changed_extents(since=since)]


def chain(folder: Path, *layers: dict[int, Block], disk_size: int = 6 * MIB, sector: int = 512) -> list[Path]:
    """Files over a full parent, the youngest first."""
    image = ImageBuilder(
        disk_size, MIB, sector, seed=1, blocks={n: own_block(n, FULLY_PRESENT, ()) for n in range(6)}
    )
    files = [image.write(folder / "0.vhdx")]
    for number, blocks in enumerate(layers, 1):
        image = image.child(files[0].name)
        image.blocks = blocks
        files.insert(0, image.write(folder / f"{number}.vhdx"))
    return files


def test_a_child_without_blocks_changed_nothing(tmp_path: Path) -> None:
    assert changes_of(chain(tmp_path, {})[0]) == []


def test_zeros_on_both_sides_of_what_the_child_does_not_have(tmp_path: Path) -> None:
    files = chain(tmp_path, {0: Block(state=ZERO), 2: Block(state=ZERO)})
    assert changes_of(files[0]) == [(0, MIB, "zero"), (2 * MIB, MIB, "zero")]


def test_data_side_by_side_in_the_file_and_apart_on_the_disk(tmp_path: Path) -> None:
    files = chain(tmp_path, {0: own_block(0, FULLY_PRESENT, ()), 2: own_block(2, FULLY_PRESENT, ())})
    assert changes_of(files[0]) == [(0, MIB, "data"), (2 * MIB, MIB, "data")]


def test_what_the_child_does_not_have_on_both_sides_of_what_it_has(tmp_path: Path) -> None:
    files = chain(tmp_path, {1: own_block(1, FULLY_PRESENT, ())}, disk_size=3 * MIB)
    with open_disk(files[0]) as disk:
        assert [(e.offset, e.length) for e in disk.own_extents() if e.kind is ExtentKind.UNALLOCATED] == [
            (0, MIB),
            (2 * MIB, MIB),
        ]


def test_states_that_hide_the_parent_are_zeros(tmp_path: Path) -> None:
    states = (NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED, NOT_PRESENT, ZERO)
    files = chain(tmp_path, {n: Block(state=state) for n, state in enumerate(states)})
    assert joined(changes_of(files[0])) == [(MIB, 3 * MIB, "zero"), (5 * MIB, MIB, "zero")]


@pytest.mark.parametrize("sector", [512, 4096])
def test_every_sector_of_random_chains(tmp_path: Path, sector: int) -> None:
    chance = random.Random(sector)
    for round_ in range(12):
        folder = tmp_path / str(round_)
        folder.mkdir()
        layers = []
        for _ in range(chance.randint(1, 3)):
            blocks = {}
            for number in range(6):
                state = chance.choice((NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED, FULLY_PRESENT, 7, 7))
                bits = chance.randbytes(MIB // sector // 8 // 16) * 16
                blocks[number] = own_block(number, state, bits if state == PARTIALLY_PRESENT else ())
            layers.append(blocks)
        size = 5 * MIB + chance.choice((1, 5)) * 4096
        files = chain(folder, *layers, disk_size=size, sector=sector)
        twin = twin_of(*files)
        for depth in range(2, len(files) + 1):
            wanted = twin.changed(depth - 1)
            assert joined(changes_of(files[0], since=depth)) == wanted
            assert changes_of(files[0], since=depth) == changes_of(files[0], since=str(files[depth - 1]))
        assert changes_of(files[0]) == changes_of(files[0], since=2)


def test_no_contents_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = {0: own_block(0, PARTIALLY_PRESENT, range(0, 2048, 3)), 1: own_block(1, FULLY_PRESENT, ())}
    files = chain(tmp_path, blocks)
    with open_disk(files[0]) as disk:
        places = [e.file_offset for e in disk.extents() if e.kind is ExtentKind.DATA and e.depth == 1]
        first = min(place for place in places if place is not None) // MIB * MIB
        reads: list[tuple[int, int]] = []
        read = FileStorage.read

        def noted(storage: FileStorage, length: int, file_offset: int) -> bytes:
            reads.append((length, file_offset))
            return read(storage, length, file_offset)

        monkeypatch.setattr(FileStorage, "read", noted)
        list(disk.changed_extents())
    assert all(offset + length <= first for length, offset in reads)


@pytest.mark.parametrize("since", [0, 1, 4, 99, -1])
def test_a_depth_that_is_none_is_refused(tmp_path: Path, since: int) -> None:
    files = chain(tmp_path, {}, {})
    with open_disk(files[0]) as disk, pytest.raises(ValueError, match="is not a layer under"):
        disk.changed_extents(since=since)


def test_files_that_are_no_ancestors_are_refused(tmp_path: Path) -> None:
    files = chain(tmp_path, {}, {})
    stranger = ImageBuilder(MIB).write(tmp_path / "stranger.vhdx")
    with open_disk(files[0]) as disk:
        for since in (files[0], stranger):
            with pytest.raises(ValueError, match="is not a layer under"):
                disk.changed_extents(since=str(since))
        with pytest.raises(FileNotFoundError):
            disk.changed_extents(since=str(tmp_path / "missing"))


def test_an_image_without_parent_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    base = chain(tmp_path)[0]
    with open_disk(base) as disk, pytest.raises(ValueError, match="it has no parent"):
        disk.changed_extents()
    assert run("diff", base).code == 64


def test_a_link_to_an_ancestor_is_that_ancestor(tmp_path: Path) -> None:
    files = chain(tmp_path, {0: Block(state=ZERO)}, {})
    (tmp_path / "link").symlink_to(files[2])
    assert changes_of(files[0], since=str(tmp_path / "link")) == [(0, MIB, "zero")]


def test_behind_the_end_of_a_shorter_middle_layer_the_base_is_hidden(tmp_path: Path) -> None:
    """What the base has there reads as zeros: that is a change against the base."""
    files = chain(tmp_path, {}, {}, disk_size=6 * MIB)
    middle = ImageBuilder(6 * MIB, MIB, seed=1).child("0.vhdx")
    middle.disk_size = 4 * MIB
    middle.write(files[1])
    with open_disk(files[0]) as disk:
        assert disk.pread(2 * MIB, 4 * MIB) == bytes(2 * MIB)
    assert joined(changes_of(files[0], since=3)) == [(4 * MIB, 2 * MIB, "zero")]


def test_the_command_says_the_same(tmp_path: Path) -> None:
    files = chain(tmp_path, {4: Block(state=ZERO)}, {0: own_block(0, PARTIALLY_PRESENT, range(3, 9))})
    lines = [line.split() for line in succeed("diff", files[0]).splitlines()]
    assert lines == [["1536", "3072", "data"]]
    found = json.loads(succeed("diff", files[0], "--since", files[2], "--json"))
    assert (found["path"], found["format"]) == (str(files[0]), "vhdx")
    assert found["changes"] == [
        {"offset": 1536, "length": 3072, "kind": "data"},
        {"offset": 4 * MIB, "length": MIB, "kind": "zero"},
    ]
    assert json.loads(succeed("diff", "--json", chain(tmp_path, {})[0]))["changes"] == []
