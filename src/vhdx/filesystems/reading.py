"""What readers of file systems share: reads that cannot leave the space, and what is not understood."""

from __future__ import annotations

from vhdx.filesystems.area import Area
from vhdx.filesystems.base import Identity, NotFreeError, State
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import NoReturn

    from vhdx.filesystems.base import Read


def within(read: Read, space: int) -> Read:
    """``read`` for a file system in ``space`` bytes: a read that leaves these raises NotFreeError."""
    area = Area(read, space)
    return lambda length, offset: area.bytes_at(offset, length)


def power_of_two(value: int, least: int, most: int) -> bool:
    """Whether it is a power of two, and not outside of these limits."""
    return least <= value <= most and not value & (value - 1)


class NotUnderstood(NamedTuple):
    """A file system whose signature is there, but not more that is understood: never trusted."""

    identity: Identity
    reason: str
    state: State = "unknown"

    def trusted(self) -> NoReturn:
        """Raises NotFreeError."""
        raise NotFreeError(self.reason, self.state)
