"""From the file of an image to another file of the host, by the kernel: nobody looks at the bytes."""

from __future__ import annotations

from vhdx.disk.chain import VhdxDisk
from vhdx.disk.raw import RawDisk
from vhdx.disk.vhd import VhdDisk
from vhdx.extents import ExtentKind, merged
from vhdx.storage.file import FileStorage
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from vhdx.disk.opened import Disk
    from vhdx.storage.base import ReadableStorage


def storages_of(disk: Disk) -> tuple[ReadableStorage, ...]:
    """The files of a disk, from the top to the base; none of a disk that is part of another."""
    if isinstance(disk, RawDisk):
        return (disk.storage,)
    return tuple(layer.storage for layer in disk.layers) if isinstance(disk, VhdxDisk | VhdDisk) else ()


def sent(disk: Disk, output: int, length: int, offset: int) -> int:
    """How many bytes of a range, from its start on, were copied to where a descriptor stands.

    0 where somebody has to read them and write them: zeros that are not stored, a log that is replayed in
    memory, a disk that may change, a host that cannot.
    """
    storages = storages_of(disk)
    if not disk.read_only or not storages:
        return 0
    extent = next(merged(disk.extents(offset=offset, length=length)))
    if extent.kind is not ExtentKind.DATA or extent.file_offset is None:
        return 0
    storage = storages[extent.depth - 1]
    if not isinstance(storage, FileStorage):
        return 0
    return storage.send(output, extent.length, extent.file_offset)
