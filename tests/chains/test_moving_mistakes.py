"""Mistakes that moving blocks could make, each put into the library for one test: the harness finds them."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.crash.explore import CrashError, Density, Explorer
from tests.crash.promises import watch
from tests.crash.promises.scene import BrokenPromiseError
from tests.crash.scenarios import ALL
from vhdx import BlockState
from vhdx.image.pages import Pages
from vhdx.reshape import file_layout, packing
from vhdx.reshape.packing import Move
from vhdx.reshape.relocate import Relocator
from vhdx.reshape.scan import Replacement, Scanner
from vhdx.write.space import Space
from vhdx.write.transaction import Transaction

from .crash_explore import ChainExplorer
from .crash_order import watch_chain
from .crash_scenarios import SCENARIOS

Patch = pytest.MonkeyPatch
ALONE = {scenario.name: scenario for scenario in ALL}
CHAINS = {scenario.name: scenario for scenario in SCENARIOS}


def entry_before_copy(patch: Patch) -> None:
    def move_block(self: Any, block: int, source: int, target: int) -> None:
        copy, self._copy = self._copy, lambda *_: None
        really(self, block, source, target)
        self._session.commit()
        self._copy = copy
        copy(source, target, self._geometry.block_size)

    really = Relocator._move_block
    patch.setattr(Relocator, "_move_block", move_block)


def copy_not_flushed(patch: Patch) -> None:
    """The flush before the log entry is forgotten where blocks are moved."""

    def commit_pages(transaction: Any, pages: list[tuple[int, bytes]]) -> None:
        really(transaction, pages)

    def commit(transaction: Any) -> bool:
        pages = transaction._pages.dirty()
        if pages:
            with transaction.failing_for_good():
                commit_pages(transaction, pages)
        return bool(pages)

    really = Transaction._commit_pages
    patch.setattr(Transaction, "commit", commit)


def old_place_punched_before_the_commit(patch: Patch) -> None:
    def give_up(self: Space, file_offset: int, length: int) -> None:
        really(self, file_offset, length)
        holes.append((file_offset, length))

    def move(self: Any, move: Any) -> None:
        really_move(self, move)
        while holes:
            self._file.punch(*holes.pop())

    holes: list[tuple[int, int]] = []
    really, really_move = Space.give_up, Relocator.move
    patch.setattr(Space, "give_up", give_up)
    patch.setattr(Relocator, "move", move)


def freed_space_taken_before_the_commit(patch: Patch) -> None:
    """Blocks move into space whose entries are gone in memory alone."""

    def settle(self: Any) -> None:
        if self._session._known_space is not None:
            self._session._known_space.take_waiting()
        self._session._known_space = None

    patch.setattr(Relocator, "settle", settle)


def zeros_that_let_the_parent_shine_through(patch: Patch) -> None:
    def replacement(self: Any, block: int, entry: int) -> Replacement | None:
        found = really(self, block, entry)
        is_zero = found is not None and found.state is BlockState.ZERO
        return Replacement(BlockState.NOT_PRESENT) if is_zero else found

    really = Scanner.replacement
    patch.setattr(Scanner, "replacement", replacement)


def one_bit_too_few(patch: Patch) -> None:
    def fewer(self: Any, present: Any, differs: Any) -> Replacement | None:
        found = really(self, present, differs)
        if found is not None and found.bits is not None:
            found.bits[np.flatnonzero(differs)[-1]] = False
        return found

    really = Scanner._with_fewer_bits
    patch.setattr(Scanner, "_with_fewer_bits", fewer)


def bits_written_to_another_block(patch: Patch) -> None:
    def clear_bits(self: Any, block: int, place: int, bits: Any) -> None:
        really(self, block, place, np.roll(bits, len(bits) // 2))

    really = Relocator._clear_bits
    patch.setattr(Relocator, "_clear_bits", clear_bits)


def holes_before_the_bits_are_durable(patch: Patch) -> None:
    def punch(self: Any) -> None:
        for file_offset, length in self._transparent:
            self.punch(file_offset, length)
        self._transparent.clear()

    patch.setattr(Relocator, "_punch_transparent", punch)


def bitmap_entry_of_another_chunk_forgotten(patch: Patch) -> None:
    """The bitmap is moved, and its entry still names the old place, which is free."""

    def move_bitmap(self: Any, chunk: int, source: int, target: int) -> None:
        really(self, chunk, source, target)
        self._bat.put_bitmap(chunk, source | 6)
        self.space.give_up(source, 1 << 20)

    really = Relocator._move_bitmap
    patch.setattr(Relocator, "_move_bitmap", move_bitmap)


def bitmap_moved_as_zeros(patch: Patch) -> None:
    def read_many(self: Any, length: int, file_offset: int) -> bytes:
        return bytes(length) if length == 1 << 20 else really(self, length, file_offset)

    really = Pages.read_many
    patch.setattr(Pages, "read_many", read_many)


def old_pages_of_a_bitmap_remembered(patch: Patch) -> None:
    patch.setattr(Pages, "forget", lambda *_: None)


def target_taken_by_two(patch: Patch) -> None:
    def moves(*arguments: Any) -> Iterator[Move]:
        targets: dict[int, int] = {}
        for move in really(*arguments):
            yield move._replace(target=targets.setdefault(move.piece.length, move.target))

    really = packing.moves
    patch.setattr(file_layout, "moves", moves)
    patch.setattr(Space, "claim", lambda *_: True)


FOUND: dict[Callable[[Patch], None], str] = {
    entry_before_copy: "compacted in small batches",
    copy_not_flushed: "compacted in small batches",
    old_place_punched_before_the_commit: "compacted in small batches",
    freed_space_taken_before_the_commit: "blocks of zeros",
    zeros_that_let_the_parent_shine_through: "compacted, like its parent, sectors of 512",
    one_bit_too_few: "compacted, like its parent, sectors of 4096",
    bits_written_to_another_block: "compacted, like its parent, sectors of 512",
    holes_before_the_bits_are_durable: "compacted, like its parent, sectors of 512",
    bitmap_entry_of_another_chunk_forgotten: "compacted, like its parent, sectors of 512",
    bitmap_moved_as_zeros: "compacted, like its parent, sectors of 4096",
    old_pages_of_a_bitmap_remembered: "compacted, two chunks",
    target_taken_by_two: "blocks of zeros",
}


def explored(name: str) -> None:
    """Look at a scenario with every watcher, and at what each crash leaves."""
    if name in ALONE:
        scenario = ALONE[name]
        session = scenario.recorded()
        watch(session.record, session.story)
        Explorer(random.Random(0), Density(scenario.samples), scenario.warnings).explore(session)
    else:
        chain = CHAINS[name].recorded()
        watch(chain.record, chain.story, 8, 9, 11)
        watch_chain(chain)
        density = Density(CHAINS[name].samples, recover=30, naive=150)
        ChainExplorer(random.Random(0), density, family=chain.family).explore(chain)


@pytest.mark.parametrize("mistake", FOUND, ids=lambda mistake: mistake.__name__)
def test_it_is_found(mistake: Callable[[Patch], None], monkeypatch: Patch) -> None:
    mistake(monkeypatch)
    with pytest.raises((CrashError, BrokenPromiseError, AssertionError)):
        explored(FOUND[mistake])
