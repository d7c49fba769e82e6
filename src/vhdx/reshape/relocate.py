"""Changing where blocks stand, and what keeps space, through the journal [MS-VHDX 2.5.1.1].

A move: copy to the new place, flush, entry through the log; only then the old place is free. Many moves share
these flushes. A crash leaves each block at its old place or at its new one, with the same bytes.
"""

from __future__ import annotations

import contextlib
from array import array
from typing import TYPE_CHECKING

from vhdx.errors import ImageFailedError
from vhdx.extents import BlockState
from vhdx.format import bat
from vhdx.format.bat import file_offset_of, state_of
from vhdx.geometry import BITMAP_BLOCK_SIZE
from vhdx.image.pages import PAGE_SIZE
from vhdx.reshape.scan import TRANSPARENT_UNIT
from vhdx.storage.file import FileStorage
from vhdx.storage.sharing import share
from vhdx.storage.write_back import WriteBack
from vhdx.units import MIB
from vhdx.write.blocks import BlockWriter
from vhdx.write.erase import Eraser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdx.reshape.packing import Move
    from vhdx.reshape.scan import Bits, Replacement
    from vhdx.write.sectors import Below
    from vhdx.write.session import Session
    from vhdx.write.space import Space

_COPY_SIZE = MIB
_BATCH_SIZE = 256 * MIB
"""How much is moved before it is made durable and the old places are given back to the host."""
_MANY = 64 * 1024


class Relocator:
    """The changes of a compaction, made. What a read returns stays, and so does the DataWriteGuid."""

    def __init__(
        self, session: Session, below: Below | None = None, *, shares: bool = False, must_share: bool = False
    ) -> None:
        """``shares``: moved blocks share the space of where they were until that is given back."""
        self._shares, self._must_share = shares, must_share
        self._eraser = Eraser(session, below, BlockWriter(session, below))
        self.image = session.image
        self._session = session
        self._file = session.file
        self._geometry = session.geometry
        self._bat = session.bat
        self._pages = session.pages
        self._copied = 0
        self._write_back = WriteBack.of(session.file)
        self._unsettled = False
        self._transparent: list[
            tuple[int, int]
        ] = []  # runs in blocks whose bits are cleared, not yet durably
        self._buffer = memoryview(bytearray(_COPY_SIZE))

    @property
    def space(self) -> Space:
        """Which space is taken."""
        return self._session.space

    def _begin(self, pages: int) -> None:
        """Before a change of so many pages that go into one log entry."""
        self._session.begin(contents=False)
        self._session.make_room(pages)
        self._unsettled = True

    def trim(self, length: int, offset: int) -> None:
        """Nobody needs the contents of a range: the one change that reads may notice."""
        self._unsettled = True
        self._eraser.trim(length, offset)

    def discard(self, length: int, offset: int) -> None:
        """Nobody needs what some whole, present blocks hold; in a child they hide the parent from now on."""
        self._unsettled = True
        if self._geometry.differencing:
            self._eraser.zero(length, offset, keep_allocated=False, fast_only=False)
        else:
            self._eraser.trim(length, offset)

    def drop_places(self, block: int, entries: array[int]) -> None:
        """Kept space may overlap what others own: what is free then, `settle` finds out."""
        self._begin(1)
        self._session.put_entries(block, entries)

    def give_back(self, block: int, entry: int, replacement: Replacement) -> None:
        """Let a block become ZERO, NOT_PRESENT, or have fewer sectors here."""
        place = file_offset_of(entry)
        if replacement.bits is not None:
            self._clear_bits(block, place, replacement.bits)
            return
        self._begin(1)
        self._session.put_entries(block, array("Q", (bat.pack(replacement.state, 0),)))
        self.space.give_up(place, self._geometry.block_size)

    def _clear_bits(self, block: int, place: int, bits: Bits) -> None:
        import numpy as np  # noqa: PLC0415  the bits are numpy's

        packed = np.packbits(bits, bitorder="little").tobytes()
        self._begin(len(packed) // PAGE_SIZE + 2 + 1)
        bitmap = file_offset_of(self._bat.bitmap(self._geometry.chunk_of(block)))
        entry = bat.pack(BlockState.PARTIALLY_PRESENT, place)
        # What belongs together goes into one log entry.
        with self._session.transaction.failing_for_good(), self._pages.lock:
            self._pages.put_all(packed, bitmap + self._geometry.first_bit(block) // 8)
            self._session.put_entries(block, array("Q", (entry,)))
        in_unit = TRANSPARENT_UNIT // self._geometry.logical_sector_size
        absent = np.flatnonzero(~bits.reshape(-1, in_unit).any(axis=1)).tolist()
        self._transparent += [(place + unit * TRANSPARENT_UNIT, TRANSPARENT_UNIT) for unit in absent]
        if len(self._transparent) > _MANY:
            self._punch_transparent()

    def drop_bitmap(self, chunk: int, place: int) -> None:
        """Nothing wrote to it in this session: bits are cleared only where a block needs them still."""
        self._begin(1)
        self._session.put_bitmap_entry(chunk, 0)
        self._pages.forget(place, BITMAP_BLOCK_SIZE)

    def add_bitmap(self, chunk: int) -> bool:
        """Zeros that are durable before the entry that names them, as the commit flushes them first."""
        place = self._session.take_gap(BITMAP_BLOCK_SIZE)
        if place is None:
            return False
        with self._named_or_given_back(place, BITMAP_BLOCK_SIZE, lambda: self._bat.bitmap(chunk)):
            self._begin(1)
            self._session.transaction.payload_written = True
            self._clear(place, BITMAP_BLOCK_SIZE)
            self._pages.forget(place, BITMAP_BLOCK_SIZE)
            self._session.put_bitmap_entry(chunk, bat.pack(bat.BITMAP_PRESENT, place))
        return True

    @contextlib.contextmanager
    def _named_or_given_back(self, place: int, length: int, entry: Callable[[], int]) -> Iterator[None]:
        """Space that was taken goes back, also to the host, if an exception comes before it is named."""
        try:
            yield
        finally:
            if file_offset_of(entry()) != place:
                self._session.untake(place, length)

    def settle(self) -> None:
        """Commit, and look at the table again."""
        if not self._unsettled or not self._session.transaction.began:
            return
        self._punch_transparent()
        self._session.survey_anew()
        self._unsettled = False
        self._copied = 0

    def _punch_transparent(self) -> None:
        """Only when the cleared bits are durable: a crash must not bring back bits over holes."""
        self._session.commit()
        for file_offset, length in self._transparent:
            self.punch(file_offset, length)
        self._transparent.clear()

    def punch(self, file_offset: int, length: int, *, contents: bool = False) -> bool:
        """Give a range that nobody reads, or that is zeros, back to the host; False where that cannot be.

        ``contents``: reads may notice.
        """
        length = min(length, self._session.reader.file_size - file_offset)
        if length <= 0:
            return True
        self._session.begin(contents=contents)
        self._session.transaction.payload_written = True
        return self._file.punch(file_offset, length)

    def move(self, move: Move) -> None:
        """Copy, then let the entry name the copy, in memory; durable with the next commit."""
        source, target, length = (
            number * MIB for number in (move.piece.start, move.target, move.piece.length)
        )
        chunk, within = divmod(move.piece.slot, self._geometry.chunk_ratio + 1)
        if not self.space.is_free(target, length):  # copying over what is used could not be undone
            raise ImageFailedError(
                f"the {length} bytes to which a block was to be moved are not all free; it stays where it is",
                image=self.image.name,
                file_offset=target,
            )
        self._begin(1)
        self.space.claim(target, length)
        self._session.transaction.payload_written = True
        with self._named_or_given_back(target, length, lambda: self._bat.entries(move.piece.slot, 1)[0]):
            if within == self._geometry.chunk_ratio:
                self._move_bitmap(chunk, source, target)
            else:
                self._move_block(chunk * self._geometry.chunk_ratio + within, source, target)
        self._copied += length
        if self._copied >= _BATCH_SIZE:
            self._session.commit()
            self._copied = 0

    def _move_block(self, block: int, source: int, target: int) -> None:
        length = self._geometry.block_size
        self._copy(source, target, length)
        entry = bat.pack(state_of(self._bat.payload(block)), target)
        self._session.put_entries(block, array("Q", (entry,)))
        self.space.give_up(source, length)

    def _move_bitmap(self, chunk: int, source: int, target: int) -> None:
        """The old place, which the log may have written to in this session, is only cut off.

        It lies behind all that is moved later, and closing cuts when the log is empty.
        """
        self._file.write_at(self._pages.read_many(BITMAP_BLOCK_SIZE, source), target)
        self._bitmap_moved(chunk, target)

    def _bitmap_moved(self, chunk: int, target: int) -> None:
        self._pages.forget(target, BITMAP_BLOCK_SIZE)
        self._session.put_bitmap_entry(chunk, bat.pack(bat.BITMAP_PRESENT, target))

    def _copy(self, source: int, target: int, length: int) -> None:
        """Holes of the host become holes again; behind a file that ends early are zeros."""
        available = min(length, self._session.reader.file_size - source)
        if self._shares and available == length and self._share(source, target, length):
            return
        moved, done = target - source, source
        for start, count in self.image.storage.data_ranges(source, available):
            self._clear(done + moved, start - done)
            for position in range(start, start + count, _COPY_SIZE):
                piece = self._buffer[: min(_COPY_SIZE, start + count - position)]
                self.image.storage.read_into(piece, position)
                self._file.write_at(piece, position + moved)
                self._write_back.wrote(len(piece))
            done = start + count
        self._clear(done + moved, source + length - done)

    def _share(self, source: int, target: int, length: int) -> bool:
        assert isinstance(self._file, FileStorage)
        shared = share(self._file, source, length, self._file, target, must_be=self._must_share)
        return shared == (0, length)

    def _clear(self, file_offset: int, length: int) -> None:
        """What an old owner left must not show."""
        if length and not self._file.punch(file_offset, length):
            self._file.zero(file_offset, length)
