"""What every reader of a file system gives, and the two passes before any byte of it is called free.

Pass one, trust: the file system was unmounted cleanly, or its journal is replayed in memory. Pass two,
agreement: the whole of its bookkeeping is read and agrees with an independent number of the same file
system. The passes are types: what is only `Recognised` has no ranges, what is `Trusted` has none yet, and
only what is `Agreed` has them. Must not know partitions, images or files: bytes come from
``read(length, offset)``.
"""

from __future__ import annotations

from vhdx.typed import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Literal, TypeAlias

    import numpy as np
    from numpy.typing import NDArray

    Read = Callable[[int, int], bytes]
    Runs = NDArray[np.int64]

State: TypeAlias = "Literal['clean', 'replayed', 'unclean', 'unknown']"
"""``unclean``: not unmounted, damaged or contradictory. ``unknown``: recognised, but not understood."""


class FileSystem(NamedTuple):
    """A file system as one looks at it from outside. Sizes in bytes.

    ``free`` is what may be discarded, and ``used`` the rest of ``size``; both are None where nothing is
    known. After pass one only they are what the file system's own counters say. ``reasons`` are sentences why
    nothing of it may be called free, empty where it may.
    """

    kind: str
    label: str | None
    uuid: str | None
    size: int
    block_size: int
    used: int | None
    free: int | None
    state: State
    reasons: tuple[str, ...]


class Identity(NamedTuple):
    """What the first look tells, before anything is believed. ``size`` and ``block_size`` in bytes."""

    kind: str
    label: str | None
    uuid: str | None
    size: int
    block_size: int


class NotFreeError(Exception):
    """Why nothing of a file system may be called free: one sentence, and the state that follows from it.

    Stays inside this package: `examine` makes a reason of it.
    """

    def __init__(self, reason: str, state: State = "unclean") -> None:
        super().__init__(reason)
        self.reason = reason
        self.state = state


class Recognised(Protocol):
    """A file system whose signature was found. Nothing of it is believed yet."""

    @property
    def identity(self) -> Identity:
        """What it says of itself."""

    def trusted(self) -> Trusted:
        """Pass one. Raises NotFreeError where it was not unmounted cleanly and cannot be replayed."""


class Trusted(Protocol):
    """A file system that was unmounted cleanly, or whose journal is replayed in memory."""

    @property
    def state(self) -> State:
        """``"clean"`` or ``"replayed"``."""

    @property
    def claimed_free(self) -> int | None:
        """Free bytes by its own counters, where these cost one read at most; None where they do not."""

    def agreed(self) -> Agreed:
        """Pass two: reads all of its bookkeeping. Raises NotFreeError where the numbers do not agree."""


class Agreed(Protocol):
    """A file system whose whole bookkeeping was read and agrees with itself."""

    def free_runs(self) -> Iterator[Runs]:
        """The free ranges in arrays of bounded length: rows of (offset, length), ascending, disjoint.

        Bytes; offsets count from the start of the file system. May be asked more than once.
        """


class Examined:
    """The result for one file system. Only where both passes succeeded does it know free ranges."""

    def __init__(self, file_system: FileSystem, agreed: Agreed | None = None) -> None:
        self.file_system = file_system
        self._agreed = agreed

    def free_ranges(self) -> Iterator[tuple[int, int]]:
        """(offset, length) in bytes of what is certainly free, ascending, disjoint; none where in doubt."""
        for runs in self.free_runs():
            yield from map(tuple, runs.tolist())

    def free_runs(self) -> Iterator[Runs]:
        """The same as arrays of rows (offset, length)."""
        if self._agreed is not None:
            yield from self._agreed.free_runs()


def examine(found: Recognised, space: int, *, agree: bool = True) -> Examined:
    """Run the passes over a file system in ``space`` bytes of a disk; without ``agree`` only the first."""
    identity = found.identity
    try:
        if identity.size > space:
            raise NotFreeError(
                f"the file system has {identity.size} bytes and the space that it stands in only {space}"
            )
        trusted = found.trusted()
        if not agree:
            return Examined(_described(identity, trusted.claimed_free, trusted.state))
        agreed = trusted.agreed()
        free = _total(agreed.free_runs(), identity.size)
    except NotFreeError as error:
        return Examined(_described(identity, None, error.state, error.reason))
    return Examined(_described(identity, free, trusted.state), agreed)


def _described(identity: Identity, free: int | None, state: State, *reasons: str) -> FileSystem:
    used = None if free is None else identity.size - free
    return FileSystem(*identity, used=used, free=free, state=state, reasons=reasons)


def _total(chunks: Iterator[Any], size: int) -> int:
    """The bytes of all runs. Raises NotFreeError unless they are ascending, disjoint and inside."""
    total = end = 0
    for runs in chunks:
        if not len(runs):
            continue
        starts, lengths = runs[:, 0], runs[:, 1]
        ends = starts + lengths
        if lengths.min() <= 0 or starts[0] < end or ends[-1] > size or (starts[1:] < ends[:-1]).any():
            raise NotFreeError("its free ranges overlap, are out of order, or leave the file system")
        end = int(ends[-1])
        total += int(lengths.sum())
    return total
