"""What every open disk can be used as, whatever it is made of: a file object, and a ``with`` block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.closing import ClosedAtEnd
from vhdx.disk.stream import DiskStream

if TYPE_CHECKING:
    from vhdx.disk.base import VirtualDisk


class OpenedDisk(ClosedAtEnd):
    """The part of a virtual disk that is built on its other verbs."""

    def stream(self: VirtualDisk) -> DiskStream:
        """The disk as a file object with a cursor of its own."""
        return DiskStream(self)
