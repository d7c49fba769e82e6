"""What is said where the host cannot read a disk: which range of it."""

from __future__ import annotations

from vhdx.storage.base import HostReadError


def told_of_disk(error: OSError, disk_offset: int, length: int) -> OSError:
    """An error of the host's disk with the range of the virtual disk that was read."""
    if isinstance(error, HostReadError):
        error.read_for(disk_offset, length)
    return error
