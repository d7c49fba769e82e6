"""Every state of a child's block, every operation, every parent: what becomes of state, bits and bytes.

In the bitmap stand bits of an earlier life, wherever the state says that they mean nothing. Block 1 is
operated on, and the short last block; block 0 is a neighbour whose bits stand in the same bytes of the log.
Each state meets each operation; over which parents, `make test` takes in turns, and `make slow` takes all.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import vhdx
from tests.support.layout import (
    FULLY_PRESENT,
    MIB,
    NOT_PRESENT,
    PARTIALLY_PRESENT,
    UNDEFINED,
    UNMAPPED,
    ZERO,
)
from tests.support.patterns import pattern
from tests.support.sweep import Sweep, swept
from tests.write.model import assert_from, assert_same
from vhdx.storage.file import FileStorage

from .files import digest
from .making import OWN, child_over, own_block, parent_of, written
from .twin import assert_sound, naive_agrees, twin_of

STATES = {
    "NOT_PRESENT": NOT_PRESENT,
    "UNDEFINED": UNDEFINED,
    "ZERO": ZERO,
    "UNMAPPED": UNMAPPED,
    "PARTIALLY_PRESENT": PARTIALLY_PRESENT,
    "FULLY_PRESENT": FULLY_PRESENT,
}
PARENTS = ("data", "zero", "absent", "shorter")
SHORT = 6 * 4096
"""Bytes of the disk in the last block."""
DISK = 3 * MIB + SHORT
NEW = 0x4E4557
SET = 2
"""Sectors of a partially present block are present three in a row, then three are not: from this one on."""


@dataclass(frozen=True)
class Operation:
    """What is done to a part of a block: `place` makes start and length of the sizes of block and sector."""

    name: str
    verb: str
    place: Callable[[int, int], tuple[int, int]]
    keep: bool = False

    def __str__(self) -> str:
        return self.name


PLACES: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "the whole block": lambda length, sector: (0, length),
    "one sector": lambda length, sector: (sector, sector),
    "some sectors": lambda length, sector: (sector, 4 * sector),
    "a torn head": lambda length, sector: (sector + 100, 2 * sector - 100),
    "a torn tail": lambda length, sector: (sector, 2 * sector + 77),
    "both torn": lambda length, sector: (sector // 2, 3 * sector),
    "inside one sector": lambda length, sector: (4 * sector + 100, 50),
    "inside the last sector": lambda length, sector: (length - 60, 60),
    "all but the first byte": lambda length, sector: (1, length - 1),
    "all but the last byte": lambda length, sector: (0, length - 1),
}
OPERATIONS = [
    *(Operation(f"write {name}", "write", place) for name, place in PLACES.items()),
    *(Operation(f"zero {name}", "zero", place) for name, place in PLACES.items()),
    Operation("zero the whole block and keep it", "zero", PLACES["the whole block"], keep=True),
    Operation("zero some sectors and keep them", "zero", PLACES["both torn"], keep=True),
    *(Operation(f"trim {name}", "trim", place) for name, place in PLACES.items()),
]


@dataclass
class Case:
    """One child over one parent, and what is done to it."""

    state: int
    operation: Operation
    parent: str
    sector: int
    block: int

    def __post_init__(self) -> None:
        self.length = SHORT if self.block == 3 else MIB
        self.at, self.count = self.operation.place(self.length, self.sector)
        self.offset = self.block * MIB + self.at
        self.whole = self.count == self.length
        self.bits = self.sector_bits()

    def sector_bits(self) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
        """Bits before the operation: real ones, or leftovers of the same look."""
        return ((np.arange(MIB // self.sector) + SET) % 6 < 3).astype(np.uint8)

    def covered(self) -> slice:
        """The sectors that the operation touches."""
        return slice(self.at // self.sector, -(-(self.at + self.count) // self.sector))

    def make(self, folder: Path) -> list[Path]:
        """The files."""
        parent = parent_of(self.parent, DISK, self.sector)
        bits = np.packbits(self.bits, bitorder="little").tobytes()
        neighbour = own_block(
            0, PARTIALLY_PRESENT, np.packbits(neighbours_bits(self.sector), bitorder="little").tobytes()
        )
        blocks = {0: neighbour, self.block: own_block(self.block, self.state, bits)}
        child = child_over(parent, DISK, blocks)
        if self.state not in (FULLY_PRESENT, PARTIALLY_PRESENT):
            child.tail = pattern(9, MIB, 0x4A554E4B)  # space that a new block will get is not zeros
        return written(folder, parent, child)


def neighbours_bits(sector: int) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    """Every second sector at both ends of block 0: all of them would make every read a thousand extents."""
    bits = np.zeros(MIB // sector, np.uint8)
    bits[:64:2] = bits[-64::2] = 1
    return bits


def cases(operation: Operation, state: int, sector: int) -> Iterator[Case]:
    """Over every parent; the short block and large sectors only over some of them, to save time."""
    for parent in PARENTS if sector == 512 else ("data", "shorter"):
        yield Case(state, operation, parent, sector, 1)
    yield Case(state, operation, "data", sector, 3)


@contextmanager
def counted(parent: Path) -> Iterator[list[tuple[int, int]]]:
    """The (length, file offset) of everything that is read from blocks of a file."""
    found: list[tuple[int, int]] = []
    read, read_into = FileStorage.read, FileStorage.read_into

    def note(storage: FileStorage, length: int, file_offset: int) -> None:
        if storage.name == os.fspath(parent) and file_offset >= 4 * MIB:
            found.append((length, file_offset))

    def counting_read(storage: FileStorage, length: int, file_offset: int) -> bytes:
        note(storage, length, file_offset)
        return read(storage, length, file_offset)

    def counting_read_into(storage: FileStorage, buffer: memoryview, file_offset: int) -> None:
        note(storage, len(buffer), file_offset)
        read_into(storage, buffer, file_offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileStorage, "read", counting_read)
        patch.setattr(FileStorage, "read_into", counting_read_into)
        yield found


def perform(case: Case, disk: vhdx.Disk) -> bytes:
    """Do it; the bytes that the range has to read as, as far as that is certain."""
    data = pattern(5, case.count, NEW) if case.operation.verb == "write" else bytes(case.count)
    if case.operation.verb == "write":
        disk.pwrite(data, case.offset)
    elif case.operation.verb == "zero":
        disk.zero(length=case.count, offset=case.offset, keep_allocated=case.operation.keep)
    else:
        disk.trim(length=case.count, offset=case.offset)
    return data


def torn(case: Case) -> int:
    """How many bytes of logical sectors that are not here yet a write leaves to the parent."""
    ends = {case.at // case.sector: case.at % case.sector}
    last = (case.at + case.count) // case.sector
    ends[last] = ends.get(last, 0) + -(case.at + case.count) % case.sector
    return sum(
        count
        for sector, count in ends.items()
        if count and not (case.state == PARTIALLY_PRESENT and case.bits[sector])
    )


def expected_state(
    case: Case, below: bytes
) -> tuple[int, "np.ndarray[tuple[int], np.dtype[np.uint8]] | None"]:
    """The state, and the bits where they have a meaning."""
    state, covered = case.state, case.covered()
    bits = case.bits if state == PARTIALLY_PRESENT else np.zeros_like(case.bits)
    if case.operation.verb == "trim":
        lets_go = case.whole and state in (NOT_PRESENT, PARTIALLY_PRESENT, FULLY_PRESENT)
        return (UNMAPPED, None) if lets_go else (state, bits if state == PARTIALLY_PRESENT else None)
    if case.operation.verb == "zero":
        present = state in (PARTIALLY_PRESENT, FULLY_PRESENT)
        if case.whole and not (present and case.operation.keep):
            return ZERO, None
        if state not in (NOT_PRESENT, PARTIALLY_PRESENT):
            return state, None
        # only where the parent has a block is there anything to hide
        hidden = np.zeros_like(bits)
        if case.parent in ("data", "shorter"):
            size = len(below)
            hidden[slice(covered.start, min(covered.stop, -(-size // case.sector)))] = 1
        now = bits | hidden
        return (PARTIALLY_PRESENT, now) if now.any() else (NOT_PRESENT, None)
    if case.whole or state not in (NOT_PRESENT, PARTIALLY_PRESENT):
        return FULLY_PRESENT, None
    now = bits.copy()
    now[covered] = 1
    return PARTIALLY_PRESENT, now


STEP = {512: 1, 4096: 4}
"""Every so manieth case, by sector size: in larger sectors few things are otherwise."""


@swept(one_in=3)
@pytest.mark.parametrize("sector", STEP)
@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_what_becomes_of_a_block(
    tmp_path: Path, operation: Operation, state: int, sector: int, sweep: Sweep
) -> None:
    points = [*cases(operation, state, sector)][:: STEP[sector]]
    start = OPERATIONS.index(operation) + state if len(points) > 1 else 0
    for number, case in enumerate(sweep.of(points, start=start)):
        folder = tmp_path / str(number)
        folder.mkdir()
        check(case, case.make(folder))


def check(case: Case, files: list[Path]) -> None:
    before_twin = twin_of(*files)
    before = before_twin.read(DISK, 0)
    parent_size = before_twin.layers[1].size
    below = before_twin.read(max(0, min(case.length, parent_size - case.block * MIB)), case.block * MIB, 1)
    length, untouched = files[0].stat().st_size, digest(files[1])
    with vhdx.open(files[0], "r+") as disk, counted(files[1]) as reads:
        data = perform(case, disk)
        assert_reads_of_the_parent(case, reads)
        grown = files[0].stat().st_size - length
        seen = disk.pread(DISK, 0)
    wanted = bytearray(before)
    wanted[case.offset : case.offset + case.count] = data
    if case.operation.verb == "trim" and not case.whole:
        assert_from(seen, [before, bytes(wanted)])
    else:
        assert_same(seen, bytes(wanted))
    if case.operation.verb == "trim":
        assert not grown, "a trim allocates"
    twin = twin_of(*files)
    assert_same(twin.read(DISK, 0), seen)
    naive_agrees(files, seen, case.at, count=1)
    assert_sound(files[0])
    assert digest(files[1]) == untouched
    assert_block(case, files, below)


def assert_reads_of_the_parent(case: Case, reads: list[tuple[int, int]]) -> None:
    """Not one byte more than a write leaves of the torn sectors that are not here."""
    partial = case.operation.verb == "write" and not case.whole
    asks = partial and case.state in (NOT_PRESENT, PARTIALLY_PRESENT)
    if case.operation.verb == "zero" and not case.whole and case.state in (NOT_PRESENT, PARTIALLY_PRESENT):
        asks = True
    most = torn(case) if asks else 0
    assert sum(length for length, _ in reads) <= most, f"{reads} read of the parent, for {most} bytes"


def assert_block(case: Case, files: list[Path], below: bytes) -> None:
    layer = twin_of(*files).layers[0]
    state, bits = expected_state(case, below)
    found, place = layer.entry(case.block)
    assert found == state
    if state not in (PARTIALLY_PRESENT, FULLY_PRESENT):
        assert place == 0
    if bits is not None:
        sectors = case.length // case.sector  # what stands behind the disk's end is nobody's business
        wrong = np.flatnonzero(layer.bits(case.block)[:sectors] != bits[:sectors]).tolist()
        assert not wrong, f"wrong bits of sectors {wrong[:20]}"
        if case.state != PARTIALLY_PRESENT:
            assert not layer.bits(case.block)[sectors:].any(), "leftover bits were not written"
    assert (layer.bits(0) == neighbours_bits(case.sector)).all(), "bits of another block changed"


def test_slots_behind_the_last_block_claim_nothing(tmp_path: Path) -> None:
    parent = parent_of("full", 2 * MIB)
    child = child_over(parent, 2 * MIB, {0: own_block(0, FULLY_PRESENT, ())})
    child.bat = {2: FULLY_PRESENT | child.plan().blocks[0], 900: PARTIALLY_PRESENT | MIB}
    files = written(tmp_path, parent, child)
    with vhdx.open(files[0]) as disk:
        assert disk.pread(MIB, 0) == pattern(0, MIB, OWN)
