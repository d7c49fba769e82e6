"""How much of a disk is still whole where its file ends early, as a download does that was broken off."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from vhdx.disk.chain import VhdxDisk
from vhdx.disk.partitions import partition_table
from vhdx.disk.volumes import volumes
from vhdx.errors import VhdxError
from vhdx.extents import ExtentKind
from vhdx.storage.runs import Runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vhdx.disk.base import VirtualDisk
    from vhdx.extents import Doubt
    from vhdx.storage.base import ReadableStorage


class PartitionShare(NamedTuple):
    """A partition: its number, its length and how much of it is lost or doubtful, in bytes."""

    number: int
    length: int
    lost: int


class FileSystemShare(NamedTuple):
    """A file system: in which volume, of which kind, how much is in use, how much of that is lost, in bytes.

    Both are None where what it keeps of its space is lost, too, or in doubt: ``reason`` says why.
    """

    name: str
    kind: str
    used: int | None
    lost: int | None
    reason: str | None


class WholeShare(NamedTuple):
    """What the file was to hold of a disk, and how much of that is lost or doubtful, in bytes."""

    stored: int
    lost: int
    partitions: tuple[PartitionShare, ...]
    file_systems: tuple[FileSystemShare, ...] = ()


def whole_share(storage: ReadableStorage, name: str) -> WholeShare | None:
    """What is whole of an image of the format ``name`` that ends early; None if nothing of it can be read."""
    try:
        disk = _opened(storage, name)
        return _share(disk, disk.doubts)
    except VhdxError:
        return None  # which the findings say


def _opened(storage: ReadableStorage, name: str) -> VirtualDisk:
    """The disk of this file alone. Nobody closes it: the storage stays its opener's."""
    if name == "vhd":
        from vhdx.disk.vhd import VhdDisk  # noqa: PLC0415  the older format is the rarer one
        from vhdx.examine.vhd_salvage import SalvagedVhd  # noqa: PLC0415

        return VhdDisk([SalvagedVhd(storage)])
    from vhdx.examine import salvage  # noqa: PLC0415  sound images need not wait for it

    return VhdxDisk([salvage.load(storage)])


def _share(disk: VirtualDisk, doubts: Iterable[Doubt]) -> WholeShare:
    lost = Runs()
    for doubt in doubts:
        lost.add(doubt.offset, doubt.offset + doubt.length)
    lost_bytes = _inside(lost, 0, disk.size)
    stored = lost_bytes
    for extent in disk.extents():
        if extent.kind is ExtentKind.DATA:
            stored += extent.length - _inside(lost, extent.offset, extent.end)
    partitions = tuple(
        PartitionShare(each.number, each.length, _inside(lost, each.offset, each.offset + each.length))
        for each in partition_table(disk).partitions
    )
    return WholeShare(stored, lost_bytes, partitions, tuple(_file_systems(disk, lost)))


def _file_systems(disk: VirtualDisk, lost: Runs) -> Iterator[FileSystemShare]:
    """What of the contents of file systems is lost; nothing of those that cannot be told."""
    with contextlib.suppress(VhdxError):
        for volume in volumes(disk):
            found = volume.summary
            if found.used is None:
                yield FileSystemShare(found.name, found.kind, None, None, next(iter(found.reasons), None))
                continue
            segments = volume.map.segments
            gone = sum(_inside(lost, each.disk_offset, each.disk_offset + each.length) for each in segments)
            free = sum(
                _inside(lost, at, at + length) for at, length in (volume.free_ranges() if gone else ())
            )
            yield FileSystemShare(found.name, found.kind, found.used, gone - free, None)


def _inside(runs: Runs, start: int, end: int) -> int:
    return sum(high - low for low, high in runs.within(start, end))
