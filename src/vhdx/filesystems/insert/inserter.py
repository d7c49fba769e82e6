"""What is to be added to a volume, the room for it, and the steps that add it."""

from __future__ import annotations

import errno
from itertools import chain
from typing import TYPE_CHECKING

from vhdx.filesystems.insert.base import BARRIER, SLOT, Directory, New, Place, Write
from vhdx.filesystems.insert.names import check_name
from vhdx.filesystems.insert.slots import FreeSlots, SlotWriter, fits_in_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.insert.base import Details, Layout, Old, Run, Step
    from vhdx.filesystems.insert.space import FreeClusters


class Inserter:
    """New files for one volume, in this order: say which, `reserve`, write their bytes, carry out `steps`.

    Nothing but free clusters is written to before `steps`. Paths are names from the root.
    """

    def __init__(self, layout: Layout, free: FreeClusters) -> None:
        self._layout, self._free = layout, free
        self._free_before = free.left
        self.root = layout.root()
        self._grown: list[tuple[Directory, list[Run]]] = []

    @property
    def cluster_size(self) -> int:
        """Bytes of a cluster."""
        return self._layout.cluster_size

    # What is to be added -------------------------------------------------------------------------

    def kind(self, directory: Directory, name: str) -> str | None:
        """``"directory"`` or ``"file"`` where there is one of this name, or will be."""
        folded = self._layout.folded(name)
        new, old = directory.added.get(folded), directory.old.get(folded)
        if new is not None:
            return "file" if new.directory is None else "directory"
        if old is not None:
            return "directory" if old.is_directory else "file"
        return None

    def directory(self, parent: Directory, name: str) -> Directory:
        """A directory that is there, or will be. Raises FileNotFoundError, NotADirectoryError."""
        folded = self._layout.folded(name)
        new, old = parent.added.get(folded), parent.old.get(folded)
        if new is not None and new.directory is not None:
            return new.directory
        if old is None:
            raise FileNotFoundError(errno.ENOENT, "No such directory", name)
        if not old.is_directory:
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", name)
        if folded not in parent.below:
            parent.below[folded] = self._layout.opened(parent, old)
        return parent.below[folded]

    def add_directory(self, parent: Directory, name: str, details: Details) -> Directory:
        """A new directory. Raises FileExistsError, ValueError for a name that cannot be."""
        directory = Directory(parent=parent, details=details)
        self._enter(parent, New(name, 0, details, directory), replace=False)
        return directory

    def add_file(
        self, parent: Directory, name: str, size: int, details: Details, *, replace: bool = False
    ) -> New:
        """A new file. Raises FileExistsError, ValueError for a name or size that cannot be."""
        if size > self._layout.largest_file:
            raise ValueError(
                f"{name!r} has {size} bytes, a file here has at most {self._layout.largest_file}"
            )
        new = New(name, size, details)
        self._enter(parent, new, replace=replace)
        return new

    def _enter(self, parent: Directory, new: New, *, replace: bool) -> None:
        check_name(new.name)
        folded = self._layout.folded(new.name)
        old = parent.old.get(folded)
        if old is not None and old.is_directory:
            raise IsADirectoryError(errno.EISDIR, "Is a directory", new.name)
        if folded in parent.added or (old is not None and (new.directory is not None or not replace)):
            raise FileExistsError(errno.EEXIST, "It is there already", new.name)
        new.replaces = old
        parent.added[folded] = new

    def drop(self, parent: Directory, new: New) -> None:
        """Leave a file out, whose bytes could not be had; its clusters stay free."""
        del parent.added[self._layout.folded(new.name)]

    # Room for it ---------------------------------------------------------------------------------

    def reserve(self) -> None:
        """Give everything its clusters. Raises OSError (ENOSPC) where it does not all fit."""
        old, new = self._directories()
        for directory in reversed(old):  # the deepest first: their parents may have to say of it
            self._reserve_growth(directory)
        for directory in new:
            slots = len(self._layout.beginning(directory)) // SLOT + sum(
                self._layout.slots_of(each.name) for each in directory.added.values()
            )
            directory.runs = self._take(self._checked_length(slots * SLOT) or 1)
        for directory in chain(old, new):
            for each in directory.added.values():
                each.runs = self._take(each.size) if each.directory is None else each.directory.runs

    def places(self, new: New) -> Iterator[tuple[int, int]]:
        """The (offset, length) in the volume for the bytes of a file, in order."""
        left = new.size
        for first, count in new.runs:
            length = min(left, count * self.cluster_size)
            yield self._layout.cluster_offset(first), length
            left -= length

    def _take(self, length: int) -> list[Run]:
        count = -(-length // self.cluster_size)
        return self._free.take(count) if count else []

    def _checked_length(self, length: int) -> int:
        if length > self._layout.largest_directory:
            raise OSError(errno.ENOSPC, "a directory would become longer than it can be")
        return length

    def _reserve_growth(self, directory: Directory) -> None:
        missing = self._missing(directory)
        if not missing:
            return
        if not directory.runs:
            raise OSError(errno.ENOSPC, "the root directory of the volume is full")
        length = self._checked_length(len(directory.slots) + missing * SLOT) - len(directory.slots)
        first = self._free.take_fitting(lambda cluster: self._layout.fits_behind(directory, cluster))
        self._grown.append((directory, [(first, 1), *self._take(max(0, length - self.cluster_size))]))

    def _missing(self, directory: Directory) -> int:
        """How many slots it is short of."""
        slots = FreeSlots(directory, self._layout)
        for count in self._counts(directory):
            slots.take(count)
        return slots.missing

    def _counts(self, directory: Directory) -> Iterator[int]:
        """The slots that each set takes that is added, or cannot be changed in place."""
        for child, _ in self._grown_below(directory):
            if child.own is not None and not self._is_in_place(directory, child.own):
                yield child.own.length
        for new in directory.added.values():
            if new.replaces is None:
                yield self._layout.slots_of(new.name)
            elif not self._is_in_place(directory, new.replaces):
                yield new.replaces.length

    def _is_in_place(self, directory: Directory, old: Old) -> bool:
        return fits_in_place(directory, *self._layout.changes(old))

    def _grown_below(self, parent: Directory) -> list[tuple[Directory, list[Run]]]:
        """The directories in it that grow, and of which it says how long they are."""
        return [
            (child, runs)
            for child, runs in self._grown
            if child.parent is parent and self._layout.length_in_parent(child) is not None
        ]

    def _directories(self) -> tuple[list[Directory], list[Directory]]:
        """Those that are there and those that are new, each before what is in it."""
        old: list[Directory] = []
        new: list[Directory] = []
        waiting = [self.root]
        while waiting:
            directory = waiting.pop()
            (new if directory.is_new else old).append(directory)
            waiting += [each.directory for each in directory.added.values() if each.directory is not None]
            waiting += directory.below.values()
        return old, new

    # Steps ---------------------------------------------------------------------------------------

    def steps(self) -> Iterator[Step]:
        """The writes that make everything there, behind those of the files' own bytes."""
        old, new = self._directories()
        added = [each for directory in chain(old, new) for each in directory.added.values()]
        if not added:
            return
        free_clusters = self._free_after(added)
        yield from self._unseen(new)
        yield from self._layout.clean(is_clean=False)
        yield BARRIER
        yield from self._chains(added)
        for directory in old:
            yield from self._entries(directory)
        for each in added:
            if each.replaces is not None:
                yield from self._layout.released(each.replaces)
        yield BARRIER
        yield from self._layout.counted(free_clusters)
        yield from self._layout.clean(is_clean=True)
        yield BARRIER

    def _unseen(self, new: list[Directory]) -> Iterator[Write]:
        """What stands in clusters that nothing leads to yet."""
        for directory in new:
            yield from self._contents(directory)
        for _, runs in self._grown:
            for first, count in runs:
                yield Write(self._layout.cluster_offset(first), bytes(count * self.cluster_size))

    def _contents(self, directory: Directory) -> Iterator[Write]:
        """The slots of a new directory, to its end."""
        sets = (self._layout.packed(directory, each) for each in directory.added.values())
        slots = b"".join((self._layout.beginning(directory), *sets))
        for first, count in directory.runs:
            length = count * self.cluster_size
            yield Write(self._layout.cluster_offset(first), slots[:length].ljust(length, b"\0"))
            slots = slots[length:]

    def _chains(self, added: list[New]) -> Iterator[Step]:
        """Chains to which nothing leads, then the ends of directories lead on to theirs."""
        for each in added:
            if each.runs:
                yield from self._layout.chained(each.runs)
        for _, runs in self._grown:
            yield from self._layout.chained(runs)
        yield BARRIER
        for directory, runs in self._grown:
            yield from self._layout.linked(directory, runs)
            places = [
                (self._layout.cluster_offset(first), count * self.cluster_size) for first, count in runs
            ]
            directory.slots += bytes(sum(length for _, length in places))
            directory.places += places
            yield BARRIER

    def _entries(self, directory: Directory) -> Iterator[Step]:
        """What is new in a directory that was there; first that those in it are longer."""
        grown_below = self._grown_below(directory)
        if not grown_below and not directory.added:
            return
        slots = SlotWriter(directory, self._layout)
        for child, runs in grown_below:
            assert child.own is not None
            grown = Place([*child.runs, *runs], len(child.slots))
            yield from slots.change(child.own, self._layout.changed(directory, child.own, grown, None))
        for each in directory.added.values():
            if each.replaces is None:
                yield from slots.add(self._layout.packed(directory, each))
            else:
                place = Place(each.runs, each.size)
                changed = self._layout.changed(directory, each.replaces, place, each.details)
                yield from slots.change(each.replaces, changed)
        yield BARRIER

    def _free_after(self, added: list[New]) -> int:
        """How many clusters will be free."""
        taken = [*(each.runs for each in added), *(runs for _, runs in self._grown)]
        given = [self._layout.clusters_of(each.replaces) for each in added if each.replaces is not None]
        return self._free_before - _clusters_in(taken) + _clusters_in(given)


def _clusters_in(chains: list[list[Run]]) -> int:
    return sum(count for runs in chains for _, count in runs)
