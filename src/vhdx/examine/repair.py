"""Repairing one image: what can be put right without guessing and, where it is accepted, what cannot.

Everything but the first steps goes through the journal, as any other change. The first steps make an image
openable: a log that cannot be replayed is given up, a file that was cut is made as long as it was.
"""

from __future__ import annotations

import contextlib
import uuid
from array import array
from typing import TYPE_CHECKING

import numpy as np

from vhdx import rules
from vhdx.errors import CorruptImageError
from vhdx.examine.check import examine
from vhdx.examine.corrections import metadata_corrections, region_table_corrections
from vhdx.examine.doubts import Concerned, DiskRange, Doubts
from vhdx.examine.entries import needed_bitmaps, needless_bitmaps, needless_places
from vhdx.examine.unexplained import empty_unexplained
from vhdx.extents import BlockState
from vhdx.format import guids, metadata
from vhdx.format.bat import (
    BITMAP_PRESENT,
    FILE_OFFSET_MASK,
    RESERVED_MASK,
    STATE_MASK,
    file_offset_of,
)
from vhdx.format.header import FILE_OFFSET_LIMIT
from vhdx.geometry import BITMAP_BLOCK_SIZE
from vhdx.image import headers, image
from vhdx.image.headers import HeaderPair
from vhdx.image.pages import PAGE_SIZE
from vhdx.image.states import TAKEN_FOR_PRESENT
from vhdx.image.unowned import Seen
from vhdx.storage.base import ZEROS
from vhdx.units import MIB
from vhdx.write.items import renamed, without_item
from vhdx.write.session import Session, refuse_unwritable
from vhdx.write.space import Space

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from vhdx.examine.check import Examined
    from vhdx.examine.claims import Claims
    from vhdx.examine.doubts import Doubt
    from vhdx.examine.slots import Entries, Window
    from vhdx.rules import Finding
    from vhdx.storage.base import ReadableStorage, Storage

LOSSY = frozenset({rules.LOG_NO_SEQUENCE, rules.LOG_FILE_TRUNCATED, rules.BAT_PLACE, rules.BAT_PAST_END})
"""Rules whose repairing changes what a read returns."""
_SLOTS_IN_A_PAGE = PAGE_SIZE // 8
_KEPT = ~np.uint64(RESERVED_MASK)
_PLACELESS = ~np.uint64(FILE_OFFSET_MASK)


def concerned(file: ReadableStorage, examined: Examined) -> Concerned:
    """The ranges of the disk whose contents are lost or doubtful, whether they are repaired or not."""
    if examined.geometry is None or examined.regions is None or examined.table is None:
        return Concerned((), 0)
    if rules.LOG_NO_SEQUENCE in examined.report.counts:
        size = examined.geometry.disk_size
        return Concerned((DiskRange(0, size, "nobody knows what the log would have changed"),), size)
    size = min(file.size(), examined.storage.size())
    return Doubts(examined.storage, examined.regions, examined.geometry, size).concerned()


def repair_image(
    file: Storage,
    *,
    accept_data_loss: bool,
    seen: Seen | None = None,
    keep_length: bool = False,
    keep_unowned: bool = False,
    has_let_go: bool = False,
) -> None:
    """Repair what can be repaired. ``keep_length`` cuts off no space that nobody claims.

    ``keep_unowned`` gives back none of it that is not zeros. ``has_let_go`` says that `make_openable` was
    called and let something go. ``seen`` is what was looked into before,
    if ``file`` says to it what is changed.

    Raises CorruptImageError or UnsupportedImageError for an image that cannot be repaired; then parts of it
    may have been changed, so ``file`` should be `StagedChanges`.
    """
    loses = accept_data_loss and (make_openable(file, seen) or has_let_go)
    repairing = _Repair(file, seen, accepting=accept_data_loss, changes_contents=loses)
    repairing.run(keep_length=keep_length, keep_unowned=keep_length or keep_unowned)


def make_openable(file: Storage, seen: Seen | None) -> bool:
    """Let go of what keeps an image from being opened and is lost anyway; whether anything was."""
    examined = examine(file, seen=seen)
    if not LOSSY & examined.report.counts.keys():
        return False
    size = file.size()
    _give_up_log(file, examined)
    _lengthen(file, seen)
    _mark_as_present(file, size)
    return True


def _ignore(_: Finding) -> None:
    """What is wrong with headers was told by whoever examined the image."""


def _give_up_log(file: Storage, examined: Examined) -> None:
    """Give up a log that cannot be replayed; make a file as long as its log says that it was."""
    counts = examined.report.counts
    if rules.LOG_NO_SEQUENCE in counts:
        pair = headers.load(file, _ignore)
        assert pair is not None  # a header named the log
        refuse_unwritable(pair.current, file.name)
        fresh = {"log_guid": guids.NIL, "file_write_guid": uuid.uuid4(), "data_write_guid": uuid.uuid4()}
        HeaderPair(file, pair).update(fresh)
    elif rules.LOG_FILE_TRUNCATED in counts and examined.sequence is not None:
        length = examined.sequence.head.flushed_file_offset
        if length > FILE_OFFSET_LIMIT:
            raise CorruptImageError(f"the log says that the file had {length} bytes", image=file.name)
        areas = examined.regions.areas if examined.regions else []
        if any(area.end > file.size() for area in areas):
            raise CorruptImageError("more than blocks was cut off the file", image=file.name)
        file.resize(length)
        file.flush()


def _lengthen(file: Storage, seen: Seen | None) -> None:
    """Make room for blocks that the end of the file cuts: what is left of them is kept."""
    examined = examine(file, seen=seen)
    if examined.geometry is None or examined.regions is None:
        return
    doubts = Doubts(examined.storage, examined.regions, examined.geometry, examined.storage.size())
    size = doubts.whole_size()
    if size > max(file.size(), examined.storage.size()):
        file.resize(size)
        file.flush()


def _mark_as_present(file: Storage, size: int) -> None:
    """Bits that were cut off, from ``size`` on, say that the sectors are here.

    So what the child still has is read on: zeros would let the parent through. What the log says of bitmaps
    comes over them.
    """
    opened = image.load(file)
    if not opened.geometry.differencing or file.size() <= size:
        return
    for chunk in range(opened.geometry.chunk_count):
        entry = opened.bat.bitmap(chunk)
        place = file_offset_of(entry)
        if entry & STATE_MASK == BITMAP_PRESENT and place + BITMAP_BLOCK_SIZE > size:
            start = max(place, size)
            file.write_at(b"\xff" * (place + BITMAP_BLOCK_SIZE - start), start)
    file.flush()


class _Repair:
    """One run over an image that can be opened."""

    def __init__(self, file: Storage, seen: Seen | None, *, accepting: bool, changes_contents: bool) -> None:
        self._file = file
        self._accepting = accepting
        self._changes_contents = changes_contents
        self._image = image.load(file)
        self._geometry = self._image.geometry
        self._session = Session(file, self._image)
        self._seen = seen
        if seen is not None:
            self._session.seen = seen

    def run(self, *, keep_length: bool, keep_unowned: bool) -> None:
        """Repair everything and close."""
        session = self._session
        session.cuts = session.cuts and not keep_length
        session.cuts_unknown = not keep_length
        if self._accepting:
            session.know_space(self._claimed_space())
        elif not keep_unowned:
            session.free_unexplained()
        with session.lock:
            session.begin(contents=self._changes_contents)
            session.commit()
            self._correct_fields()
            self._mend_table()
            session.commit()
            if not keep_unowned:  # whoever asked has looked at what goes
                empty_unexplained(session)
        session.close()

    def _claimed_space(self) -> Space:
        """The space that anything claims, rightly or not."""
        table = examine(self._file, seen=self._seen or Seen()).table
        assert table is not None  # the image was loaded
        assert table.claimed is not None  # it was asked for
        return Space.of(table.claimed.as_bytes(-(-self._image.storage.size() // MIB)))

    def _correct_fields(self) -> None:
        corrections = [
            *region_table_corrections(self._file),
            *metadata_corrections(self._file, self._image.regions.metadata),
        ]
        for correction in corrections:
            self._session.make_room(len(correction.right) // PAGE_SIZE + 2)
            self._session.pages.put_all(correction.right, correction.finding.place.file_offset)
        self._session.commit()
        self._name_items()

    def _name_items(self) -> None:
        """Rows with an id of zeros: an empty item goes, any other gets an id of its own."""
        place = self._image.regions.metadata.file_offset
        rows = metadata.unpack_table(self._session.pages.read_many(metadata.TABLE_SIZE, place))
        for index in reversed(range(len(rows))):  # the last row may take the place of one that goes
            row = rows[index]
            if row.item_id == guids.NIL:
                change = renamed(rows, index, uuid.uuid4()) if row.length else without_item(rows, index)
                rows = change.entries
                self._session.make_room(change.page_count)
                for offset, data in change.logged:
                    self._session.pages.put_all(data, place + offset)
        self._session.commit()

    def _mend_table(self) -> None:
        doubts = self._doubts()
        for doubt in doubts.windows():
            self._mend_window(doubt)
        self._session.commit()
        # Kept space is judged when all other claims are known, by entries that stand in the file by now.
        doubts = self._doubts()
        for _ in doubts.windows():
            pass
        for window, taken, outside in doubts.check.wrongly_kept():
            entries = window.blocks.copy()
            for claims in (taken, outside):
                entries[claims.group.numbers - window.first_block] &= _PLACELESS
            self._put(window, entries)

    def _doubts(self) -> Doubts:
        return Doubts(self._file, self._image.regions, self._geometry, self._file.size())

    def _mend_window(self, doubt: Doubt) -> None:
        window = doubt.window
        entries = window.blocks & _KEPT
        entries[needless_places(window.blocks)] &= _PLACELESS
        if not self._geometry.differencing:
            entries[entries & np.uint64(STATE_MASK) == TAKEN_FOR_PRESENT] -= np.uint64(1)
        misplaced = doubt.misplaced if self._accepting else []
        for claims in misplaced:
            if claims.group.word == "block":
                entries[claims.group.numbers - window.first_block] = BlockState.ZERO.value
        self._put(window, entries)
        repaired = window._replace(blocks=entries)  # of which some need no bitmap any more
        self._repair_bitmaps(repaired)
        needed = needed_bitmaps(repaired, self._geometry)
        for claims in misplaced:
            if claims.group.word != "block":
                self._replace_bitmaps(claims, needed, window.first_chunk)
        if self._accepting:
            for claims in doubt.late:
                for index in range(len(claims.firsts)):
                    self._give_own_space(claims, index)

    def _put(self, window: Window, entries: Entries) -> None:
        """Change the entries of a window that are not as they should be, page by page."""
        changed = np.flatnonzero(entries != window.blocks)
        if not changed.size:
            return
        slots = changed + window.first_block + (changed + window.first_block) // self._geometry.chunk_ratio
        pages = np.unique(slots // _SLOTS_IN_A_PAGE, return_index=True)[1].tolist()
        for start, stop in zip(pages, [*pages[1:], len(changed)], strict=True):
            first, last = int(changed[start]), int(changed[stop - 1])
            block, count = window.first_block + first, last + 1 - first
            for at, _, part in self._geometry.slot_runs(block, count, _SLOTS_IN_A_PAGE):
                within = at - window.first_block
                self._session.make_room(1)
                self._session.put_entries(at, array("Q", entries[within : within + part].tolist()))

    def _repair_bitmaps(self, window: Window) -> None:
        """Slots of bitmaps that no image without a parent has, and fields of those that there are."""
        needless = needless_bitmaps(window, self._geometry)
        for index in np.flatnonzero(window.bitmaps).tolist():
            chunk, entry = window.first_chunk + index, int(window.bitmaps[index])
            right = entry & ~RESERVED_MASK
            if right & STATE_MASK == TAKEN_FOR_PRESENT:
                right = right & ~STATE_MASK | BITMAP_PRESENT
            if needless[index] or not self._geometry.differencing:
                right = 0
            if right != entry and self._geometry.bitmap_index(chunk) < self._geometry.bat_entry_count:
                self._session.make_room(1)
                self._session.bat.put_bitmap(chunk, right)

    def _replace_bitmaps(self, claims: Claims, needed: NDArray[np.bool_], first_chunk: int) -> None:
        """Bitmaps that nobody has: their bits say that all sectors are here, as `_mark_as_present` does."""
        for chunk in claims.group.numbers.tolist():
            self._session.make_room(1)
            if not needed[chunk - first_chunk]:
                self._session.bat.put_bitmap(chunk, 0)
                continue
            with self._bitmap_space(chunk) as place:
                self._file.write_at(b"\xff" * BITMAP_BLOCK_SIZE, place)
                self._session.bat.put_bitmap(chunk, place | BITMAP_PRESENT)

    @contextlib.contextmanager
    def _bitmap_space(self, chunk: int) -> Iterator[int]:
        """Space for the bitmap of a chunk."""
        bat = self._session.bat
        with self._session.taken(BITMAP_BLOCK_SIZE, lambda: file_offset_of(bat.bitmap(chunk))) as (place, _):
            yield place

    def _give_own_space(self, claims: Claims, index: int) -> None:
        """Copy what two claim for the one who came later: each reads on what it read before."""
        number, source = int(claims.group.numbers[index]), int(claims.firsts[index]) * MIB
        session = self._session
        session.make_room(1)
        if claims.group.word == "block":
            entry = session.bat.payload(number)
            with session.allocated(number) as (place, _):
                self._copy(source, place, self._geometry.block_size)
                moved = array("Q", [entry & ~FILE_OFFSET_MASK | place])
                session.put_entries(number, moved)
        else:
            with self._bitmap_space(number) as place:
                self._copy(source, place, BITMAP_BLOCK_SIZE)
                session.bat.put_bitmap(number, place | BITMAP_PRESENT)

    def _copy(self, source: int, place: int, length: int) -> None:
        end = min(length, self._file.size() - source)
        for at in range(0, end, len(ZEROS)):
            piece = self._file.read(min(len(ZEROS), end - at), source + at)
            self._file.write_at(piece, place + at)
