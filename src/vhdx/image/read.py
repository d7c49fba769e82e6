"""From a range of the virtual disk to what one image says of it: a place in its file, or extents."""

from __future__ import annotations

from bisect import bisect_left
from functools import partial

from vhdx import rules
from vhdx.extents import BlockState, Extent, ExtentKind
from vhdx.format.bat import BITMAP_PRESENT, STATE_MASK, file_offset_of, state_of
from vhdx.format.header import FILE_OFFSET_LIMIT
from vhdx.geometry import BITMAP_BLOCK_SIZE
from vhdx.image.bat import MANY
from vhdx.image.bitmap import bit_runs
from vhdx.image.claims import doubly_claimed
from vhdx.image.states import KEEPS_SPACE, READ_ANSWERS, Answer, invalidity
from vhdx.rules import Finding, Place
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final, NoReturn

    import numpy as np
    from numpy.typing import NDArray

    from vhdx.geometry import Geometry
    from vhdx.image.bat import Bat, BlockRun
    from vhdx.image.pages import Pages
    from vhdx.image.regions import Regions
    from vhdx.storage.base import ReadableStorage

# What `locate` answers where it is no file offset, which is never less than 1 MiB.
ASK_BELOW: Final = -1
"""This image says nothing: its parent answers, or zeros."""
ZEROS: Final = -2
SPLIT: Final = -3
"""There is more than one answer: ask for extents."""

_REMEMBERED_BLOCKS = 64 * 1024


class Reader:
    """Answers where the bytes of one image's disk are. Every place it names has been checked.

    Checked means: inside the file, in no other structure's space and, in tables of up to 1 MiB, claimed by
    no other block. Raises CorruptImageError for a range that touches a block for which that does not hold.
    """

    def __init__(
        self, storage: ReadableStorage, pages: Pages, bat: Bat, geometry: Geometry, regions: Regions
    ) -> None:
        self._storage = storage
        self._pages = pages
        self._bat = bat
        self._geometry = geometry
        self._regions = regions
        self.file_size = storage.size()
        """How far places may reach; whoever extends the file says so here first."""
        self.generation = 0
        """Grows before space that blocks gave up gets a new owner: who read in between reads again."""
        self._block_shift = geometry.block_shift
        self._block_size = geometry.block_size
        self._block_mask = geometry.block_size - 1
        self._disk_size = geometry.disk_size
        self.remembers = True
        """Whether places are remembered: not while the entries that name them change. A signal handler may
        read in the middle of that, in the thread that holds the lock."""
        self._located: dict[int, int] = {}
        """Per block what `locate` answers; less than SPLIT: minus the place of a partially present block."""
        self._bitmap_places: dict[int, int] = {}
        self._known_shared_slots: dict[int, str] | None = None

    def locate(self, offset: int, length: int) -> int:
        """The file offset of a range that lies in one present block, or ASK_BELOW, ZEROS or SPLIT.

        The way of every small read: no allocation, no numpy.
        """
        within = offset & self._block_mask
        if within + length > self._block_size or offset + length > self._disk_size or not length:
            return SPLIT
        block = offset >> self._block_shift
        place = self._located.get(block)
        if place is None:
            place = self._locate_block(block)
        if place > 0:
            return place + within
        return place if place >= SPLIT else self._locate_sectors(block, within, length, -place)

    def _locate_sectors(self, block: int, within: int, length: int, place: int) -> int:
        """The answer for a range in a partially present block at ``place``."""
        sector_size = self._geometry.logical_sector_size
        first = self._geometry.first_bit(block) + within // sector_size
        stop = self._geometry.first_bit(block) + -(-(within + length) // sector_size)
        bits = self.bits(block, first, stop - first)
        if bits == 0:
            return ASK_BELOW
        return place + within if bits == (1 << (stop - first)) - 1 else SPLIT

    def bits(self, block: int, first_bit: int, count: int) -> int:
        """``count`` bits of the sector bitmap that covers a partially present block, first one lowest."""
        start = first_bit // 8
        data = self._pages.read((first_bit + count + 7) // 8 - start, self._bitmap_place(block) + start)
        return int.from_bytes(data, "little") >> first_bit % 8 & (1 << count) - 1

    def present_sectors(self, block: int) -> tuple[int, int]:
        """The checked place of a partially present block, and its bits, those of its first sector lowest."""
        place = file_offset_of(self._bat.payload(block))
        self._check_run(block, 1, place)
        first = self._geometry.first_bit(block)
        return place, self.bits(block, first, self._geometry.sectors_per_block)

    def faulty_places(self, places: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of the places of whole blocks may not be read: as `_place_fault` finds them, vectorised."""
        import numpy as np  # noqa: PLC0415  who has arrays has paid for it

        size = self._block_size
        latest = min(FILE_OFFSET_LIMIT, self.file_size) - size
        if latest < 0:
            return np.ones(len(places), dtype=np.bool_)
        behind = max(area.end for area in self._regions.areas)
        if behind <= int(places.min()) and int(places.max()) <= latest:
            return np.zeros(len(places), dtype=np.bool_)  # as in most images: all behind every structure
        faulty: NDArray[np.bool_] = places > np.uint64(latest)
        for area in self._regions.areas:  # sums of places near 2^64 wrap: those are faulty already
            faulty |= (places < np.uint64(area.end)) & (places + np.uint64(size) > np.uint64(area.start))
        return faulty

    @property
    def needs_closer_look(self) -> bool:
        """Whether blocks cannot be judged by their entries alone: two are known to claim the same space."""
        return bool(self._shared_slots)

    def forget(self, block: int, count: int = 1) -> None:
        """Drop what is remembered of blocks whose entries were changed; the caller holds the pages' lock."""
        if self._located:
            for changed in range(block, block + count):
                self._located.pop(changed, None)

    def forget_bitmap(self, chunk: int) -> None:
        """Drop where the sector bitmap of a chunk was; the caller holds the pages' lock."""
        self._bitmap_places.pop(chunk, None)

    def _locate_block(self, block: int) -> int:
        with self._pages.lock:  # what is remembered must not be older than the table
            place = self._place_of_block(block)
            if len(self._located) >= _REMEMBERED_BLOCKS:
                self._located.clear()
            if self.remembers:
                self._located[block] = place
            return place

    def _place_of_block(self, block: int) -> int:
        entry = self._bat.payload(block)
        answer = READ_ANSWERS[state_of(entry)]
        if answer is Answer.THIS_FILE:
            place = file_offset_of(entry)
            self._check_run(block, 1, place)
            return place
        if answer is Answer.NOBODY:
            return ASK_BELOW
        if answer is Answer.ZEROS:
            return ZEROS
        if answer is Answer.INVALID:
            return SPLIT
        place = file_offset_of(entry)
        self._check_run(block, 1, place)
        return -place

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """What this image says of a range inside its disk, in order, in bounded memory.

        UNALLOCATED is where it says nothing; neighbours may continue each other.
        """
        return self._extents(offset, length, said=False)

    def said_extents(self, offset: int, length: int) -> Iterator[Extent]:
        """The same without what this image says nothing of."""
        return self._extents(offset, length, said=True)

    def _extents(self, offset: int, length: int, *, said: bool) -> Iterator[Extent]:
        size, end = self._block_size, offset + length
        first, stop = -(-offset // size), end // size
        if stop - first < MANY or self.needs_closer_look:
            yield from self._few_extents(offset, length, said=said)
            return
        from vhdx.image.whole import WholeBlocks  # noqa: PLC0415  most ranges are short

        def one_by_one(run: BlockRun) -> Iterator[Extent]:
            extents = self._run_extents(run, offset, end)
            return _said(extents) if said else extents

        yield from self._few_extents(offset, first * size - offset, said=said)
        whole = WholeBlocks(self._bat, self._geometry, self.faulty_places, one_by_one)
        yield from whole.extents(first, stop - first, said=said)
        yield from self._few_extents(stop * size, end - stop * size, said=said)

    def _few_extents(self, offset: int, length: int, *, said: bool) -> Iterator[Extent]:
        blocks = self._geometry.blocks_touched(offset, length)
        for run in self._bat.runs(blocks.start, len(blocks)):
            extents = self._run_extents(run, offset, offset + length)
            for extent in _said(extents) if said else extents:
                if extent.offset < offset or extent.end > offset + length:
                    start, end = max(extent.offset, offset), min(extent.end, offset + length)
                    if start < end:
                        yield extent.part(start, end)
                else:
                    yield extent

    def _run_extents(self, run: BlockRun, offset: int, end: int) -> Iterator[Extent]:
        state = state_of(run.entry)
        answer = READ_ANSWERS[state]
        place = file_offset_of(run.entry)
        start = run.first_block << self._block_shift
        length = min(run.block_count << self._block_shift, self._disk_size - start)
        if answer is Answer.THIS_FILE:
            self._check_run(run.first_block, run.block_count, place)
            yield Extent(start, length, ExtentKind.DATA, state, 1, place)
        elif answer is Answer.NOBODY:
            yield Extent(start, length, ExtentKind.UNALLOCATED, state, 0, None)
        elif answer is Answer.ZEROS:
            yield Extent(start, length, ExtentKind.ZERO, state, 1, self._kept_space(run, state))
        elif answer is Answer.BITMAP:
            yield from self._partial_extents(run.first_block, place, offset, end)
        else:
            self.refuse_state(run.entry, run.first_block)

    def refuse_state(self, entry: int, block: int) -> NoReturn:
        """Raise CorruptImageError for a block in a state that this kind of image cannot have."""
        fault = invalidity(state_of(entry))
        self._fail(rules.BAT_STATE, block, f"block {block} {fault}")

    def _kept_space(self, run: BlockRun, state: BlockState) -> int | None:
        """Where the space is that a block without contents keeps, None if it keeps none."""
        place = file_offset_of(run.entry)
        if run.block_count > 1 or not place or state not in KEEPS_SPACE:
            return None
        return None if self._run_fault(run.first_block, 1, place) else place

    def _partial_extents(self, block: int, place: int, offset: int, end: int) -> Iterator[Extent]:
        self._check_run(block, 1, place)
        yield from self._sector_extents(block, place, offset, end)

    def _sector_extents(self, block: int, place: int, offset: int, end: int) -> Iterator[Extent]:
        """The sectors of a partially present block that a range touches."""
        sector_size = self._geometry.logical_sector_size
        start = block << self._block_shift
        length = self._geometry.block_length(block)
        first_sector = max(0, offset - start) // sector_size
        stop_sector = -(-min(length, end - start) // sector_size)
        first = self._geometry.first_bit(block)
        read = partial(self._read_bitmap, self._bitmap_place(block))
        for run in bit_runs(read, first + first_sector, stop_sector - first_sector):
            within = (run.first_bit - first) * sector_size
            length = run.bit_count * sector_size
            state = BlockState.PARTIALLY_PRESENT
            if run.is_set:
                yield Extent(start + within, length, ExtentKind.DATA, state, 1, place + within)
            else:
                yield Extent(start + within, length, ExtentKind.UNALLOCATED, BlockState.NOT_PRESENT, 0, None)

    def _read_bitmap(self, bitmap: int, length: int, offset: int) -> bytes:
        return self._pages.read(length, bitmap + offset)

    def _bitmap_place(self, block: int) -> int:
        """The checked file offset of the sector bitmap block that covers a partially present block."""
        chunk = self._geometry.chunk_of(block)
        place = self._bitmap_places.get(chunk)
        if place is None:
            with self._pages.lock:  # what is remembered must not be older than the table
                place = self._checked_bitmap_place(block, chunk)
                if self.remembers:
                    self._bitmap_places[chunk] = place
        return place

    def _checked_bitmap_place(self, block: int, chunk: int) -> int:
        index = self._geometry.bitmap_index(chunk)
        entry = self._bat.bitmap(chunk)
        place = file_offset_of(entry)
        where = self._place_of_bitmap_slot(chunk)
        if entry & STATE_MASK != BITMAP_PRESENT:
            self.refuse_missing_bitmap(block)
        fault = self._place_fault(place, BITMAP_BLOCK_SIZE, BITMAP_BLOCK_SIZE)
        if fault is None and index in self._shared_slots:
            fault = rules.BAT_OVERLAP, f"its space is claimed by {self._shared_slots[index]}, too"
        if fault is not None:
            raise Finding(fault[0], where, fault[1]).error(self._storage.name)
        return place

    def refuse_missing_bitmap(self, block: int) -> NoReturn:
        """Raise CorruptImageError for a partially present block without a sector bitmap."""
        where = self._place_of_bitmap_slot(self._geometry.chunk_of(block))
        detail = f"there is no sector bitmap, but block {block} is partially present"
        raise Finding(rules.BAT_BITMAP_MISSING, where, detail).error(self._storage.name)

    def _place_of_bitmap_slot(self, chunk: int) -> Place:
        slot_offset = self._bat.slot_offset(self._geometry.bitmap_index(chunk))
        return Place(f"BAT entry of the sector bitmap of chunk {chunk}", slot_offset)

    @property
    def _shared_slots(self) -> dict[int, str]:
        """The slots whose space another one claims, as the table was when this was first asked for.

        No cached_property: up to Python 3.11 that has a lock of its own. Who holds the pages' lock would
        wait for it, and who holds it for the pages.
        """
        if self._known_shared_slots is None:
            with self._pages.lock:
                self._known_shared_slots = doubly_claimed(self._bat, self._geometry)
        return self._known_shared_slots

    def _check_run(self, block: int, count: int, place: int) -> None:
        """Raise CorruptImageError unless ``count`` blocks back to back from ``place`` on may be read."""
        if self._shared_slots:
            self._check_claims(block, count)
        if self._run_fault(block, count, place) is None:
            return
        sound = bisect_left(
            range(1, count + 1), 1, key=lambda n: self._run_fault(block, n, place) is not None
        )
        fault = self._run_fault(block + sound, 1, place + (sound << self._block_shift))
        if fault is not None:
            self._fail(fault[0], block + sound, f"block {block + sound}: {fault[1]}")

    def _check_claims(self, block: int, count: int) -> None:
        for claimed in range(block, block + count):
            other = self._shared_slots.get(self._geometry.payload_index(claimed))
            if other is not None:
                self._fail(
                    rules.BAT_OVERLAP, claimed, f"the space of block {claimed} is claimed by {other}, too"
                )

    def _run_fault(self, block: int, count: int, place: int) -> tuple[rules.Rule, str] | None:
        whole = count << self._block_shift
        # QEMU ends fixed images with the disk, in the middle of the last block.
        needed = whole - self._block_size + self._geometry.block_length(block + count - 1)
        return self._place_fault(place, whole, needed)

    def _place_fault(self, place: int, length: int, needed: int) -> tuple[rules.Rule, str] | None:
        """What is wrong with ``length`` bytes at ``place`` of which ``needed`` must be in the file."""
        if place + length > FILE_OFFSET_LIMIT:
            return rules.BAT_PLACE, f"its place ends at {place + length}; files of over 256 TiB are refused"
        area = self._regions.area_touching(place, length)
        if area is not None:
            return rules.BAT_PLACE, f"its place at {place} lies in {area.name}"
        if place + needed > self.file_size:
            detail = f"its place ends at {place + needed}, behind the end of the file at {self.file_size}"
            return rules.BAT_PAST_END, detail
        return None

    def _fail(self, rule: rules.Rule, block: int, detail: str) -> NoReturn:
        index = self._geometry.payload_index(block)
        where = Place(f"BAT entry {index}", self._bat.slot_offset(index))
        raise Finding(rule, where, detail).error(self._storage.name)


def _said(extents: Iterator[Extent]) -> Iterator[Extent]:
    return (extent for extent in extents if extent.kind is not ExtentKind.UNALLOCATED)
