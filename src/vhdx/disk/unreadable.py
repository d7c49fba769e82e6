"""What is said where the host cannot read a disk: which range of it, and what goes on."""

from __future__ import annotations

from vhdx.storage.base import HostReadError
from vhdx.text import command


def told_of_disk(error: OSError, disk_offset: int, length: int) -> OSError:
    """An error of the host's disk with the range of the virtual disk that was read, and what goes on."""
    if not isinstance(error, HostReadError):
        return error
    end = disk_offset + length
    advice = command("convert --salvage {} SALVAGED.vhdx", str(error.filename))
    error.strerror = (
        f"{error.strerror}, read for bytes {disk_offset} to {end} of the disk; copy the file with ddrescue, "
        f"or save everything else: {advice}"
    )
    return error
