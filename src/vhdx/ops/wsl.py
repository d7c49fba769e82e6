"""The disks of WSL's distributions and of Docker Desktop, by the names that people know."""

from __future__ import annotations

import errno
import ntpath
import os
from typing import TYPE_CHECKING, NamedTuple

from vhdx.errors import ImageLockedError, VhdxError
from vhdx.ops import docker, registry

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIXES = ("wsl:", "docker:")
_DISK = "ext4.vhdx"
_DOCKER = "docker"


class LinuxDisk(NamedTuple):
    """A disk that Linux uses on Windows. Sizes in bytes, None where they are not known.

    ``used_size`` is what its file systems have in use, ``compacted_size`` the length of the file after
    `compact`, ``discarded_size`` after `compact` with ``discard_free``; ``problem`` says why some are not
    known.
    """

    name: str
    is_default: bool
    path: str
    format: str | None = None
    virtual_size: int | None = None
    file_size: int | None = None
    used_size: int | None = None
    compacted_size: int | None = None
    discarded_size: int | None = None
    problem: str | None = None


class LinuxDisks(NamedTuple):
    """All disks that Linux uses on this Windows: those of distributions, then Docker's."""

    disks: tuple[LinuxDisk, ...]


class _Named(NamedTuple):
    name: str
    is_default: bool
    path: str


def is_address(text: str) -> bool:
    """Whether a word names such a disk, on a host that has some."""
    return text.startswith(PREFIXES) and registry.is_here()


def path_of(address: str) -> str:
    """The image of ``wsl:NAME``, ``wsl:`` (the default distribution) or ``docker:``. Raises OSError."""
    kind, _, name = address.partition(":")
    named = list(_disks())
    for disk in named:
        if kind == _DOCKER and disk.name == _DOCKER:
            return disk.path
        if _DOCKER not in (kind, disk.name) and _is_meant(disk, name):
            return disk.path
    known = ", ".join(disk.name for disk in named) or "none"
    raise FileNotFoundError(errno.ENOENT, f"no such disk of WSL or Docker; there are: {known}", address)


def _is_meant(disk: _Named, name: str) -> bool:
    return disk.is_default if not name else disk.name.casefold() == name.casefold()


def linux_disks() -> LinuxDisks:
    """All of them, with what a compaction would make of each. Raises OSError where there is no registry."""
    return LinuxDisks(tuple(_measured(disk) for disk in _disks()))


def _disks() -> Iterator[_Named]:
    found = registry.keys()
    default = found.get("", {}).get("DefaultDistribution")
    dockers = []
    for key, values in found.items():
        name, base = values.get("DistributionName"), values.get("BasePath")
        if not key or not isinstance(name, str) or not isinstance(base, str):
            continue
        if name == "docker-desktop":
            dockers.append(ntpath.dirname(base.rstrip("\\")))
        if values.get("Version", 2) == 2:  # those of WSL 1 have no disk
            file = ntpath.join(base, str(values.get("VhdFileName", _DISK)))
            yield _Named(name, key == default, registry.host_path(file))
    path = docker.disk_path(dockers)
    if path is not None:
        yield _Named(_DOCKER, False, path)


def _measured(disk: _Named) -> LinuxDisk:
    found = LinuxDisk(*disk)
    try:
        for look in (_sized, _opened, _compacted, _discarded):
            found = look(found)
    except ImageLockedError:
        return found._replace(problem="in use; try: wsl --shutdown")
    except VhdxError as error:
        return found._replace(problem=error.message)
    except OSError as error:
        return found._replace(problem=error.strerror or str(error))
    return found


def _sized(disk: LinuxDisk) -> LinuxDisk:
    return disk._replace(file_size=os.stat(disk.path).st_size)


def _opened(disk: LinuxDisk) -> LinuxDisk:
    from vhdx.disk.open import open_any  # noqa: PLC0415  whoever only wants a path need not wait
    from vhdx.disk.volumes import file_systems  # noqa: PLC0415

    with open_any(disk.path) as opened:
        used = [each.used for each in file_systems(opened) if each.used is not None]
        size = sum(used) if used else None
        return disk._replace(format=opened.format, virtual_size=opened.size, used_size=size)


def _compacted(disk: LinuxDisk) -> LinuxDisk:
    from vhdx.ops.compact import compact  # noqa: PLC0415  whoever only wants a path need not wait

    return disk._replace(compacted_size=compact(disk.path, dry_run=True).file_size_after)


def _discarded(disk: LinuxDisk) -> LinuxDisk:
    from vhdx.ops.compact import compact  # noqa: PLC0415  whoever only wants a path need not wait

    found = compact(disk.path, dry_run=True, discard_free=True)
    return disk._replace(discarded_size=found.file_size_after)
