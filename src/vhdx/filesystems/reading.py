"""What readers of file systems share: reads that cannot leave the space, and what is not understood."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, NoReturn

from vhdx.filesystems.base import Identity, NotFreeError, State

if TYPE_CHECKING:
    from vhdx.filesystems.base import Read


def within(read: Read, space: int) -> Read:
    """``read`` for a file system in ``space`` bytes: a read that leaves these raises NotFreeError."""

    def checked(length: int, offset: int) -> bytes:
        if offset < 0 or length < 0 or offset + length > space:
            raise NotFreeError(
                f"it refers to {length} bytes at {offset}, and the space that it stands in ends at {space}"
            )
        data = read(length, offset)
        if len(data) != length:
            raise NotFreeError(f"{length} bytes at {offset} cannot be read, only {len(data)}")
        return data

    return checked


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
