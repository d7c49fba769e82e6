"""Images of which structures are lost, in memory, and what becomes of them: the words of the loss table.

Nothing is written to the host's disk, so that thousands of losses can be looked at. Blocks hold a few bytes
at their beginning and their end; the log of a dirty image holds the newest entry of the table, which the
table itself lacks.
"""

import random
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from tests.support.build import ImageBuilder
from tests.support.layout import KIB, MIB, PARTIALLY_PRESENT, SECTOR, UNMAPPED, ZERO
from tests.support.logs import Data, Entry, LogBuilder
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.sparse import PAGE, Content, ContentStorage, content_of
from vhdx.disk.chain import VhdxDisk
from vhdx.disk.opened import Disk
from vhdx.errors import VhdxError
from vhdx.examine import salvage
from vhdx.examine.check import examine
from vhdx.extents import Doubt
from vhdx.known import NOTHING_KNOWN, KnownDisk
from vhdx.ops.repair import RepairResult, staged_repair
from vhdx.rules import Remedy
from vhdx.storage.staged import StagedChanges

KINDS = ("dynamic", "fixed", "differencing")
STORED = 72
"""Blocks that are stored: more than the 64 entries of a sector."""
BLOCKS = 80
Range = tuple[int, int]
FILLS: dict[str, Callable[[int], bytes]] = {
    "zeros": bytes,
    "marks": lambda length: pattern(77, length),
    "ones": lambda length: b"\xff" * length,
    "text": lambda length: (b"Lorem ipsum dolor sit amet, " * (length // 28 + 1))[:length],
    "random": lambda length: random.Random(length).randbytes(length),
}
"""What stands where something was lost."""


class HoleyStorage(ContentStorage):
    """A content that tells where it has holes, as files of the host do."""

    def data_ranges(self, file_offset: int, length: int) -> Iterator[tuple[int, int]]:
        """The pages that are not zeros."""
        end = file_offset + length
        for page in sorted(self.content.pages):
            start, stop = max(file_offset, page * PAGE), min(end, page * PAGE + PAGE)
            if start < stop:
                yield start, stop - start


@dataclass(frozen=True)
class Subject:
    """An image: of which kind, with which sectors, clean or dirty."""

    kind: str
    sector: int
    is_dirty: bool

    def __str__(self) -> str:
        return f"{self.kind}, {self.sector}, {'dirty' if self.is_dirty else 'clean'}"

    @cached_property
    def image(self) -> ImageBuilder:
        """Its description, without the log."""
        stored = BLOCKS if self.kind == "fixed" else STORED
        image = ImageBuilder(BLOCKS * MIB, logical_sector_size=self.sector)
        if self.kind == "differencing":
            image = image.child()
        elif self.kind == "fixed":
            image.disk_type = "fixed"
        for number in range(stored):
            image.blocks[number] = Block({0: pattern(number, PAGE), MIB - PAGE: pattern(number + 500, PAGE)})
        if self.kind != "fixed":
            image.blocks |= {STORED: Block(state=ZERO), STORED + 1: Block(state=UNMAPPED)}
        if self.kind == "differencing":
            for number in (1, 70):
                image.blocks[number].state = PARTIALLY_PRESENT
                image.blocks[number].present = b"\xff" * (MIB // self.sector // 16)
        return image

    @cached_property
    def content(self) -> Content:
        """The file as it is when nothing is lost."""
        if not self.is_dirty:
            return content_of(self.image)
        image, plan = self.image, self.image.plan()
        newest = content_of(image).read(SECTOR, plan.bat_offset)
        log = LogBuilder(sequence_number=1)
        image.log = log
        log.place(Entry([Data(plan.bat_offset, newest)], log_guid=log.guid, sequence_number=1))
        image.patches = [(plan.bat_offset + 8 * (STORED - 1), bytes(8))]
        return content_of(image)

    @cached_property
    def places(self) -> dict[str, Range]:
        """Its structures: name to (start, length)."""
        plan = self.image.plan()
        places = {
            "identifier": (0, 64 * KIB),
            "header 1": (64 * KIB, SECTOR),
            "header 2": (128 * KIB, SECTOR),
            "region table 1": (192 * KIB, 64 * KIB),
            "region table 2": (256 * KIB, 64 * KIB),
            "log": (plan.log_offset, MIB),
            "metadata table": (plan.metadata_offset, 64 * KIB),
            "metadata items": (plan.metadata_offset + 64 * KIB, MIB - 64 * KIB),
            "BAT": (plan.bat_offset, MIB),
        }
        if plan.bitmaps:
            places["bitmap"] = (plan.bitmaps[0], MIB)
        return places

    def pieces(self, name: str) -> dict[str, Range]:
        """Parts of a structure that hold anything: the whole, its first 64 KiB, each page and each sector.

        Those of the BAT with the entry of a bitmap are named after it.
        """
        start, length = self.places[name]
        bitmap = self.places["BAT"][0] + 8 * self.image.bitmap_index(0) if "bitmap" in self.places else -1
        found = {}
        for word, size, count in (
            ("whole", length, 1),
            ("64 KiB", min(64 * KIB, length), 1),
            ("page", PAGE, length // PAGE),
            ("sector", 512, length // 512),
        ):
            for number in range(count):
                at = start + number * size
                if self.content.read(size, at).strip(b"\0"):
                    last = " of the bitmap" if at <= bitmap < at + size else f" {number}" if count > 1 else ""
                    found[word + last] = at, size
        return found

    @cached_property
    def payload(self) -> list[tuple[int, bytes]]:
        """What stands in blocks and their bitmaps, as (file offset, bytes)."""
        plan = self.image.plan()
        areas = [(at, at + MIB) for at in (*plan.blocks.values(), *plan.bitmaps.values())]
        return [
            (page * PAGE, data)
            for page, data in self.content.pages.items()
            if any(start <= page * PAGE < end for start, end in areas)
        ]

    @cached_property
    def codes(self) -> set[str]:
        """What check finds of it."""
        return codes(self.content)

    @cached_property
    def disk(self) -> dict[int, bytes]:
        """What the disk holds, by its pages that are not zeros."""
        found = salvaged(self.content)
        assert found is not None
        assert not found.doubts
        return found.pages


@lru_cache(None)
def subject(kind: str, sector: int, is_dirty: bool) -> Subject:
    """The same subject each time: what is known of it is kept."""
    return Subject(kind, sector, is_dirty)


class Salvaged(NamedTuple):
    """A disk as salvage reads it: its pages that are not zeros, and what is doubtful."""

    pages: dict[int, bytes]
    doubts: list[Doubt]


def salvaged(content: Content, known: KnownDisk = NOTHING_KNOWN) -> Salvaged | None:
    """What can be read; None where that is refused."""
    try:
        disk = VhdxDisk([salvage.load(HoleyStorage(content), known)])
    except VhdxError:
        return None
    return read_wholly(disk)


def read_wholly(disk: Disk) -> Salvaged:
    """All of a disk, but for what is known to be holes."""
    pages: dict[int, bytes] = {}
    for start, length in disk.data_ranges():
        data = disk.pread(length, start)
        for at in range(0, length, PAGE):
            if data[at : at + PAGE].strip(b"\0"):
                pages[(start + at) // PAGE] = data[at : at + PAGE]
    return Salvaged(pages, list(disk.doubts))


def lose(content: Content, ranges: list[Range], fill: str) -> Content:
    """A copy of it in which something else stands in these ranges."""
    lost = content.copy()
    for start, length in ranges:
        lost.write(FILLS[fill](length), start)
    return lost


def codes(content: Content) -> set[str]:
    """What check finds; nothing else where it says that this is no VHDX."""
    try:
        return {rule.code for rule, number in examine(HoleyStorage(content)).report.counts.items() if number}
    except VhdxError:
        return {"refused"}


class Repaired(NamedTuple):
    """What a repair did, and the file afterwards."""

    result: RepairResult
    content: Content


def repaired(
    content: Content, options: AbstractSet[Remedy], known: KnownDisk = NOTHING_KNOWN
) -> Repaired | None:
    """What a repair with these options makes of a file; None where it says that this is no VHDX."""
    storage = HoleyStorage(content)
    staged = StagedChanges(storage)
    try:
        result = staged_repair(storage.name, storage, staged, {Remedy.REPAIR} | options, None, known=known)
    except VhdxError:
        return None
    after = Content()
    if result.done:
        for at, length in staged.data_ranges(0, staged.size()):
            for start in range(at, at + length, MIB):
                after.write(staged.read(min(MIB, at + length - start), start), start)
        after.resize(staged.size())
    staged.close()
    return Repaired(result, after if result.done else content)
