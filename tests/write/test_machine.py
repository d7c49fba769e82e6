"""A state machine: everything that can be done to a disk, in any order, against a bytearray.

A crash here loses nothing that was written, only what the object knew; storage that loses writes is the
subject of tests/crash.
"""

import tempfile
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

import vhdx
from tests.support.layout import KIB, MIB
from tests.support.patterns import pattern
from tests.support.tools import needs
from vhdx.disk.open import open_disk
from vhdx.ops.repair import repair

from .checking import (
    Structure,
    assert_sound,
    copied,
    guids_of,
    is_clean,
    left_by_a_crash,
    model_of,
    qemu_check,
    structure_of,
)
from .images import KINDS, Kind
from .model import SMALL, assert_from

LONGEST_WRITE = 3 * MIB
NEAR = st.one_of(
    st.sampled_from([-4097, -513, -512, -1, 0, 1, 511, 512, 513, 4096]), st.integers(-9000, 9000)
)
LENGTHS = st.one_of(
    st.sampled_from([0, 1, 511, 512, 513, 4096, 4097]),
    st.integers(1, 20 * KIB),
    st.integers(1, LONGEST_WRITE),
)


LEAKED = {"space.leaked", "space.leaked_tail"}
"""What a crash leaves and `repair` gives back."""


def ends_with_the_last(found: Structure, before: Structure) -> bool:
    """Whether it ends where its last claim does, or inside that as before: QEMU's last block may be short."""
    end = max(claim.end for claim in found.claims)
    return found.length in {end, min(end, before.length)}


def ends_with_what_nobody_owns(path: Path, found: Structure) -> bool:
    """Whether a lost block may stand at its end: no session cuts that off."""
    start = max(*(claim.end for claim in found.claims), found.length - found.block_size - MIB)
    return any(path.read_bytes()[start:])


class Machine(RuleBasedStateMachine):
    """One image, its twin, and the file's name, which changes with every crash."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind
        self.folder = tempfile.TemporaryDirectory(prefix="vhdx-machine-")
        self.path = Path(self.folder.name) / "0.vhdx"
        self.step = 0
        self.waiting = 0
        self.changed = False

    @initialize()
    def make(self) -> None:
        self.kind.make(self.path)
        self.model = model_of(self.path)
        self.disk = open_disk(self.path, "r+")
        self.fixed = self.disk.disk_type == "fixed"
        self.at_first = structure_of(self.path)

    def place(self, border: int, near: int) -> int:
        """An offset near a block border."""
        blocks = -(-self.disk.size // self.disk.block_size)
        return max(0, min(self.disk.size - 1, border % (blocks + 1) * self.disk.block_size + near))

    def covers(self, length: int, offset: int) -> int:
        """How many blocks a range may let go of."""
        return length // self.disk.block_size + 1

    @rule(border=st.integers(0, 15), near=NEAR, length=LENGTHS)
    def write(self, border: int, near: int, length: int) -> None:
        offset = self.place(border, near)
        self.step += 1
        data = pattern(self.step, min(length, self.disk.size - offset), seed=1)
        self.disk.pwrite(data, offset)
        self.changed |= bool(data)
        self.model.write(data, offset)
        assert self.disk.pread(len(data), offset) == data

    @rule(border=st.integers(0, 15))
    def write_a_block(self, border: int) -> None:
        size = self.disk.block_size
        if size <= LONGEST_WRITE:
            self.write(border, 0, size)

    @rule(
        border=st.integers(0, 15),
        near=NEAR,
        blocks=st.integers(0, 3),
        more=NEAR,
        keep=st.booleans(),
        fast=st.booleans(),
    )
    def zero(self, *, border: int, near: int, blocks: int, more: int, keep: bool, fast: bool) -> None:
        offset = self.place(border, near)
        wished = blocks * self.disk.block_size + more
        length = max(0, min(wished, self.disk.size - offset))
        if self.disk.size > SMALL and (keep or self.fixed):
            length = min(length, MIB)
        if not length:
            return
        try:
            self.disk.zero(length=length, offset=offset, keep_allocated=keep, fast_only=fast)
        except OSError:
            assert fast
        else:
            self.model.zero(length, offset)
            self.waiting += self.covers(length, offset)

    @rule(border=st.integers(0, 15), near=st.one_of(st.just(0), NEAR), blocks=st.integers(0, 3), more=NEAR)
    def trim(self, border: int, near: int, blocks: int, more: int) -> None:
        offset = self.place(border, near)
        length = max(0, min(blocks * self.disk.block_size + more, self.disk.size - offset))
        if not length:
            return
        before = self.model.content()
        self.disk.trim(length=length, offset=offset)
        if self.fixed:
            assert self.model.seen_in(self.disk.pread) == before
            return
        # whole blocks are zeros, of the rest each sector is zeros or what it was
        self.model.zero(length, offset)
        found = self.model.seen_in(self.disk.pread)
        assert_from(found, [before, self.model.content()])
        self.model.take(found)
        size = self.disk.block_size
        first, last = -(-offset // size) * size, (offset + length) // size * size
        if offset + length == self.disk.size:
            last = self.disk.size
        self.waiting += self.covers(length, offset)
        if first < last:
            edges = [(first, min(4096, last - first)), (max(first, last - 4096), min(4096, last - first))]
            assert not any(any(self.disk.pread(count, at)) for at, count in edges)

    @rule()
    def flush(self) -> None:
        self.disk.flush()
        self.model.flushed()
        self.model.assert_equal(self.disk.pread)

    @rule()
    def reopen(self) -> None:
        self.close()
        self.disk = open_disk(self.path, "r+")

    @rule(scan=st.booleans(), punch=st.booleans())
    def compact(self, *, scan: bool, punch: bool) -> None:
        """Nothing that anybody reads changes, and nothing is left between the blocks that they could fill."""
        self.close()
        identity, before = guids_of(self.path)[1], structure_of(self.path)
        accept = self.kind.looks_lost
        do = partial(vhdx.compact, self.path, scan_zeros=scan, punch=punch, accept_data_loss=accept)
        foreseen, done = do(dry_run=True), do()
        found = assert_sound(self.path, self.model)
        assert guids_of(self.path)[1] == identity
        assert foreseen.file_size_after == done.file_size_after == found.length <= before.length
        if not self.fixed:
            assert ends_with_the_last(found, before)
            free = [b.start - a.end for a, b in pairwise(found.claims)]
            last = max(found.claims, key=lambda claim: claim.end)
            assert not last.name.startswith("block") or max(free) < found.block_size
        self.disk = open_disk(self.path, "r+")

    @precondition(lambda self: self.disk.size <= SMALL and not self.kind.looks_lost)
    @rule(disk_type=st.sampled_from(["fixed", "dynamic"]))
    def change_type(self, disk_type: Literal["fixed", "dynamic"]) -> None:
        self.close()
        identity = guids_of(self.path)[1]
        vhdx.set_properties(self.path, disk_type=disk_type)
        assert_sound(self.path, self.model)
        assert guids_of(self.path)[1] == identity
        self.disk = open_disk(self.path, "r+")
        assert self.disk.disk_type == disk_type
        self.fixed = disk_type == "fixed"

    def close(self) -> None:
        self.disk.close()
        self.model.flushed()
        found = assert_sound(self.path, self.model)
        assert is_clean(self.path) or not self.changed  # what a crash left dirty stays so if nothing is done
        # what was trimmed and not flushed yet keeps its space, so new blocks may have come behind it
        most = len(found.states) + self.waiting
        assert found.length <= self.at_first.length + most * found.block_size
        if not self.fixed and self.changed:
            assert ends_with_the_last(found, self.at_first) or ends_with_what_nobody_owns(self.path, found)
        self.changed = False
        if self.kind.qemu_reads and self.step % 4 == 1 and is_clean(self.path):
            qemu_check(self.path)

    @rule(repairs=st.booleans())
    def crash(self, repairs: bool) -> None:
        """The process is killed: the file stands as it is, and somebody opens it again."""
        self.step += 1
        dead, self.path = self.path, Path(self.folder.name) / f"{self.step}.vhdx"
        copied(dead, self.path)
        self.disk.close()
        dead.unlink()
        self.model.reset(left_by_a_crash(self.path, self.model))
        self.changed = False
        if repairs:
            self.repair()
        self.disk = open_disk(self.path, "r+")
        self.model.assert_equal(self.disk.pread)

    def repair(self) -> None:
        """Only what may have lost blocks is refused."""
        identity, codes = guids_of(self.path)[1], vhdx.check(self.path).codes.keys()
        needed = not is_clean(self.path) or bool(LEAKED & codes)
        result = repair(self.path)
        if result.refused is None:
            assert bool(result.done) == needed
            assert is_clean(self.path)
        else:
            assert self.kind.looks_lost
        assert_sound(self.path, self.model)
        assert guids_of(self.path)[1] == identity

    @precondition(lambda self: self.step % 3 == 0)
    @rule()
    def look(self) -> None:
        self.model.assert_equal(self.disk.pread)
        end = 0
        for extent in self.disk.extents():
            assert extent.offset == end
            end = extent.end
        assert end == self.disk.size

    def teardown(self) -> None:
        try:
            if hasattr(self, "disk"):
                self.close()
        finally:
            self.folder.cleanup()


@needs("qemu-img")
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("examples", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_everything_in_any_order(name: str, examples: int) -> None:
    kind = KINDS[name]
    # without shrinking: it takes minutes here, and a failing run of 25 steps can be read
    phases = [Phase.explicit, Phase.generate]
    run_state_machine_as_test(
        partial(Machine, kind),  # type: ignore[arg-type]
        settings=settings(max_examples=examples, stateful_step_count=25, phases=phases),
    )
