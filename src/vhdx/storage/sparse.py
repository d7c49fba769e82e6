"""Whether files get holes: what the caller wants, and which file systems make Windows refuse such files.

Windows attaches no image that its file system calls sparse (0xC03A001A), and NTFS, also under Linux, and SMB
servers call a file so that ever got a hole.
"""

from __future__ import annotations

import contextlib
import os
import sys
from contextvars import ContextVar

from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal, TypeAlias

Sparse: TypeAlias = "Literal['auto', 'never', 'always']"
_WORDS = ("auto", "never", "always")
_wanted: ContextVar[Sparse] = ContextVar("sparse", default="auto")

_REFUSING = {
    "ntfs": "NTFS",
    "ntfs3": "NTFS",
    "fuseblk": "NTFS or exFAT",
    "exfat": "exFAT",
    "cifs": "an SMB share",
    "smb3": "an SMB share",
    "smbfs": "an SMB share",
    "vboxsf": "a folder of VirtualBox's host",
    "fuse.vmhgfs-fuse": "a folder of VMware's host",
    "drvfs": "a drive of Windows",
}
"""Types of file systems as Linux calls them."""
_WINDOWS_DRIVE = "aname=drvfs"
"""An option of the 9p file systems by which WSL mounts drives of Windows."""


@contextlib.contextmanager
def sparse(wanted: Sparse) -> Iterator[None]:
    """Say whether files that are opened or made inside the ``with``, by this thread, get holes.

    ``"auto"``, which is the default, makes none where Windows would refuse the file for it: on NTFS, exFAT,
    SMB shares and drives of Windows. ``"never"`` makes none anywhere: what grows is filled up. ``"always"``
    makes them wherever the host can. Raises ValueError for other words.
    """
    if wanted not in _WORDS:
        raise ValueError(f'sparse is {wanted!r}, must be "auto", "never" or "always"')
    token = _wanted.set(wanted)
    try:
        yield
    finally:
        _wanted.reset(token)


def always() -> bool:
    """Whether files get holes wherever the host can make some."""
    return _wanted.get() == "always"


def is_without_holes(device: int, is_ntfs: Callable[[], bool]) -> bool:
    """Whether a new or changed file gets no holes. The arguments are those of `refusing`."""
    wanted = _wanted.get()
    return wanted == "never" or (wanted == "auto" and refusing(device, is_ntfs) is not None)


def refusing(device: int, is_ntfs: Callable[[], bool]) -> str | None:
    """What a file system is on which Windows would refuse an image with holes; None for all others.

    Told by the number of its device and, of one whose driver is a program, by what that says of a file.
    """
    line = None
    if sys.platform.startswith("linux"):  # Windows makes holes only in files that were told to have some
        number = f"{os.major(device)}:{os.minor(device)}"
        line = next((line for line in _mounts() if line.split(" ", 3)[2] == number), None)
    return None if line is None else _named(line, is_ntfs)


def _mounts() -> list[str]:
    """The lines of ``mountinfo``; none where the host does not show it."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            return list(mounts)
    except OSError:
        return []


def _named(line: str, is_ntfs: Callable[[], bool]) -> str | None:
    """What a line of ``mountinfo`` names: behind a dash, type, source and options."""
    kind, _, options = line.rstrip("\n").partition(" - ")[2].partition(" ")
    if kind == "9p":
        return "a drive of Windows" if _WINDOWS_DRIVE in options else None
    if kind.startswith("fuse") and is_ntfs():
        return "NTFS"
    return _REFUSING.get(kind)
