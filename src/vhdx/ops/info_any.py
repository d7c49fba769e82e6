"""Say what a VHDX, a VHD or a raw disk is: everything that can be told without reading the disk."""

from __future__ import annotations

from vhdx.disk.formats import (
    closing_on_failure,
    format_of_contents,
    format_of_name,
    image_in,
    policy_of,
    storage_of,
)
from vhdx.ops.info import ImageInfo, allocated_size, file_systems_info, info_of_image, table_info
from vhdx.text import brief
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from vhdx.disk.formats import Format, Openable
    from vhdx.disk.places import Parents
    from vhdx.disk.raw import RawDisk
    from vhdx.disk.volumes import FileSystemOn
    from vhdx.ops.info import TableInfo
    from vhdx.ops.info_vhd import VhdInfo
    from vhdx.progress import Progress
    from vhdx.storage.base import ReadableStorage


@brief("path", "format", "virtual_size", "file_size")
class RawInfo(NamedTuple):
    """What a raw disk is; sizes in bytes. ``allocated_size`` is None where the host does not tell it."""

    path: str
    format: str
    virtual_size: int
    file_size: int
    allocated_size: int | None
    disk_type: str
    logical_sector_size: int
    physical_sector_size: int
    partition_table: TableInfo
    file_systems: tuple[FileSystemOn, ...]
    notes: tuple[str, ...]


Info: TypeAlias = "ImageInfo | VhdInfo | RawInfo"


def info_any(
    file: Openable,
    *,
    image_format: Format | None = None,
    chain: bool = False,
    blocks: bool | None = None,
    parents: Parents = None,
    lock: bool = True,
    progress: Progress | None = None,
) -> ImageInfo | VhdInfo | RawInfo:
    """What a file is that `vhdx.open` opens; ``format`` of the result says which of the three it is.

    All three have ``path``, ``format``, ``virtual_size``, ``file_size``, ``allocated_size``, ``disk_type``,
    sector sizes, ``partition_table``, ``file_systems`` and ``notes``. ``blocks`` None counts the blocks of a
    VHDX only where its table is at most 1 MiB. ``chain`` opens the parents, which are otherwise not looked
    for. ``progress`` is called with the bytes of the disk that were counted and its size. Raises what opening
    raises.
    """
    storage = storage_of(file, lock=lock)
    with closing_on_failure(storage):
        found = image_format or format_of_contents(file, storage)
        if found == "raw":
            return _raw_info(storage, is_said=image_format == "raw" or format_of_name(storage.name) == "raw")
        policy = policy_of(file, parents)
        if found == "vhd":
            from vhdx.ops.info_vhd import info_of_vhd  # noqa: PLC0415  the older format is the rarer one

            return info_of_vhd(storage, chain=chain, parents=policy, lock=lock)
        image = image_in(storage)
    return info_of_image(image, chain=chain, blocks=blocks, parents=policy, lock=lock, progress=progress)


def _raw_info(storage: ReadableStorage, *, is_said: bool) -> RawInfo:
    from vhdx.disk.raw import RawDisk  # noqa: PLC0415  whoever asks about an image need not wait for it

    with RawDisk(storage) as disk:
        table, found = table_info(disk), file_systems_info(disk)
        known = is_said or table.kind != "none" or bool(found)
        return RawInfo(
            path=storage.name,
            format=disk.format,
            virtual_size=disk.size,
            file_size=disk.stored_size,
            allocated_size=allocated_size(storage),
            disk_type=disk.disk_type,
            logical_sector_size=disk.logical_sector_size,
            physical_sector_size=disk.physical_sector_size,
            partition_table=table,
            file_systems=found,
            notes=tuple(_notes(disk, is_known=known)),
        )


def _notes(disk: RawDisk, *, is_known: bool) -> Iterator[str]:
    if not is_known:
        yield "nothing says what it is: it is taken for a raw disk"
    filled = disk.size - disk.stored_size
    if filled:
        yield f"its last sector lacks {filled} bytes, which read as zeros"
