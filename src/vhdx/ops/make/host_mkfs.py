"""The programs of the host that make the file systems which are not made here."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Asked(NamedTuple):
    """What to make in a raw file, which is a partition that begins at a sector of its disk."""

    kind: str
    path: str
    sector_size: int
    first_sector: int
    label: str | None
    contents: str | None


class Program(NamedTuple):
    """A program, the Debian package that has it, and its words."""

    name: str
    package: str
    words: Callable[[Asked], list[str]]


def _ext(asked: Asked) -> list[str]:
    block = ["-b", "4096"] if asked.sector_size == 4096 else []
    label = [] if asked.label is None else ["-L", asked.label]
    contents = [] if asked.contents is None else ["-d", asked.contents]
    return ["-q", "-F", *block, *label, *contents]


def _ntfs(asked: Asked) -> list[str]:
    label = [] if asked.label is None else ["-L", asked.label]
    geometry = ["-s", str(asked.sector_size), "-p", str(asked.first_sector), "-H", "255", "-S", "63"]
    return ["-F", "-q", "-Q", *geometry, *label]


def _xfs(asked: Asked) -> list[str]:
    label = [] if asked.label is None else ["-L", asked.label]
    return ["-q", "-s", f"size={asked.sector_size}", *label]


def _exfat(asked: Asked) -> list[str]:
    if asked.sector_size != 512:
        raise ValueError("mkfs.exfat makes volumes with sectors of 512 bytes only in files")
    return [] if asked.label is None else ["-L", asked.label]


PROGRAMS = {
    "exfat": Program("mkfs.exfat", "exfatprogs", _exfat),
    **{kind: Program(f"mkfs.{kind}", "e2fsprogs", _ext) for kind in ("ext2", "ext3", "ext4")},
    "ntfs": Program("mkfs.ntfs", "ntfs-3g", _ntfs),
    "xfs": Program("mkfs.xfs", "xfsprogs", _xfs),
}
FILLING = ("ext2", "ext3", "ext4")
"""Kinds whose program puts files in, too."""
FILLED_HERE = ("exfat",)
_ADMINISTRATORS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def check(kind: str, *, has_contents: bool) -> None:
    """Raise OSError where the program is missing, ValueError where nothing puts files into the kind."""
    _found(PROGRAMS[kind])
    if has_contents and kind not in (*FILLING, *FILLED_HERE):
        kinds = ", ".join(("fat12", "fat16", "fat32", *FILLED_HERE, *FILLING))
        raise ValueError(f"nothing here puts files into a new {kind}: that is done for {kinds}")


def run(asked: Asked) -> None:
    """Make it. Raises OSError with what the program says where it fails."""
    program = PROGRAMS[asked.kind]
    done = subprocess.run(  # noqa: S603  a list of arguments, no shell
        [_found(program), *program.words(asked), asked.path], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it fails").splitlines()
        raise OSError(errno.EIO, f"{program.name}: {said[0].removeprefix(f'{program.name}: ')}")


def _found(program: Program) -> str:
    """Its path; those who are not root have no directory of the administrators' in theirs."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_ADMINISTRATORS))
    found = shutil.which(program.name, path=path)
    if found is None:
        said = f"{program.name} is not installed; try: apt-get install {program.package}"
        raise OSError(errno.ENOSYS, said)
    return found
