"""Give a disk another size, the file held all the time; a GPT keeps a sound copy at every instant."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from vhdx.disk.chain import VhdxDisk
from vhdx.disk.children import refuse_orphans
from vhdx.disk.open import writable_disk
from vhdx.disk.parents import open_chain
from vhdx.disk.partitions import partition_table
from vhdx.disk.places import policy_from
from vhdx.errors import UnsupportedImageError
from vhdx.image import image
from vhdx.ops import resize_gpt
from vhdx.ops.info import file_systems_info
from vhdx.ops.make.plan import Rounding, disk_size_from
from vhdx.ops.resize_advice import file_system_in, growing, last_partition, limit, useless
from vhdx.ops.shrinking import refuse_data_loss
from vhdx.partitions.relocate import free_behind, minimum_size
from vhdx.progress import Meter, to_nobody
from vhdx.reshape.resize import resize as resize_image
from vhdx.storage.file import open_for_writing
from vhdx.text import brief
from vhdx.units import parse_size, size_text

if TYPE_CHECKING:
    from uuid import UUID

    from vhdx.disk.places import Parents
    from vhdx.disk.volumes import FileSystemOn
    from vhdx.partitions.table import Partition, PartitionTable
    from vhdx.progress import Advance, Progress
    from vhdx.storage.file import FileStorage


_WORTH_GROWING = 4096
"""Bytes behind the last partition from which on it is told how to make use of them."""


@brief("path", "virtual_size_before", "virtual_size_after")
class ResizeResult(NamedTuple):
    """What was done. Sizes in bytes; ``free_size`` is what the last partition could grow by.

    ``table_kind`` is ``"none"``, ``"mbr"``, ``"gpt"`` or ``"hybrid"``; ``table_moved`` says that the backup
    of a GPT stands at the new end now. ``remarks`` are sentences on what is not as it was asked for.
    ``limit`` says after ``to_minimum`` what keeps the disk from being smaller; ``grow_commands`` make use of
    a disk that grew, in a Linux guest. ``grown_partition`` is the number of one that got the space behind it.
    """

    path: str
    format: str
    virtual_size_before: int
    virtual_size_after: int
    file_size_before: int
    file_size_after: int
    table_kind: str
    table_moved: bool
    partitions: tuple[Partition, ...]
    free_size: int
    remarks: tuple[str, ...]
    limit: str | None = None
    grow_commands: tuple[str, ...] = ()
    grown_partition: int | None = None


def resize(
    path: str | os.PathLike[str],
    size: int | str | None = None,
    *,
    shrink: bool = False,
    to_minimum: bool = False,
    grow_partition: int | None = None,
    force: bool = False,
    parents: Parents = None,
    progress: Progress | None = None,
) -> ResizeResult:
    """Give the disk of an image another ``size``: bytes, a word, or a word with + or - in front.

    ``to_minimum`` goes down to the end of the last partition, without a table to that of the file system.
    What is added reads as zeros. Only zeros are cut, unless ``shrink`` allows to lose data. The backup of a
    GPT is moved to the new end; partitions and file systems keep their size, but for the partition of the
    number ``grow_partition``, which has to be the last one and gets all the space behind it, whether the disk
    gets another size or not. A crash leaves the old size or the new one, the old partition or the new one.

    Raises UnsupportedImageError for data that would be cut or overwritten, for a GPT that would not fit, for
    a partition that cannot grow and,
    unless ``force``, for an image with children beside it, which would lose their parent; ValueError for
    sizes that a disk cannot have; what opening raises; OSError (ENOSPC) with the old size in force.
    """
    path, rounding = os.fspath(path), Rounding()
    with contextlib.closing(open_for_writing(path)) as storage:
        size_before = storage.size()
        with writable_disk(storage.lent(), parents) as disk:
            table, old_size = partition_table(disk), disk.size
            if grow_partition is not None:
                resize_gpt.check_growable(disk, table, grow_partition)
                size = old_size if size is None else size
            last = last_partition(table)
            file_system = file_system_in(last, file_systems_info(disk))
            new_size = _minimum(table, last, file_system, disk) if to_minimum else _wanted(size, old_size)
            new_size = disk_size_from(new_size, disk.logical_sector_size, rounding)
            move = resize_gpt.planned(disk, table, new_size)
            if not force and (move.steps or new_size != old_size or grow_partition is not None):
                refuse_orphans(path, disk.layers[0].header.data_write_guid, "another size")
            if not shrink:
                backup = partial(resize_gpt.backup_around, disk, table)
                refuse_data_loss(disk, move.looked_at(new_size, old_size), may_go=backup, progress=progress)
            move.before(disk, growing=new_size > old_size)
        resize_storage(storage, new_size, parents=parents, advance=Meter(progress).advance)
        with writable_disk(storage.lent(), parents) as disk:
            move.after(disk, growing=new_size > old_size)
            has_grown = grow_partition is not None and resize_gpt.grow(disk, grow_partition)
            table = partition_table(disk) if has_grown else table
        size_after = storage.size()
    free = free_behind(table, new_size)
    fills = grow_partition is not None and last is not None and last.end <= new_size
    gained = fills or (new_size > old_size and free >= _WORTH_GROWING)
    end_is_useless = useless(table, new_size, file_system) if fills or new_size > old_size else ()
    return ResizeResult(
        path=path,
        format="vhdx",
        virtual_size_before=old_size,
        virtual_size_after=new_size,
        file_size_before=size_before,
        file_size_after=size_after,
        table_kind=table.kind,
        table_moved=bool(move.steps),
        partitions=table.partitions,
        free_size=free,
        remarks=(*rounding.sentences, *move.remarks, *end_is_useless),
        limit=limit(last, file_system) if to_minimum else None,
        grow_commands=growing(last, file_system, grown=fills) if gained else (),
        grown_partition=grow_partition if has_grown else None,
    )


def resize_storage(
    storage: FileStorage,
    disk_size: int,
    *,
    parents: Parents = None,
    identity: UUID | None = None,
    advance: Advance = to_nobody,
) -> None:
    """Give the image in a file that stays open the disk size, in bytes.

    Partitions and children are not asked. ``identity`` is the DataWriteGuid for the changed contents, a
    fresh one where it is None. ``advance`` is told what of the file is looked into.
    """
    layers = open_chain(image.load(storage), policy_from(parents), lock=True)
    below = VhdxDisk(layers[1:]) if layers[1:] else None
    try:
        resize_image(storage, disk_size, below=below, identity=identity, advance=advance)
    finally:
        if below is not None:
            below.close()


def _wanted(size: int | str | None, old_size: int) -> int:
    if size is None:
        raise ValueError("say a size, or that the disk is to get its minimum size")
    if not isinstance(size, str) or size[:1] not in ("+", "-"):
        return parse_size(size)
    difference = parse_size(size[1:])
    if size[0] == "+":
        return old_size + difference
    if difference >= old_size:
        raise ValueError(f"the disk has only {size_text(old_size)}, so it cannot get {size[1:]} smaller")
    return old_size - difference


def _minimum(
    table: PartitionTable, last: Partition | None, found: FileSystemOn | None, disk: VhdxDisk
) -> int:
    if last is None:
        if found is None or found.reasons:
            raise UnsupportedImageError(
                "there is no partition or file system that says where data ends", image=disk.chain[0]
            )
        return found.size
    minimum = minimum_size(table)
    if minimum > disk.size:
        raise UnsupportedImageError(
            f"partition {last.number} needs {minimum} bytes, more than the disk has", image=disk.chain[0]
        )
    return minimum
