"""A state machine over chains of up to four layers: whatever can be done to them, in any order.

A bytearray stands for each layer. Blocks are larger than the whole disk in some layers.
"""

import contextlib
import errno
import tempfile
from dataclasses import dataclass
from pathlib import Path

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
from tests.interop.programs import SEVEN_ZIP
from tests.support.build import ImageBuilder
from tests.support.layout import MIB, UNDEFINED, UNMAPPED, ZERO
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.write.checking import guids_of, is_clean
from tests.write.model import assert_from, assert_same
from vhdx.disk.open import open_disk

from .files import digest, others_agree
from .twin import assert_sound, naive_agrees, twin_of

MOST_LAYERS = 4
BLOCK_SIZES = (MIB, 2 * MIB, 32 * MIB, 256 * MIB)
NEAR = st.one_of(
    st.just(0), st.sampled_from([-4097, -513, -512, -1, 1, 511, 512, 513, 4096]), st.integers(-9000, 9000)
)
LENGTHS = st.one_of(
    st.sampled_from([1, 511, 512, 513, 4096, 4097]), st.integers(1, 20_000), st.sampled_from([MIB, 2 * MIB])
)


@dataclass
class Member:
    """One layer: its file, its twin, and the file's digest while it is a parent."""

    path: Path
    content: bytearray
    digest: tuple[int, str] | None = None


def base_of(sector_size: int, seed: int, disk_size: int = 5 * MIB) -> ImageBuilder:
    """A disk with blocks in every state that a base can have."""
    blocks = {
        0: Block(pattern(0, MIB, seed)),
        1: Block(state=ZERO),
        2: Block({4096: pattern(2, 70_000, seed)}),
        3: Block(pattern(3, 4096), state=UNMAPPED, anchored=True),
        4: Block({0: pattern(4, 8192, seed), MIB - 9000: pattern(4, 9000, seed)}),
        5: Block(state=UNDEFINED),
    }
    used = {number: block for number, block in blocks.items() if number * MIB < disk_size}
    return ImageBuilder(disk_size, MIB, sector_size, seed=seed, blocks=used)


class Machine(RuleBasedStateMachine):
    """A chain, the base first; the last layer is open for writing."""

    sector_size = 512

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(prefix="vhdx-chain-")
        self.folder = Path(self.directory.name)
        self.step = 0

    @initialize(
        block_size=st.sampled_from(BLOCK_SIZES), larger=st.booleans(), odd=st.sampled_from([0, 4096, 12_288])
    )
    def make(self, block_size: int, larger: bool, odd: int) -> None:
        image = base_of(self.sector_size, seed=1, disk_size=5 * MIB + odd)
        path = image.write(self.folder / "base.vhdx")
        self.layers = [Member(path, bytearray(image.content()))]
        self.add_child(block_size, MIB // 2 if larger else 0)

    @property
    def leaf(self) -> Member:
        return self.layers[-1]

    @property
    def files(self) -> list[Path]:
        return [layer.path for layer in reversed(self.layers)]

    def add_child(self, block_size: int, more: int) -> None:
        parent = self.leaf
        parent.digest = digest(parent.path)
        self.step += 1
        path = self.folder / f"{self.step}.vhdx"
        size = len(parent.content) + more
        vhdx.create(path, size, parent=parent.path, block_size=block_size)
        self.layers.append(Member(path, bytearray(parent.content.ljust(size, b"\0"))))
        self.open()

    def open(self) -> None:
        self.disk = open_disk(self.leaf.path, "r+")

    def place(self, border: int, near: int) -> int:
        half = min(self.disk.block_size, 2 * MIB) // 2
        return max(0, min(self.disk.size - 1, border % (self.disk.size // half + 2) * half + near))

    @rule(border=st.integers(0, 15), near=NEAR, length=LENGTHS)
    def write(self, border: int, near: int, length: int) -> None:
        offset = self.place(border, near)
        self.step += 1
        data = pattern(self.step, min(length, self.disk.size - offset), seed=7)
        self.disk.pwrite(data, offset)
        self.leaf.content[offset : offset + len(data)] = data

    @rule(block=st.integers(0, 9))
    def write_a_block(self, block: int) -> None:
        size = self.disk.block_size
        offset = block % -(-self.disk.size // size) * size
        self.step += 1
        data = pattern(self.step, min(size, self.disk.size - offset), seed=8)
        self.disk.pwrite(data, offset)
        self.leaf.content[offset : offset + len(data)] = data

    @rule(border=st.integers(0, 15), near=NEAR, length=LENGTHS, keep=st.booleans(), fast=st.booleans())
    def zero(self, border: int, near: int, length: int, keep: bool, fast: bool) -> None:
        offset = self.place(border, near)
        length = min(length, self.disk.size - offset)
        if not length:
            return
        try:
            self.disk.zero(length=length, offset=offset, keep_allocated=keep, fast_only=fast)
        except OSError as error:
            if not fast or error.errno != errno.ENOTSUP:
                raise
        else:
            self.leaf.content[offset : offset + length] = bytes(length)
        assert_same(self.disk.pread(self.disk.size, 0), bytes(self.leaf.content))

    @rule(border=st.integers(0, 15), near=NEAR, length=LENGTHS)
    def trim(self, border: int, near: int, length: int) -> None:
        offset = self.place(border, near)
        length = min(length, self.disk.size - offset)
        if not length:
            return
        before = bytes(self.leaf.content)
        files = self.leaf.path.stat().st_size
        self.disk.trim(length=length, offset=offset)
        assert self.leaf.path.stat().st_size == files
        after = bytearray(before)
        after[offset : offset + length] = bytes(length)
        found = self.disk.pread(self.disk.size, 0)
        padding = bytes(-len(before) % 512)
        assert_from(found + padding, [before + padding, bytes(after) + padding])
        size = self.disk.block_size
        end = offset + length
        first, last = -(-offset // size) * size, len(found) if end == len(found) else end // size * size
        assert_same(found[first:last], bytes(max(0, last - first)))
        self.leaf.content[:] = found

    @rule()
    def flush(self) -> None:
        self.disk.flush()

    @rule()
    def reopen(self) -> None:
        self.close()
        self.open()

    @precondition(lambda self: len(self.layers) < MOST_LAYERS)
    @rule(block_size=st.sampled_from(BLOCK_SIZES), more=st.sampled_from([0, 0, MIB // 2]))
    def new_child(self, block_size: int, more: int) -> None:
        self.close()
        self.add_child(block_size, more)

    @rule(which=st.integers(0, 9), below=st.booleans())
    def move_a_parent(self, which: int, below: bool) -> None:
        """A parent gets another name, perhaps in a folder below; its child is told."""
        self.close()
        at = which % (len(self.layers) - 1)
        parent, child = self.layers[at : at + 2]
        self.step += 1
        folder = parent.path.parent / f"d{self.step}" if below and at == 0 else parent.path.parent
        folder.mkdir(exist_ok=True)
        parent.path = parent.path.rename(folder / f"{self.step}.vhdx")
        with pytest.raises(vhdx.ParentNotFoundError):
            open_disk(self.leaf.path)
        identity = guids_of(child.path)
        vhdx.rebase(child.path, parent.path)
        new_identity = guids_of(child.path)
        assert identity[1] == new_identity[1]
        assert identity[0] != new_identity[0]
        if child.digest:
            child.digest = digest(child.path)
        self.open()
        self.look()

    @rule(which=st.integers(0, 9), same=st.booleans())
    def rebase_safely(self, which: int, same: bool) -> None:
        """The leaf gets another parent: a stranger, or one of its other ancestors."""
        self.close()
        self.step += 1
        if same:
            kept = self.layers[: which % (len(self.layers) - 1) + 1]
        else:
            image = base_of(self.sector_size, self.step, disk_size=5 * MIB + which % 3 * 4096)
            path = image.write(self.folder / f"{self.step}.vhdx")
            kept = [Member(path, bytearray(image.content()), digest(path))]
        vhdx.rebase(self.leaf.path, kept[-1].path, safe=True)
        self.layers = [*kept, self.leaf]
        self.open()
        self.look()

    @rule(upper=st.integers(0, 9), lower=st.integers(0, 9), delete=st.booleans())
    def merge(self, upper: int, lower: int, delete: bool) -> None:
        """A layer goes, with those between, into one under it; the layer over it is relinked."""
        self.close()
        top = 1 + upper % (len(self.layers) - 1)
        bottom = lower % top
        child, target = self.layers[top], self.layers[bottom]
        above = [layer.path for layer in self.layers[top + 1 : top + 2]]
        done = vhdx.merge(
            child.path, into=target.path, children=above, delete_child=delete, force=True, shrink=True
        )
        assert done.path == str(target.path)
        assert [path.exists() for path in map(Path, done.merged)] == [not delete] * (top - bottom)
        target.content[:] = child.content
        del self.layers[bottom + 1 : top + 1]
        for layer in self.layers[:-1]:
            layer.digest = digest(layer.path)
        twin = twin_of(*[layer.path for layer in self.layers[bottom::-1]])
        assert_same(twin.read(len(target.content), 0), bytes(target.content))
        if len(self.layers) == 1:
            self.add_child(2 * MIB, 0)
        else:
            self.open()
        self.look()

    @rule(sectors=st.integers(1, 9 * MIB // 4096), near=st.sampled_from([0, 0, 512]))
    def resize(self, sectors: int, near: int) -> None:
        """The leaf gets another size; what is added is zeros, whatever its parents have there."""
        self.close()
        size = sectors * 4096 + (near if self.sector_size == 512 else 0)
        vhdx.resize(self.leaf.path, size, shrink=True)
        self.leaf.content[:] = self.leaf.content[:size].ljust(size, b"\0")
        self.open()
        self.look()

    @rule(scan=st.booleans(), punch=st.booleans())
    def compact(self, *, scan: bool, punch: bool) -> None:
        """Also a parent, which its child still knows afterwards."""
        self.close()
        member = self.layers[self.step % len(self.layers)]
        size, identity = member.path.stat().st_size, guids_of(member.path)[1]
        foreseen = vhdx.compact(member.path, scan_zeros=scan, punch=punch, dry_run=True)
        done = vhdx.compact(member.path, scan_zeros=scan, punch=punch)
        assert done.file_size_after == foreseen.file_size_after == member.path.stat().st_size <= size
        assert guids_of(member.path)[1] == identity
        assert_sound(member.path)
        if member.digest:
            member.digest = digest(member.path)
        self.open()
        self.look()

    @rule()
    def look(self) -> None:
        content = bytes(self.leaf.content)
        assert_same(self.disk.pread(len(content), 0), content)
        end = 0
        for extent in self.disk.extents():
            assert extent.offset == end
            end = extent.end
            if extent.kind is not vhdx.ExtentKind.DATA:
                assert_same(content[extent.offset : extent.end], bytes(extent.length))
        assert end == len(content)

    def close(self) -> None:
        self.disk.close()
        assert is_clean(self.leaf.path)
        assert_sound(self.leaf.path)
        twin, content = twin_of(*self.files), bytes(self.leaf.content)
        assert_same(twin.read(len(content), 0), content)
        naive_agrees(self.files, content, self.step, count=2)
        for parent in self.layers[:-1]:
            assert digest(parent.path) == parent.digest, f"{parent.path} was changed"
        with open_disk(self.leaf.path) as disk:
            assert_same(disk.pread(len(content), 0), content)
            changed = [(e.offset, e.length, e.kind.value) for e in disk.changed_extents()]
        assert joined(changed) == twin.changed()
        if self.step % 3 == 0:
            others_agree(self.files, content)

    def teardown(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self.directory.cleanup)
            if hasattr(self, "disk"):
                self.close()


def joined(changed: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Neighbours of one kind made one, wherever they stand in the file."""
    found: list[tuple[int, int, str]] = []
    for offset, length, kind in changed:
        if found and found[-1][2] == kind and sum(found[-1][:2]) == offset:
            found[-1] = (found[-1][0], found[-1][1] + length, kind)
        else:
            found.append((offset, length, kind))
    return found


@SEVEN_ZIP
class LargeSectors(Machine):
    """The same with sectors of 4096 bytes."""

    sector_size = 4096


@pytest.mark.parametrize("machine", [Machine, LargeSectors])
def test_everything_in_any_order(machine: type[Machine]) -> None:
    # without shrinking: it takes minutes here, and a failing run of 20 steps can be read
    phases = [Phase.explicit, Phase.generate]
    chosen = settings(max_examples=8, stateful_step_count=15, phases=phases)
    run_state_machine_as_test(machine, settings=chosen)
