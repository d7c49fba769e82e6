"""Changing the size of an image's disk [MS-VHDX 2.5, 2.6.2.2]: a crash leaves the old size or the new one.

Growing: everything behind the old end is made right first, where nobody sees it; then the size says so.
Shrinking: the size first, then the entries of blocks behind the new end go.
"""

from __future__ import annotations

import contextlib
from array import array
from typing import TYPE_CHECKING, NamedTuple

from vhdx.format import bat, guids
from vhdx.format.bat import ENTRY_SIZE, file_offset_of
from vhdx.geometry import BITMAP_BLOCK_SIZE, Geometry
from vhdx.image.bat import WINDOW, packed
from vhdx.image.image import load
from vhdx.image.pages import PAGE_SIZE
from vhdx.image.states import is_present
from vhdx.progress import to_nobody
from vhdx.reshape.allocate import allocate
from vhdx.write.blocks import BlockWriter
from vhdx.write.erase import Eraser
from vhdx.write.items import NewItem, with_item
from vhdx.write.region_move import clear_old_place, moved_region
from vhdx.write.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from vhdx.image.image import Image
    from vhdx.progress import Advance
    from vhdx.storage.base import Storage
    from vhdx.write.sectors import Below

_SLOTS_IN_PAGE = PAGE_SIZE // ENTRY_SIZE


def resize(
    file: Storage,
    disk_size: int,
    *,
    below: Below | None = None,
    identity: UUID | None = None,
    advance: Advance = to_nobody,
) -> None:
    """Give the disk of the image in ``file`` another size, in bytes, a legal one.

    What is added reads as zeros, also where ``below``, the parents of a differencing image, has something
    there. The size that the disk has already lets go of what an interrupted shrink left. ``identity`` is the
    DataWriteGuid for the changed contents, a fresh one where it is None. ``advance`` is told the bytes of the
    file that are looked into before space is taken or cut. The file stays open. Raises what
    writing raises; OSError (ENOSPC) leaves the old size.
    """
    present, sessions = load(file), _Sessions(file, identity, advance)
    if disk_size > present.geometry.disk_size:
        _prepare(sessions, present, disk_size)
        _grow(sessions, load(file, disk_size=disk_size), present.geometry.disk_size, below)
    elif disk_size < present.geometry.disk_size:
        _shrink(sessions, present, disk_size)
    else:
        _finish_shrinking(sessions, present)


class _Sessions(NamedTuple):
    """What the sessions of one change of size have in common."""

    file: Storage
    identity: UUID | None
    advance: Advance

    @contextlib.contextmanager
    def begin(self, image: Image) -> Iterator[Session]:
        """A session that is closed at the end, also by an exception: what it committed stays."""
        with Session(self.file, image) as session, session.lock:
            session.advance = self.advance
            if self.identity is not None:
                session.transaction.identity = self.identity
            yield session


def _put_size(session: Session, disk_size: int) -> None:
    """Say the new size, in one log entry, durably."""
    session.commit()
    loaded = session.image.metadata
    item = NewItem(guids.VIRTUAL_DISK_SIZE, disk_size.to_bytes(8, "little"))
    for offset, data in with_item(loaded.entries, loaded.region.length, item).logged:
        session.pages.put_all(data, loaded.region.file_offset + offset)
    session.commit()


def _prepare(sessions: _Sessions, image: Image, disk_size: int) -> None:
    """Make the table long enough, and nothing stand in it behind the old end; contents stay as they are."""
    old = image.geometry
    new = old.resized(disk_size)
    with sessions.begin(image) as session:
        session.begin(contents=False)
        _complete_last_block(session)
        if new.bat_length > image.regions.bat.length:
            _move_table(session, new.bat_length)
        else:
            _clear_slots_behind(session, new.bat_entry_count)
        session.commit()
        if new.bat_length > image.regions.bat.length:
            clear_old_place(session, image.regions.bat)


def _complete_last_block(session: Session) -> None:
    """Extend a file that ends inside the last block, as QEMU ends fixed images: the rest of it is needed."""
    entry = session.bat.payload(session.geometry.block_count - 1)
    end = file_offset_of(entry) + session.geometry.block_size
    if is_present(entry):
        session.grow(end)


def _slots_in_force(geometry: Geometry) -> tuple[int, int | None]:
    """How many slots from the first on are in force, and which one behind them: the last sector bitmap's."""
    count = geometry.payload_index(geometry.block_count - 1) + 1
    return count, geometry.bitmap_index(geometry.chunk_count - 1) if geometry.differencing else None


def _without_leftovers(entries: array[int], index: int, geometry: Geometry) -> array[int]:
    """Entries from slot ``index`` on, without those behind the end of the disk. Never trusted: cleared."""
    count, bitmap = _slots_in_force(geometry)
    kept = max(0, min(count - index, len(entries)))
    cleared = entries[:kept] + array("Q", bytes((len(entries) - kept) * ENTRY_SIZE))
    if bitmap is not None and index <= bitmap < index + len(entries):
        cleared[bitmap - index] = entries[bitmap - index]
    return cleared


def _clear_slots_behind(session: Session, slot_count: int) -> None:
    """Clear the slots up to ``slot_count`` that stand behind the end of the disk."""
    first = _slots_in_force(session.geometry)[0]
    for index in range(first - first % _SLOTS_IN_PAGE, slot_count, WINDOW):
        entries = session.bat.entries(index, min(WINDOW, slot_count - index))
        cleared = _without_leftovers(entries, index, session.geometry)
        if cleared == entries:
            continue
        for start in range(0, len(entries), _SLOTS_IN_PAGE):
            session.make_room(1)
            page = packed(cleared[start : start + _SLOTS_IN_PAGE])
            session.pages.put_all(page, session.bat.slot_offset(index + start))


def _move_table(session: Session, length: int) -> None:
    """Give the table a longer region: written where nothing points at, then named by both region tables."""
    with moved_region(session, session.image.regions.bat, length) as place:
        _copy_table(session, place)


def _copy_table(session: Session, place: int) -> None:
    count = session.geometry.bat_entry_count
    for index in range(0, count, WINDOW):
        entries = session.bat.entries(index, min(WINDOW, count - index))
        cleared = _without_leftovers(entries, index, session.geometry)
        if any(cleared):
            session.file.write_at(packed(cleared), place + index * ENTRY_SIZE)


def _grow(sessions: _Sessions, future: Image, old_size: int, below: Below | None) -> None:
    """``future`` is the image seen as if it had the new size."""
    new_size, block_size = future.geometry.disk_size, future.geometry.block_size
    first_new_block = -(-old_size // block_size)
    zeros_end = max(first_new_block * block_size, 0 if below is None else below.size)
    with sessions.begin(future) as session:
        if session.keeps_blocks:  # first: a host without the space leaves the image as it is
            allocate(session, range(first_new_block, future.geometry.block_count))
        session.begin()
        if min(zeros_end, new_size) > old_size:
            eraser = Eraser(session, below, BlockWriter(session, below))
            eraser.zero(min(zeros_end, new_size) - old_size, old_size, keep_allocated=False, fast_only=False)
        _put_size(session, new_size)
        session.cuts = session.cuts or _all_present(session, future.geometry.block_count)


def _shrink(sessions: _Sessions, image: Image, disk_size: int) -> None:
    old = image.geometry
    new = old.resized(disk_size)
    with sessions.begin(image) as session:
        session.begin()
        _put_size(session, disk_size)
        _drop_blocks(session, range(new.block_count, old.block_count))
        if old.differencing:
            _drop_bitmaps(session, range(new.chunk_count, old.chunk_count))
        session.cuts = session.cuts or _all_present(session, new.block_count)


def _finish_shrinking(sessions: _Sessions, image: Image) -> None:
    with sessions.begin(image) as session:
        if session.keeps_leftovers:
            session.begin(contents=False)
            _clear_slots_behind(session, image.regions.bat.length // ENTRY_SIZE)
            session.drop_leftovers()
            session.cuts = session.cuts or _all_present(session, image.geometry.block_count)
            _ = session.space


def _drop_blocks(session: Session, blocks: range) -> None:
    """Clear the entries of blocks that are no longer part of the disk, and let go of their space."""
    for block, _, count in session.geometry.slot_runs(blocks.start, len(blocks), _SLOTS_IN_PAGE):
        entries = session.bat.payloads(block, count)
        if not any(entries):
            continue
        session.make_room(1)
        session.put_entries(block, array("Q", bytes(count * ENTRY_SIZE)))
        for entry in filter(is_present, entries):
            session.space.give_up(file_offset_of(entry), session.geometry.block_size)


def _drop_bitmaps(session: Session, chunks: range) -> None:
    for chunk in chunks:
        entry = session.bat.bitmap(chunk)
        if entry:
            session.make_room(1)
            session.put_bitmap_entry(chunk, 0)
        if entry & bat.STATE_MASK == bat.BITMAP_PRESENT:
            session.space.give_up(file_offset_of(entry), BITMAP_BLOCK_SIZE)


def _all_present(session: Session, block_count: int) -> bool:
    """Whether a fixed image would still hold every block if it were cut behind the last one."""
    runs = session.bat.runs(0, block_count)
    return all(is_present(run.entry) for run in runs)
