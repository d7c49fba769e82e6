"""What every open disk can be used as, whatever it is made of: a file object, and a ``with`` block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.disk.stream import DiskStream

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from vhdx.disk.base import VirtualDisk


class OpenedDisk:
    """The part of a virtual disk that is built on its other verbs."""

    def stream(self: VirtualDisk) -> DiskStream:
        """The disk as a file object with a cursor of its own."""
        return DiskStream(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self: VirtualDisk,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
