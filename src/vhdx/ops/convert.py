"""Convert between raw disks and images, in one forward pass into a file that appears whole or not at all."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vhdx.disk.chain import Disk
from vhdx.disk.open import SUFFIXES
from vhdx.ops.child import identity_of, user_items_of
from vhdx.ops.create import NOT_RESERVED
from vhdx.ops.plan import ImageOptions, Rounding, disk_size_from, plan_from, vhd_size_from
from vhdx.ops.sink import ImageSink, RawSink, VhdSink
from vhdx.ops.source import open_source
from vhdx.storage.publish import new_file
from vhdx.storage.zeros import nonzero_runs
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdx.disk.open import Format
    from vhdx.disk.parents import Parents
    from vhdx.image.build import ImagePlan
    from vhdx.ops.sink import Sink
    from vhdx.ops.source import Source
    from vhdx.storage.file import FileStorage

    Progress = Callable[[int, int | None], None]

_WRITE_BACK_EVERY = 32 * MIB


@dataclass(frozen=True, slots=True)
class ConvertResult:
    """What was made. Sizes in bytes; ``data_size`` is how much of the disk's contents was written."""

    source_format: str
    target_format: str
    virtual_size: int
    file_size: int
    data_size: int
    remarks: tuple[str, ...]


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    source_format: Format | None = None,
    target_format: Format | None = None,
    options: ImageOptions | None = None,
    partition: int | None = None,
    parents: Parents = None,
    overwrite: bool = False,
    lock: bool = True,
    progress: Progress | None = None,
) -> ConvertResult:
    """Write the contents of ``source`` into a new file ``target``.

    ``source`` is a raw file, a block device, a VHDX or VHD with all its parents, or ``"-"`` for raw on
    standard input. Formats are told by content and by the target's suffix unless given. A VHDX target is
    made as ``options`` say; from a VHDX it keeps disk id, sector sizes and the user items that belong to
    the disk. A VHD target is a fixed one, rounded up to whole MiB, as Azure wants it. ``partition`` takes the
    partition of this number alone, which becomes a disk of its own. Holes and blocks of zeros are not
    stored. ``progress`` is called with the bytes done and the size of the disk (None while that is not
    known). ``lock=False`` reads a source that somebody else writes to.

    Raises what opening and `create` raise; ValueError for a target that is part of the source.
    """
    target = os.fspath(target)
    wanted = target_format or _format_of(target)
    _refuse_options(wanted, options)
    rounding = Rounding()
    with open_source(
        os.fspath(source), source_format, parents=parents, lock=lock, partition=partition
    ) as opened:
        _refuse_own_layer(opened, target)
        plan = _plan(opened, options or ImageOptions(), rounding) if wanted == "vhdx" else None
        disk_size = None if opened.size is None else _disk_size(opened.size, wanted, plan, rounding)
        with new_file(target, overwrite=overwrite) as storage:
            sink = _sink(storage, wanted, plan, disk_size)
            written = _copy(opened, sink, storage, progress)
            if disk_size is None:
                disk_size = _disk_size(opened.size or 0, wanted, plan, rounding)
            file_size = sink.finish(disk_size)
    remarks = (*rounding.sentences, *(() if sink.reserved else (NOT_RESERVED,)))
    return ConvertResult(opened.format, wanted, disk_size, file_size, written, remarks)


def _refuse_options(wanted: Format, options: ImageOptions | None) -> None:
    """Raise ValueError for options of images that a target of this format does not have."""
    usual = replace(options or ImageOptions(), disk_type="dynamic") if wanted == "vhd" else options
    if wanted != "vhdx" and usual not in (None, ImageOptions()):
        raise ValueError(f"a {wanted} target has no block size, log, sector sizes or disk id to choose")
    if wanted == "raw" and options is not None and options.disk_type != "dynamic":
        raise ValueError("a raw target has no type")


def _format_of(target: str) -> Format:
    if target == "-":
        raise ValueError("a disk is converted into a file, not to standard output")
    suffix = os.path.splitext(target)[1].lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"the suffix of {target} does not tell a format ({' '.join(SUFFIXES)}); "
            "say -O raw, -O vhdx or -O vhd"
        )
    return SUFFIXES[suffix]


def _refuse_own_layer(source: Source, target: str) -> None:
    if source.disk is not None and os.path.exists(target) and identity_of(target) in source.disk.files():
        raise ValueError(f"{target} is the source or one of its parents")


def _plan(source: Source, options: ImageOptions, rounding: Rounding) -> ImagePlan:
    disk = source.disk
    if disk is None or source.format == "raw":
        return plan_from(options, source.size, rounding)
    kept = replace(
        options,
        logical_sector_size=options.logical_sector_size or disk.logical_sector_size,
        physical_sector_size=options.physical_sector_size or disk.physical_sector_size,
    )
    if not isinstance(disk, Disk):  # a partition is another disk
        return plan_from(kept, source.size, rounding)
    kept = replace(kept, disk_id=options.disk_id or disk.disk_id)
    return plan_from(kept, source.size, rounding, user_items_of(disk.layers[0]))


def _disk_size(size: int, wanted: Format, plan: ImagePlan | None, rounding: Rounding) -> int:
    if wanted == "vhd":
        return vhd_size_from(size, rounding)
    return disk_size_from(size, 1 if plan is None else plan.logical_sector_size, rounding)


def _sink(storage: FileStorage, wanted: Format, plan: ImagePlan | None, disk_size: int | None) -> Sink:
    if plan is not None:
        return ImageSink(storage, plan, disk_size)
    return VhdSink(storage) if wanted == "vhd" else RawSink(storage)


def _copy(source: Source, sink: Sink, storage: FileStorage, progress: Progress | None) -> int:
    """Copy what is not zeros; how many bytes that were."""
    written = started = 0
    for offset, piece in source.pieces():
        for start, stop in nonzero_runs(piece):
            sink.put(memoryview(piece)[start:stop], offset + start)
            written += stop - start
        if written - started >= _WRITE_BACK_EVERY:
            storage.start_writing_back(0, 0)  # while we go on reading
            started = written
        if progress is not None:
            progress(offset + len(piece), source.size)
    return written
