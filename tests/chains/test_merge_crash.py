"""Every cut of a merge, across its files: the chain opens and reads alike, and once more completes it."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock
from uuid import UUID

import pytest

from tests.crash.session import reproducible
from tests.support.build import ImageBuilder
from tests.support.layout import HEADER, MIB, PARTIALLY_PRESENT, UNDEFINED, UNMAPPED, ZERO
from tests.support.lying import Operation, Record, crashes
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.soundness import SHORT, Survey, Surveyor
from tests.support.sparse import Content, ContentStorage, content_of
from vhdx.disk.chain import VhdxDisk
from vhdx.image import image, metadata
from vhdx.ops import fold
from vhdx.reshape.resize import resize
from vhdx.write.write import Writer

from .twin import Twin, layer_of_survey

CHILD, PARENT = "child.vhdx", "parent.vhdx"
OWN, BELOW, DEEP = 0x4F574E, 0x42454C, 0x44454550
HARMLESS = {"one header is damaged", SHORT}


@dataclass(frozen=True)
class Case:
    name: str
    files: Callable[[], list[ImageBuilder]]
    """The child, its parent and, where there is one, the parent's own."""

    def __str__(self) -> str:
        return self.name


def _partial(number: int, sectors: range, size: int = MIB) -> Block:
    return Block(pattern(number, size, OWN), PARTIALLY_PRESENT, present=sectors)


def _parent(size: int, blocks: int, sector_size: int = 512, **changes: object) -> ImageBuilder:
    made = ImageBuilder(size, MIB, sector_size, seed=1, **changes)  # type: ignore[arg-type]
    made.blocks = {number: Block(pattern(number, MIB, BELOW)) for number in range(blocks)}
    return made


def _child(parent: ImageBuilder, size: int, sector_size: int = 512) -> ImageBuilder:
    made = parent.child(PARENT)
    last = MIB // sector_size
    made.disk_size = size
    made.blocks = {
        0: _partial(0, range(1, 9)),
        1: Block(state=ZERO),
        2: Block(pattern(2, MIB, OWN)),
        3: Block(state=UNMAPPED),
        5: Block(state=UNDEFINED),
        6: _partial(6, range(last - 3, last)),
    }
    made.blocks = {n: b for n, b in made.blocks.items() if n * MIB < size}
    return made


def _alike() -> list[ImageBuilder]:
    parent = _parent(8 * MIB, 4)
    return [_child(parent, 8 * MIB), parent]


def _large_sectors() -> list[ImageBuilder]:
    parent = _parent(7 * MIB + 4096, 5, 4096)
    return [_child(parent, 7 * MIB + 4096, 4096), parent]


def _larger_child() -> list[ImageBuilder]:
    parent = _parent(2 * MIB + 512, 3)
    return [_child(parent, 7 * MIB + 1024), parent]


def _smaller_child() -> list[ImageBuilder]:
    parent = _parent(9 * MIB, 9)
    return [_child(parent, 3 * MIB + 512), parent]


def _fixed_parent() -> list[ImageBuilder]:
    parent = _parent(4 * MIB, 4, disk_type="fixed")
    return [_child(parent, 7 * MIB), parent]


def _three_layers() -> list[ImageBuilder]:
    deep = ImageBuilder(9 * MIB, MIB, seed=2, blocks={n: Block(pattern(n, MIB, DEEP)) for n in range(9)})
    parent = deep.child("deep.vhdx")
    parent.seed, parent.disk_size = 3, 4 * MIB + 512
    parent.blocks = {0: Block(pattern(0, MIB, BELOW), PARTIALLY_PRESENT, present=range(4, 6))}
    return [_child(parent, 8 * MIB), parent, deep]


CASES = (
    Case("sizes alike", _alike),
    Case("sectors of 4096", _large_sectors),
    Case("a larger child", _larger_child),
    Case("a smaller child", _smaller_child),
    Case("a fixed parent", _fixed_parent),
    Case("a parent with a parent", _three_layers),
)


class Chain:
    """The files of a merge on storages that lie, opened as the merge opens files."""

    def __init__(self, child: Content, parent: Content, deep: list[Content]) -> None:
        self.record = Record()
        self.storages = {
            CHILD: self.record.storage(CHILD, child),
            PARENT: self.record.storage(PARENT, parent),
        }
        self.deep = deep

    def _below(self) -> VhdxDisk | None:
        return VhdxDisk([image.load(ContentStorage(content)) for content in self.deep]) if self.deep else None

    def _opened(self, storage: Any, parents: object = None, **_: object) -> VhdxDisk:
        leaf, below = image.load(storage), self._below()
        layers = [leaf, *(below.layers if below else ())]
        return VhdxDisk(layers, partial(Writer, storage, leaf, below=below))

    def _resize(self, storage: Any, size: int, *, identity: UUID, **_: object) -> None:
        resize(storage, size, below=self._below(), identity=identity)

    def merge(self) -> None:
        storages: Any = self.storages
        with (
            mock.patch.object(fold, "writable_disk", self._opened),
            mock.patch.object(fold, "resize_storage", self._resize),
        ):
            fold.fold(storages[CHILD], storages[PARENT], parents=None, clone="auto", progress=None)

    def contents(self) -> tuple[Content, Content]:
        return self.storages[CHILD].content, self.storages[PARENT].content


def surveys_of(files: list[Content]) -> list[Survey]:
    return [Surveyor().survey(content) for content in files]


def twin_of(files: list[Content]) -> bytes:
    surveys = surveys_of(files)
    for survey in surveys:
        assert survey.warnings <= HARMLESS
    return Twin([layer_of_survey(survey) for survey in surveys]).read(surveys[0].disk.size, 0)


def ours(files: list[Content]) -> bytes:
    disk = VhdxDisk([image.load(ContentStorage(content)) for content in files])
    return disk.pread(disk.size, 0)


def assert_opens(child: Content, parent: Content) -> None:
    """What opening asks: the child knows the parent by the identity that it has."""
    known = metadata.linkages(image.load(ContentStorage(child)).metadata.locator or {})
    assert HEADER.guid(Surveyor().survey(parent).header, "data_write_guid") in known


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_cut_of_a_merge_across_its_files(
    case: Case, record_property: Callable[[str, object], None]
) -> None:
    child, parent, *deep = [content_of(builder) for builder in case.files()]
    expected = twin_of([child, parent, *deep])
    with reproducible(1):
        chain = Chain(child, parent, deep)
        chain.merge()
    assert_merged(chain, expected)
    chance, seen = random.Random(1), set()
    for item in crashes(chain.record, chance, 6):
        if isinstance(item, Operation):
            continue
        files = [item.files[CHILD], item.files[PARENT]]
        state = files[0].digest, files[1].digest
        if state in seen:
            continue
        seen.add(state)
        assert_opens(*files)
        assert ours([*files, *deep]) == expected, item
        assert twin_of([*files, *deep]) == expected, item
        if chance.random() < 0.05:
            again = Chain(files[0], files[1], deep)
            again.merge()
            assert_merged(again, expected)
    record_property("crash states", len(seen))
    assert len(seen) >= 60


def assert_merged(chain: Chain, expected: bytes) -> None:
    """Parent and child read as the chain did, and the child knows the parent by one identity."""
    child, parent = chain.contents()
    for files in ([parent, *chain.deep], [child, parent, *chain.deep]):
        assert twin_of(files) == expected
        assert ours(files) == expected
    assert_opens(child, parent)
    locator = image.load(ContentStorage(child)).metadata.locator or {}
    assert locator["parent_linkage2"] == locator["parent_linkage"]
