"""Give a disk another size; a GPT keeps a sound copy at every instant."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

from vhdx.disk.chain import Disk
from vhdx.disk.children import children_beside
from vhdx.disk.open import open_disk
from vhdx.disk.parents import open_chain, policy_from
from vhdx.disk.partitions import partition_table
from vhdx.errors import UnsupportedImageError
from vhdx.image import image
from vhdx.image.resize import resize as resize_image
from vhdx.ops.plan import Rounding, disk_size_from
from vhdx.partitions.relocate import Step, free_behind, minimum_size, relocated
from vhdx.storage.file import open_for_writing
from vhdx.units import MIB, format_size, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from vhdx.disk.parents import Parents
    from vhdx.partitions.table import Partition, PartitionTable

    Progress = Callable[[int, int | None], None]

_RECORD_SIZE = 512


class ResizeResult(NamedTuple):
    """What was done. Sizes in bytes; ``free_size`` is what the last partition could grow by.

    ``table_kind`` is ``"none"``, ``"mbr"``, ``"gpt"`` or ``"hybrid"``; ``table_moved`` says that the backup
    of a GPT stands at the new end now. ``remarks`` are sentences on what is not as it was asked for.
    """

    path: str
    old_size: int
    new_size: int
    file_size: int
    table_kind: str
    table_moved: bool
    partitions: tuple[Partition, ...]
    free_size: int
    remarks: tuple[str, ...]


def resize(
    path: str | os.PathLike[str],
    size: int | str | None = None,
    *,
    shrink: bool = False,
    to_minimum: bool = False,
    force: bool = False,
    parents: Parents = None,
    progress: Progress | None = None,
) -> ResizeResult:
    """Give the disk of an image another ``size``: bytes, a word, or a word with + or - in front.

    ``to_minimum`` goes down to the end of the last partition. What is added reads as zeros. Only zeros are
    cut, unless ``shrink`` allows to lose data. The backup of a GPT is moved to the new end; partitions and
    file systems keep their size. A crash leaves the old size or the new one.

    Raises UnsupportedImageError for data that would be cut, for a GPT that would not fit and, unless
    ``force``, for an image with children beside it, which would lose their parent; ValueError for sizes
    that a disk cannot have; what opening raises; OSError (ENOSPC) with the old size in force.
    """
    path, rounding = os.fspath(path), Rounding()
    with open_disk(path, parents=parents) as disk:
        old_size, table = disk.size, partition_table(disk)
        new_size = minimum_size(table) if to_minimum else _wanted(size, old_size)
        if to_minimum and table.kind == "none":
            raise UnsupportedImageError("there is no partition table that says where data ends", image=path)
        new_size = disk_size_from(new_size, disk.logical_sector_size, rounding)
        steps = _gpt_steps(disk, table, new_size)
        if not force:
            _refuse_orphans(disk)
        if new_size < old_size and not shrink:
            _refuse_data_loss(disk, table, range(new_size, old_size), progress)
        left = _left_behind(disk, table, new_size)
    if new_size < old_size:
        _take(path, steps, range(0), parents)
    resize_file(path, new_size, parents=parents)
    if new_size >= old_size:
        _take(path, steps, left, parents)
    return ResizeResult(
        path,
        old_size,
        new_size,
        os.path.getsize(path),
        table.kind,
        bool(steps),
        table.partitions,
        free_behind(table, new_size),
        tuple(rounding.sentences),
    )


def _wanted(size: int | str | None, old_size: int) -> int:
    if size is None:
        raise ValueError("say a size, or that the disk is to get its minimum size")
    if isinstance(size, str) and size[:1] in ("+", "-"):
        difference = parse_size(size[1:])
        return old_size + difference if size[0] == "+" else old_size - difference
    return parse_size(size)


def _gpt_steps(disk: Disk, table: PartitionTable, new_size: int) -> tuple[Step, ...]:
    """What moves the backup of a GPT; empty where there is none, or where it is at that end already."""
    if table.gpt is None or table.sector_size != disk.logical_sector_size:
        return ()
    at_the_end = table.gpt.header.last_usable == _last_usable(table, new_size)
    if new_size == disk.size and at_the_end and not table.findings:
        return ()
    try:
        return relocated(table.gpt, disk.pread(_RECORD_SIZE, 0), new_size)
    except ValueError as error:
        reason = f"{error}; make the last partitions smaller first"
        raise UnsupportedImageError(reason, image=disk.chain[0], structure="GPT") from None


def _last_usable(table: PartitionTable, size: int) -> int:
    assert table.gpt is not None
    return (size - table.gpt.backup_length) // table.sector_size - 1


def _refuse_orphans(disk: Disk) -> None:
    image_path = disk.chain[0]
    children = list(children_beside(image_path, disk.layers[0].header.data_write_guid))
    if children:
        raise UnsupportedImageError(
            f"another size would take their parent from {', '.join(children)}; --force does it nevertheless",
            image=image_path,
            rule="2.2.2.1",
        )


def _backup(disk: Disk, table: PartitionTable) -> range:
    """The disk offsets of the backup of a GPT that stands as everybody lays it out: entries, then header."""
    if table.gpt is None or table.gpt.backup_damage is not None:
        return range(0)
    end = (table.gpt.backup_sector + 1) * table.sector_size
    start = end - table.gpt.backup_length
    entries = table.gpt.entries
    stands_there = start >= 0 and end <= disk.size and disk.pread(len(entries), start) == entries
    return range(start, end) if stands_there else range(0)


def _refuse_data_loss(disk: Disk, table: PartitionTable, cut: range, progress: Progress | None) -> None:
    """Raise if anything but zeros and the backup of a GPT, which moves, would be cut."""
    backup = _backup(disk, table)
    for start, length in disk.data_ranges(offset=cut.start, length=len(cut)):
        for offset in range(start, start + length, MIB):
            piece = bytearray(disk.pread(min(MIB, start + length - offset), offset))
            if progress is not None:
                progress(offset - cut.start, len(cut))
            moves = range(max(backup.start, offset), min(backup.stop, offset + len(piece)))
            piece[moves.start - offset : moves.stop - offset] = bytes(len(moves))
            if piece.count(0) != len(piece):
                raise _loss(disk, table, offset + len(piece) - len(piece.lstrip(b"\0")), cut.start)


def _loss(disk: Disk, table: PartitionTable, first: int, new_size: int) -> UnsupportedImageError:
    inside = [str(p.number) for p in table.partitions if p.offset <= first < p.end]
    where = f", in partition {inside[0]}" if inside else ""
    return UnsupportedImageError(
        f"{format_size(new_size)} would cut data: the first byte that is not zero stands at disk offset "
        f"{first}{where}; shrink what is there first, or lose it with --shrink",
        image=disk.chain[0],
    )


def _left_behind(disk: Disk, table: PartitionTable, new_size: int) -> range:
    """What stays of the old backup when the new one stands behind it: free space, to be cleared."""
    backup = _backup(disk, table)
    new_start = new_size - table.gpt.backup_length if table.gpt is not None else 0
    return range(backup.start, min(backup.stop, new_start))


def _take(path: str, steps: tuple[Step, ...], left: range, parents: Parents) -> None:
    """Write the steps of moving a GPT, each durable where the next one counts on it; clear what is left."""
    if not steps:
        return
    with open_disk(path, "r+", parents=parents) as disk:
        for step in steps:
            disk.pwrite(step.data, step.disk_offset)
            if step.flush_after:
                disk.flush()
        if left:
            disk.zero(len(left), left.start)


def resize_file(path: str, disk_size: int, *, parents: Parents = None, identity: UUID | None = None) -> None:
    """Give the image the disk size, in bytes; its partitions and its children are not asked.

    ``identity`` is the DataWriteGuid for the changed contents, a fresh one where it is None.
    """
    with contextlib.closing(open_for_writing(path)) as storage:
        layers = open_chain(image.load(storage), policy_from(parents), lock=True)
        below = Disk(layers[1:]) if layers[1:] else None
        try:
            resize_image(storage, disk_size, below=below, identity=identity)
        finally:
            if below is not None:
                below.close()
