"""Room for new sets of slots in a directory, and the order in which one is written so as not to be torn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.filesystems.insert.base import ATOM, BARRIER, SLOT, Write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.insert.base import Directory, Layout, Old, Step


class FreeSlots:
    """The free slots of a directory: holes between what is there, and everything from ``end`` on."""

    def __init__(self, directory: Directory, layout: Layout) -> None:
        kinds = directory.slots[::SLOT]
        self.end = self.total = len(kinds)
        self._holes: list[tuple[int, int]] = []
        for index, kind in enumerate(kinds):
            if kind == 0:
                self.end = index
                break
            if not layout.slot_is_free(kind):
                continue
            if self._holes and sum(self._holes[-1]) == index:
                self._holes[-1] = (self._holes[-1][0], self._holes[-1][1] + 1)
            else:
                self._holes.append((index, 1))
        touches = bool(self._holes) and sum(self._holes[-1]) == self.end
        self._tail = self._holes.pop()[0] if touches else self.end

    def take(self, count: int) -> int:
        """The first of so many free slots; they may lie behind ``total``."""
        for index, (start, length) in enumerate(self._holes):
            if length >= count:
                self._holes[index] = (start + count, length - count)
                return start
        self._tail += count
        return self._tail - count

    @property
    def missing(self) -> int:
        """How many slots were taken that are not there yet."""
        return max(0, self._tail - self.total)


class SlotWriter:
    """Writes sets into a directory that has room for them."""

    def __init__(self, directory: Directory, layout: Layout) -> None:
        self._directory, self._layout = directory, layout
        self._free = FreeSlots(directory, layout)
        self._end = self._free.end

    def add(self, slots: bytes) -> Iterator[Step]:
        """A set, in the first free slots that are enough.

        What makes all of it valid is written last, in one atom: the main slot, or the end of the directory,
        behind which nothing is looked at, whichever comes first.
        """
        count = len(slots) // SLOT
        start = self._free.take(count)
        main = start + self._layout.main_of(count)
        if start + count > self._end:
            main = min(main, max(self._end, start))
            self._end = start + count
            if self._end < self._free.total:  # what stands behind the end may be anything
                slots += bytes(SLOT)
        yield from self._written(start, slots, main)

    def change(self, old: Old, slots: bytes) -> Iterator[Step]:
        """Another set in place of an old one: in one write, or a new one first, before the old one goes."""
        first, end = self._layout.changes(old)
        if fits_in_place(self._directory, first, end):
            at = (first - old.slot) * SLOT
            yield self._write(first, slots[at : at + (end - first) * SLOT])
            return
        yield from self.add(slots)
        yield BARRIER
        yield from self._remove(old)

    def _remove(self, old: Old) -> Iterator[Step]:
        others = [slot for slot in range(old.slot, old.slot + old.length) if slot != old.main]
        for index, slot in enumerate([old.main, *others]):
            freed = self._layout.freed(self._directory.slots[slot * SLOT])
            yield self._write(
                slot, bytes([freed]) + self._directory.slots[slot * SLOT + 1 : (slot + 1) * SLOT]
            )
            if index == 0:
                yield BARRIER

    def _written(self, start: int, slots: bytes, main: int) -> Iterator[Step]:
        """The atoms of a set, the one with slot ``main`` last."""
        atoms: dict[int, list[int]] = {}
        for slot in range(start, start + len(slots) // SLOT):
            atoms.setdefault(self._directory.offset_of(slot) // ATOM, []).append(slot)
        last = atoms.pop(self._directory.offset_of(main) // ATOM)
        for group in [*atoms.values(), last]:
            if group is last and atoms:
                yield BARRIER
            yield self._write(group[0], slots[(group[0] - start) * SLOT : (group[-1] + 1 - start) * SLOT])

    def _write(self, slot: int, data: bytes) -> Write:
        at = slot * SLOT
        self._directory.slots[at : at + len(data)] = data
        return Write(self._directory.offset_of(slot), bytes(data))


def fits_in_place(directory: Directory, first: int, end: int) -> bool:
    """Whether these slots stand in one atom."""
    return directory.offset_of(first) // ATOM == directory.offset_of(end - 1) // ATOM
