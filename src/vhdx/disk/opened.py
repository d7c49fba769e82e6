"""What every open disk can be used as, whatever it is made of: a file object, and a ``with`` block."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vhdx.closing import ClosedAtEnd
from vhdx.disk.stream import DiskStream

if TYPE_CHECKING:
    from vhdx.disk.base import VirtualDisk


class OpenedDisk(ClosedAtEnd):
    """The part of a virtual disk that is built on its other verbs."""

    def volumes(self: VirtualDisk) -> tuple[Any, ...]:
        """The volumes whose files can be read, as `vhdx.files.volumes` gives them, where they have a type."""
        # By name: files stand on disks. This is a shorter word for people, which nothing here uses.
        found: tuple[Any, ...] = import_module("vhdx.files").volumes(self)
        return found

    def stream(self: VirtualDisk) -> DiskStream:
        """The disk as a file object with a cursor of its own."""
        return DiskStream(self)
