"""Files that are being made: the names they have until then, and what dead processes left of theirs.

A part is called ``.vhdx-PROCESS-MACHINE-RANDOM-TARGET.part`` and locked as by a writer as long as it is
written. It is left over if nobody holds it and its process does not run any more; of another machine's
processes, which share the directory over a network, nothing is known but their parts.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
import time

from vhdx.storage.file import is_named
from vhdx.typed import TYPE_CHECKING, NamedTuple
from vhdx.units import format_size

if sys.platform == "win32":
    from vhdx.storage.windows import is_held
    from vhdx.storage.windows_processes import machine_tag, process_runs
else:
    from vhdx.storage.host import is_held, machine_tag, process_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = re.compile(r"\.vhdx-([1-9]\d{0,9})-([0-9a-f]{8})-[0-9a-f]{16}-(.+)\.part", re.DOTALL)
_TARGET_LENGTH = 64
"""Bytes of a target's name: hosts take 255 in all, some of those that encrypt names no more than 143."""
_LOCKED_BY = 60
"""Seconds after which who makes a part has locked it: one that nobody holds is not of a process that runs."""


class Part(NamedTuple):
    """What the name of a part says; ``target`` may be cut short."""

    process: int
    machine: str
    target: str


def part_name(target: str) -> str:
    """A new name for what is to become the file ``target``, without its directory."""
    words = (str(os.getpid()), machine_tag(), os.urandom(8).hex(), _shortened(target))
    return f".vhdx-{'-'.join(words)}.part"


def part_of(name: str) -> Part | None:
    """What the name of a part says, None if it is none."""
    found = _NAME.fullmatch(name)
    return Part(int(found[1]), found[2], found[3]) if found else None


@contextlib.contextmanager
def withdrawn_on_failure(final: str, identity: tuple[int, int]) -> Iterator[None]:
    """Take a new name away again if publishing fails: who is told of a failure must find no file."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            if is_named(final, identity):
                os.unlink(final)
        raise


def remove_left_over(final: str) -> list[str]:
    """Remove what dead processes left in the directory of ``final``; a sentence for each part.

    Where one of them left an empty file under the name, too, which it had to claim before it could rename,
    that goes as well.
    """
    directory, target = os.path.split(final)
    said: list[str] = []
    with contextlib.suppress(OSError), os.scandir(directory or ".") as entries:
        for entry in entries:
            part = part_of(entry.name)
            if part is not None:
                with contextlib.suppress(OSError):
                    said += _removed(os.path.join(directory, entry.name), part, final, _shortened(target))
    return said


def _removed(path: str, part: Part, final: str, target: str) -> Iterator[str]:
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        return
    size = format_size(status.st_size)
    if part.machine != machine_tag():
        if part.target == target:
            yield (
                f"{path} ({size}) is what process {part.process} of another machine makes, or left when it "
                f"ended: delete it if nothing there makes {part.target} any more"
            )
    elif _is_left_over(path, part, status.st_mtime):
        if part.target == target:
            _remove_claim(final, status.st_mtime_ns)
        os.unlink(path)
        yield (
            f"removed {path} ({size}), which process {part.process} left when it ended before {part.target} "
            "was made"
        )


def _is_left_over(path: str, part: Part, changed: float) -> bool:
    held = is_held(path)
    if held or not process_runs(part.process):
        return not held
    return held is False and time.time() - changed > _LOCKED_BY  # another process has the number now


def _remove_claim(final: str, made: int) -> None:
    """Remove the empty file by which the name was claimed; it is newer than the part, which was complete."""
    with contextlib.suppress(FileNotFoundError):
        status = os.lstat(final)
        if stat.S_ISREG(status.st_mode) and status.st_size == 0 and status.st_mtime_ns >= made:
            os.unlink(final)


def _shortened(name: str) -> str:
    while len(os.fsencode(name)) > _TARGET_LENGTH:
        name = name[:-1]
    return name
