"""Giving every block of an image space of its own: what makes a dynamic image fixed [MS-VHDX 2.6.2.1]."""

from __future__ import annotations

import contextlib
from array import array
from functools import partial
from typing import TYPE_CHECKING

from vhdx.extents import BlockState
from vhdx.format import bat, guids, metadata
from vhdx.format.bat import file_offset_of
from vhdx.image.states import is_present
from vhdx.progress import to_nobody
from vhdx.reshape.compact import SLOTS_IN_PAGE, Compaction
from vhdx.reshape.relocate import Relocator
from vhdx.units import MIB
from vhdx.write.items import NewItem

if TYPE_CHECKING:
    from vhdx.progress import Advance
    from vhdx.write.session import Session
    from vhdx.write.write import Writer


def become_fixed(writer: Writer, advance: Advance) -> bool:
    """Give every block space, and say so last; whether the host reserved it. Raises OSError (ENOSPC)."""
    session = writer.session
    with session.lock:
        reserved = allocate_all(session, advance)
        _put_type(writer, metadata.LEAVE_BLOCK_ALLOCATED)
        session.keeps_blocks = True
    return reserved


def become_dynamic(writer: Writer) -> None:
    """Say that blocks need no space of their own."""
    session = writer.session
    with session.lock:
        _put_type(writer, 0)
        session.keeps_blocks = False


def _put_type(writer: Writer, flags: int) -> None:
    parameters = metadata.pack_file_parameters(writer.session.geometry.block_size, flags)
    writer.put_items((NewItem(guids.FILE_PARAMETERS, parameters),), contents=False)


def allocate_all(session: Session, advance: Advance) -> bool:
    """Give zeros with space behind them to every block that has none; whether the host reserved it.

    A crash leaves some of the blocks allocated. Raises as `allocate` does.
    """
    with session.lock:
        session.advance = advance
        Compaction(Relocator(session), advance).give_back(None)
        advance(0, session.geometry.disk_size)
        return allocate(session, range(session.geometry.block_count), advance)


def allocate(session: Session, blocks: range, advance: Advance = to_nobody) -> bool:
    """The same for some blocks; the caller holds the session's lock.

    The space is claimed from the host before any entry is changed: OSError (ENOSPC) then leaves the image
    as it was.
    """
    session.begin(contents=False)
    session.keep_unexplained()
    reserved = _make_room(session, blocks)
    geometry = session.geometry
    for block, _, count in geometry.slot_runs(blocks.start, len(blocks), SLOTS_IN_PAGE):
        _allocate(session, block, count)
        advance(min(count * geometry.block_size, geometry.disk_size - block * geometry.block_size), 0)
    session.commit()
    return reserved


def _make_room(session: Session, blocks: range) -> bool:
    """Extend the file by what the gaps do not hold, and reserve all of it."""
    size, block_size = session.file.size(), session.geometry.block_size
    runs = session.bat.runs(blocks.start, len(blocks))
    absent = sum(run.block_count for run in runs if not is_present(run.entry))
    _, gap_lengths = session.space.gaps()
    behind = max(0, absent - int((gap_lengths * MIB // block_size).sum()))
    end = max(size, session.space.end_after(behind, block_size))
    if end > size:
        session.transaction.open_log()
    try:
        session.file.resize(end)
        reserved = session.file.reserve(0, end)
    except BaseException:
        session.file.resize(size)
        if not session.keeps_blocks:
            _give_back_holes(session, size)
        raise
    session.reader.file_size = end
    session.transaction.payload_written = True
    return reserved


def _give_back_holes(session: Session, size: int) -> None:
    """What the host had reserved when it found that it is full: it calls that holes, as it is unwritten."""
    start = 0
    for data_start, length in (*session.file.data_ranges(0, size), (size, 0)):
        if start < data_start:
            session.file.punch(start, data_start - start)
        start = data_start + length


def _allocate(session: Session, block: int, count: int) -> None:
    """The blocks of one page of the table."""
    entries = session.bat.payloads(block, count)
    length = session.geometry.block_size
    with contextlib.ExitStack() as undoing:
        new = array("Q", entries)
        for index, entry in enumerate(entries):
            if not is_present(entry):
                named = partial(_place_of, session, block + index)
                place, is_zero = undoing.enter_context(session.taken(length, named))
                if not is_zero:
                    session.file.zero(place, length)
                new[index] = bat.pack(BlockState.FULLY_PRESENT, place)
        if new != entries:
            session.make_room(1)
            session.put_entries(block, new)


def _place_of(session: Session, block: int) -> int:
    return file_offset_of(session.bat.payload(block))
