"""Which MiB of a file are free, and how safe it is to use them again [MS-VHDX 2.2, 2.5.1].

One byte for each MiB of the file. What nobody claims when the file is opened is free; what blocks give up
waits until the entry that named it is durably gone and nobody reads or writes it any more.
"""

from __future__ import annotations

from vhdx.format.metadata import MAXIMUM_BLOCK_SIZE
from vhdx.typed import TYPE_CHECKING
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

_FREE, _USED, _WAITING = 0, 1, 2


class Space:
    """The map of one file. File offsets and lengths are bytes, whole MiB."""

    def __init__(self, file_size: int) -> None:
        self._map = bytearray(-(-file_size // MIB))
        self._search_from: dict[int, int] = {}  # by length in MiB: nothing so long is free before
        self._waiting: list[tuple[int, int]] = []
        self._beyond: list[tuple[int, int]] = []  # MiB kept behind the map's end, last ones first

    @classmethod
    def of(cls, used: bytearray) -> Space:
        """A map of one byte for each MiB of a file: 1 where it is used, else 0."""
        space = cls(0)
        space._map = used
        return space

    @property
    def end(self) -> int:
        """The file offset behind the last MiB that the map knows."""
        return len(self._map) * MIB

    @property
    def used_end(self) -> int:
        """The file offset behind the last MiB that is not free."""
        return len(self._map.rstrip(bytes((_FREE,)))) * MIB

    def end_at(self, file_size: int) -> None:
        """Forget what is free behind the end of a file that was cut."""
        del self._map[-(-file_size // MIB) :]

    def claim(self, file_offset: int, length: int) -> bool:
        """Mark a range as used; False if part of it was used before."""
        first, count = file_offset // MIB, -(-length // MIB)
        if len(self._map) < first + count:  # short last blocks reach over the end of the file
            self._map.extend(bytes(first + count - len(self._map)))
        was_free = self._map.count(_FREE, first, first + count) == count
        self._map[first : first + count] = bytes((_USED,)) * count
        return was_free

    def is_free(self, file_offset: int, length: int) -> bool:
        """Whether a range lies in the file, and nothing in it is used."""
        first, count = file_offset // MIB, length // MIB
        return self._map.count(_FREE, first, first + count) == count

    def are_free(self, firsts: NDArray[np.uint64], length: int) -> NDArray[np.bool_]:
        """The same for ranges of one length from each of ``firsts`` (MiB, in order) on."""
        import numpy as np  # noqa: PLC0415  who has arrays has paid for it

        free, count = np.frombuffer(self._map, dtype=np.uint8) == _FREE, length // MIB
        found = firsts + np.uint64(count) <= len(self._map)
        for offset in range(count):
            found[found] = free[firsts[found] + np.uint64(offset)]
        return found

    def claim_many(self, firsts: NDArray[np.uint64], count: int) -> bool:
        """Mark ``count`` MiB from each of ``firsts`` (MiB, in order) on as used; False if some cannot be."""
        if not len(firsts):
            return True
        last = int(firsts[-1]) + count
        if last > len(self._map) + MAXIMUM_BLOCK_SIZE // MIB or (firsts[1:] - firsts[:-1] < count).any():
            return False
        self._map.extend(bytes(max(0, last - len(self._map))))
        import numpy as np  # noqa: PLC0415  who has arrays has paid for it

        used = np.frombuffer(self._map, dtype=np.uint8)
        for offset in range(count):
            if used[firsts + np.uint64(offset)].any():
                return False
            used[firsts + np.uint64(offset)] = _USED
        return True

    def find(self, length: int) -> int | None:
        """The first free space between other things; None if there is none so long.

        It may hold anything: nobody may take it for zeros.
        """
        count = length // MIB
        start = self._search_from.get(count, 0)
        first = self._map.find(bytes(count), start)
        if first < 0:
            self._search_from[count] = max(start, len(self._map) - count + 1)
            return None
        self._search_from[count] = first
        return first * MIB

    def extend(self, length: int) -> int:
        """Space behind everything, marked as used."""
        while self._beyond and self._beyond[-1][0] < len(self._map) + length // MIB:
            first, count = self._beyond.pop()
            self._map.extend(bytes(max(0, first - len(self._map))))
            self._map.extend(bytes((_USED,)) * max(0, first + count - len(self._map)))
        first = len(self._map)
        self._map.extend(bytes((_USED,)) * (length // MIB))
        return first * MIB

    def end_after(self, count: int, length: int) -> int:
        """The file offset that `extend` reaches at most, called ``count`` times with ``length``."""
        end, step = len(self._map), length // MIB
        for first, kept in reversed(self._beyond):
            between = min(count, max(0, first - end) // step)
            end, count = end + between * step, count - between
            if not count:
                break
            end = max(end, first + kept)
        return (end + count * step) * MIB

    def keep(self, places: list[int], length: int) -> None:
        """Mark space of ``length`` from each of ``places`` on as nobody else's, whatever stands there.

        Also where the file does not reach yet: it may grow.
        """
        count = length // MIB
        for first in (place // MIB for place in places):
            inside = len(self._map[first : first + count])
            self._map[first : first + inside] = bytes((_USED,)) * inside
            if inside < count:
                self._beyond.append((first, count))
        self._beyond.sort(reverse=True)

    def keep_marked(self, marked: bytearray) -> None:
        """The same for every MiB of the file that is marked with a 1."""
        if marked:
            import numpy as np  # noqa: PLC0415  who marked so much has paid for it

            used = np.frombuffer(self._map, dtype=np.uint8)[: len(marked)]
            used[np.frombuffer(marked, dtype=np.uint8)[: len(used)] == 1] = _USED

    def claimed(self) -> bytes:
        """A byte for each MiB of the file, 0 where it is free."""
        return bytes(self._map)

    def keep_run(self, file_offset: int, length: int) -> None:
        """Keep a range as far as the map knows it: nobody knows whose it is."""
        first, count = file_offset // MIB, length // MIB
        count = max(0, min(count, len(self._map) - first))
        self._map[first : first + count] = bytes((_USED,)) * count

    def give_back(self, file_offset: int, length: int) -> None:
        """Free space that no entry names any more, durably, or ever named."""
        first, count = file_offset // MIB, length // MIB
        self._map[first : first + count] = bytes(count)
        for wanted, start in self._search_from.items():  # what is free before it may make a run with it
            self._search_from[wanted] = min(start, max(0, first - wanted + 1))

    def give_up(self, file_offset: int, length: int) -> None:
        """Let space wait: an entry that named it was changed, but not yet durably."""
        first, count = file_offset // MIB, length // MIB
        self._map[first : first + count] = bytes((_WAITING,)) * count
        self._waiting.append((file_offset, length))

    @property
    def used_size(self) -> int:
        """Bytes that are not free."""
        return (len(self._map) - self._map.count(_FREE)) * MIB

    def end_without(self, firsts: NDArray[np.int64], lengths: NDArray[np.int64]) -> int:
        """The file offset behind the last MiB that is not free and in none of these ranges of MiB."""
        import numpy as np  # noqa: PLC0415  who has arrays has paid for it

        used = np.frombuffer(self._map, dtype=np.uint8) != _FREE
        for length in np.unique(lengths).tolist():
            for offset in range(length):
                used[firsts[lengths == length] + offset] = False
        found = np.flatnonzero(used)
        return (int(found[-1]) + 1) * MIB if len(found) else 0

    def is_used(self, firsts: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether each of ``firsts``, MiB of the file, is taken."""
        import numpy as np  # noqa: PLC0415  who has arrays has paid for it

        taken: NDArray[np.bool_] = np.frombuffer(self._map, dtype=np.uint8)[firsts] == _USED
        return taken

    def gaps(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First MiB and length in MiB of every run of free space, in order."""
        import numpy as np  # noqa: PLC0415  slow to import, and of no use for single blocks

        free = np.frombuffer(self._map, dtype=np.uint8) == _FREE
        borders = np.flatnonzero(np.diff(free, prepend=False, append=False))
        return borders[::2], borders[1::2] - borders[::2]

    def taken_beyond(self, other: Space) -> Iterator[tuple[int, int]]:
        """(file offset, length) of what is not free here, and free in another map of the same file."""
        import numpy as np  # noqa: PLC0415  slow to import, and of no use for single blocks

        there = other._map.ljust(len(self._map), bytes((_FREE,)))[: len(self._map)]
        taken = np.frombuffer(self._map, dtype=np.uint8) != _FREE
        taken &= np.frombuffer(there, dtype=np.uint8) == _FREE
        borders = (np.flatnonzero(np.diff(taken, prepend=False, append=False)) * MIB).tolist()
        for start, end in zip(borders[::2], borders[1::2], strict=True):
            yield start, end - start

    @property
    def waiting(self) -> tuple[tuple[int, int], ...]:
        """(file offset, length) of what waits."""
        return tuple(self._waiting)

    def take_waiting(self) -> list[tuple[int, int]]:
        """What waits, neighbours made one, no longer on the list; to be given back when nobody uses it."""
        waiting, self._waiting = sorted(self._waiting), []
        merged: list[tuple[int, int]] = []
        for file_offset, length in waiting:
            if merged and sum(merged[-1]) == file_offset:
                merged[-1] = merged[-1][0], merged[-1][1] + length
            else:
                merged.append((file_offset, length))
        return merged
