"""What is mounted where, and unmounting it: done when the process that serves it has ended."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from vhdx.mount.fuse import FILE_SYSTEM_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOUNTS = "/proc/self/mountinfo"
_TYPE = f"fuse.{FILE_SYSTEM_TYPE}"


class Mounted(NamedTuple):
    """One mounted disk: where, by which process, of which image."""

    directory: str
    process: int
    image: str
    read_only: bool


def mounted_at(directory: str) -> Mounted:
    """The disk that is mounted at a directory. Raises OSError where there is none."""
    if not os.path.exists(_MOUNTS):
        raise OSError(errno.ENOTSUP, f"this host does not tell its mounts; try: umount {directory}")
    real = os.path.realpath(directory)
    with open(_MOUNTS, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        found = [mount for mount in _disks_in(file.read()) if mount.directory == real]
    if not found:
        os.stat(directory)
        raise OSError(errno.EINVAL, "no disk is mounted there", directory)
    return found[-1]  # the topmost


def _disks_in(mounts: str) -> Iterator[Mounted]:
    """The mounts of disks in proc(5)'s list: ``id parent device root DIR OPTIONS … - TYPE SOURCE …``.

    Anybody may mount anything anywhere: what does not read like a mount of ours is none.
    """
    for line in mounts.split("\n"):  # other ends of lines may stand in names
        about, _, origin = line.partition(" - ")
        kind, _, rest = origin.partition(" ")
        source = re.fullmatch(f"{FILE_SYSTEM_TYPE}:([0-9]+):(.+)", _plain(rest.partition(" ")[0]), re.DOTALL)
        if kind == _TYPE and source is not None:
            fields = about.split(" ")
            yield Mounted(_plain(fields[4]), int(source[1]), source[2], "ro" in fields[5].split(","))


def _plain(field: str) -> str:
    """A field without its escapes: a backslash and 040 is a space."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def unmount(mounted: Mounted) -> None:
    """Unmount a disk; return when the process that served it has closed the image and is gone.

    Raises OSError if the disk is in use.
    """
    with _watched(mounted) as process:
        command = _command()
        done = subprocess.run(  # noqa: S603  a list of arguments, no shell
            [*command, "--", mounted.directory], capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:] or ["the host refuses to unmount it"]
            raise OSError(errno.EBUSY, f"{said[0]}; fuser -m and losetup -a tell who uses it")
        if process is not None:
            select.select([process], [], [])


def _command() -> list[str]:
    """The helper that unmounts for people who are not root; else what root uses."""
    for helper in ("fusermount3", "fusermount"):
        found = shutil.which(helper)
        if found is not None:
            return [found, "-u"]
    return ["umount"]


@contextlib.contextmanager
def _watched(mounted: Mounted) -> Iterator[int | None]:
    """A descriptor that becomes readable when the process ends; None if it is gone already."""
    process = _opened(mounted.process) if _answers(mounted.directory) else None
    try:
        yield process
    finally:
        if process is not None:
            os.close(process)


def _answers(directory: str) -> bool:
    """Whether the mount is served still; if not, the number may be another process's by now."""
    try:
        os.stat(directory)
    except PermissionError:  # somebody else's mount: root unmounts it, but may not look inside
        return True
    except OSError:
        return False
    return True


def _opened(process: int) -> int | None:
    """A descriptor of a process; None if there is none of this number, or can be none."""
    try:
        return os.pidfd_open(process)
    except (OSError, OverflowError):
        return None
