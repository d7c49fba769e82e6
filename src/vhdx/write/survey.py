"""What a table claims of its file: the survey that fills the map of space [MS-VHDX 2.2, 2.5.1]."""

from __future__ import annotations

from vhdx import rules
from vhdx.format.bat import BITMAP_PRESENT, ENTRY_SIZE, FILE_OFFSET_MASK, STATE_MASK, file_offset_of, state_of
from vhdx.geometry import BITMAP_BLOCK_SIZE
from vhdx.image.bat import WINDOW
from vhdx.image.state_masks import are_in
from vhdx.image.states import MAY_OWN_SPACE, PRESENT, is_present
from vhdx.rules import Finding, Place
from vhdx.typed import TYPE_CHECKING
from vhdx.units import MIB
from vhdx.write.space import Space

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from vhdx.geometry import Geometry
    from vhdx.image.bat import Bat
    from vhdx.image.regions import Regions
    from vhdx.rules import Rule

_KEPT_BEHIND_LIMIT = 1 << 20
"""Blocks that may keep space where the file does not reach: nobody writes so, and each costs memory."""


class Conflict(Exception):  # noqa: N818  not an error by itself: whoever surveys decides
    """Two structures claim the same space, or one claims space that the file does not have."""

    def __init__(self, rule: Rule, place: Place, detail: str) -> None:
        super().__init__(detail)
        self.finding = Finding(rule, place, detail)


def survey(regions: Regions, bat: Bat, geometry: Geometry, file_size: int, *, keeping: bool = True) -> Space:
    """The map of an image, by one pass over its table. Raises Conflict.

    Not ``keeping`` means: as if no block without contents kept any space.
    """
    space = Space(file_size)
    for area in regions.areas:
        if area.end > space.end:
            detail = f"{area.name} reaches behind the end of the file"
            raise Conflict(rules.REGION_PAST_END, Place(area.name, area.start), detail)
        space.claim(area.start, area.end - area.start)
    return _Survey(space, bat, geometry, file_size).complete(keeping=keeping)


def keep_leftovers(space: Space, regions: Regions, bat: Bat, geometry: Geometry) -> list[int]:
    """Keep free space that entries behind the last block name as if blocks stood there; their file offsets.

    If the size of the disk is damaged they do; a shrink that was interrupted leaves such entries, too. So the
    space is not free.
    """
    places: list[int] = []
    first = geometry.payload_index(geometry.block_count - 1) + 1
    for entries in bat.stored_entries(first, regions.bat.length // ENTRY_SIZE - first):
        import numpy as np  # noqa: PLC0415  hardly any image has such entries

        named = np.frombuffer(entries, dtype=np.uint64)
        named = named[are_in(named, PRESENT)]
        firsts = np.unique(named >> np.uint64(MIB.bit_length() - 1))
        free = (firsts[space.are_free(firsts, geometry.block_size)] * np.uint64(MIB)).tolist()
        space.keep(free, geometry.block_size)
        places += free
    return places


class _Survey:
    """Marks what the table claims."""

    def __init__(self, space: Space, bat: Bat, geometry: Geometry, file_size: int) -> None:
        self._space = space
        self._bat = bat
        self._geometry = geometry
        self._file_size = file_size
        self._kept: list[int] = []
        self._named_bitmaps: list[int] = []
        self._kept_map = bytearray()
        """What many blocks keep: one byte for each MiB of the file."""

    def complete(self, *, keeping: bool) -> Space:
        """The map with every claim of the table."""
        claim = self._claim_runs if self._geometry.bat_entry_count <= WINDOW else self._claim_window
        stored = [*self._stored_windows()]
        for blocks in stored:
            claim(blocks.start, len(blocks))
        if self._geometry.differencing:
            for blocks in stored:
                self._claim_bitmaps(blocks)
        # Kept space is claimed last and whatever stands there: it is never read, and never given up.
        if keeping:
            self._space.keep(self._kept, self._geometry.block_size)
            self._space.keep_marked(self._kept_map)
        self._space.keep(self._named_bitmaps, BITMAP_BLOCK_SIZE)
        return self._space

    def _stored_windows(self) -> Iterator[range]:
        """The blocks of each window of the table, but those whose slots the host knows to be zeros.

        A window is whole chunks, whose sector bitmaps' slots stand between their blocks and behind them.
        """
        geometry = self._geometry
        for block in range(0, geometry.block_count, WINDOW):
            blocks = range(block, min(block + WINDOW, geometry.block_count))
            first = geometry.payload_index(block)
            stop = min(geometry.bitmap_index(geometry.chunk_of(blocks[-1])) + 1, geometry.bat_entry_count)
            if not self._bat.is_hole(first, stop - first):
                yield blocks

    def _claim_runs(self, block: int, count: int) -> None:
        for run in self._bat.runs(block, count):
            state, place = state_of(run.entry), file_offset_of(run.entry)
            if state in MAY_OWN_SPACE and place:
                self._kept.append(place)
            elif is_present(run.entry):
                length = run.block_count * self._geometry.block_size
                missing = self._missing(run.first_block + run.block_count - 1)
                where = self._where(self._geometry.payload_index(run.first_block))
                self._claim(where, f"block {run.first_block}", range(place, place + length), missing)

    def _keep_many(self, firsts: NDArray[np.uint64], where: Place) -> None:
        """As for single blocks, in bounded memory: marked in the file, counted behind it."""
        import numpy as np  # noqa: PLC0415  who has arrays has paid for it

        if not len(firsts):
            return
        count, size = self._geometry.block_size // MIB, self._space.end // MIB
        self._kept_map.extend(bytes(size - len(self._kept_map)))
        marked = np.frombuffer(self._kept_map, dtype=np.uint8)
        inside = firsts + np.uint64(count) <= size
        for offset in range(count):
            marked[firsts[inside] + np.uint64(offset)] = 1
        self._kept += (firsts[~inside] * np.uint64(MIB)).tolist()
        if len(self._kept) > _KEPT_BEHIND_LIMIT:
            detail = f"more than {_KEPT_BEHIND_LIMIT} blocks keep space behind the end of the file"
            raise Conflict(rules.BAT_KEPT_PLACE, where, detail)

    def _missing(self, block: int) -> int:
        """How much of a block need not be in the file: QEMU ends fixed images with the disk."""
        return self._geometry.block_size - self._geometry.block_length(block)

    def _where(self, index: int) -> Place:
        return Place(f"BAT entry {index}", self._bat.slot_offset(index))

    def _claim_bitmaps(self, blocks: range) -> None:
        for chunk in range(self._geometry.chunk_of(blocks[0]), self._geometry.chunk_of(blocks[-1]) + 1):
            entry = self._bat.bitmap(chunk)
            place = file_offset_of(entry)
            if entry & STATE_MASK != BITMAP_PRESENT:
                if place:  # a damaged state: the bits of a child must not be taken for free space
                    self._named_bitmaps.append(place)
            else:
                where = self._where(self._geometry.bitmap_index(chunk))
                whole = range(place, place + BITMAP_BLOCK_SIZE)
                self._claim(where, f"the sector bitmap of chunk {chunk}", whole)

    def _claim(self, where: Place, name: str, whole: range, missing: int = 0) -> None:
        if whole.stop - missing > self._file_size:
            raise Conflict(rules.BAT_PAST_END, where, f"{name} reaches behind the end of the file")
        if not self._space.claim(whole.start, len(whole)):
            raise Conflict(rules.BAT_OVERLAP, where, f"the space of {name} is claimed twice")

    def _claim_window(self, block: int, count: int) -> None:
        """As `_claim_runs`, vectorised: a full table of 64 TiB has 67 million entries."""
        import numpy as np  # noqa: PLC0415  slow to import, and of no use for small tables

        values = np.frombuffer(self._bat.payloads(block, count), dtype=np.uint64)
        states = values & np.uint64(STATE_MASK)
        places = values & np.uint64(FILE_OFFSET_MASK)
        index = self._geometry.payload_index(block)
        where = Place(f"BAT from entry {index} on", self._bat.slot_offset(index))
        keeping = are_in(states, MAY_OWN_SPACE) & (places > 0)
        self._keep_many(places[keeping] // np.uint64(MIB), where)
        present = are_in(states, PRESENT)
        missing = np.zeros(count, dtype=np.uint64)
        missing[-1] = self._missing(block + count - 1)
        named = f"a block from {block} to {block + count - 1}"
        # Entries near 2^64 must not wrap: what is compared is where a block may begin at the latest.
        latest = np.uint64(max(0, self._file_size - self._geometry.block_size)) + missing
        if (places[present] > latest[present]).any():
            raise Conflict(
                rules.BAT_PAST_END, where, f"the place of {named} reaches behind the end of the file"
            )
        firsts = np.sort(places[present] // np.uint64(MIB))
        if not self._space.claim_many(firsts, self._geometry.block_size // MIB):
            raise Conflict(
                rules.BAT_OVERLAP, where, f"the space of {named} is claimed by something else, too"
            )
