"""Create an empty image."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vhdx.image.build import ImageBuilder
from vhdx.ops.plan import DiskType, ImageOptions, Rounding, disk_size_from, plan_from
from vhdx.storage.publish import new_file
from vhdx.units import parse_size

if TYPE_CHECKING:
    from uuid import UUID


@dataclass(frozen=True, slots=True)
class CreateResult:
    """What was made. Sizes in bytes; ``remarks`` are sentences on what is not as it was asked for."""

    path: str
    virtual_size: int
    file_size: int
    disk_type: str
    block_size: int
    log_size: int
    logical_sector_size: int
    physical_sector_size: int
    disk_id: UUID
    remarks: tuple[str, ...]


NOT_RESERVED = "the host cannot reserve space here: the disk may become full while the image is used"


def create(
    path: str | os.PathLike[str],
    size: int | str,
    *,
    disk_type: DiskType = "dynamic",
    block_size: int | str | None = None,
    log_size: int | str = "1MiB",
    logical_sector_size: int | None = None,
    physical_sector_size: int | None = None,
    disk_id: UUID | str | None = None,
    zero_blocks: bool = False,
    overwrite: bool = False,
) -> CreateResult:
    """Create an empty disk of ``size`` (bytes, or a word such as ``"10GiB"``) in a new file.

    The file appears under its name whole or not at all. Sizes that the format cannot have are rounded up:
    the disk to logical sectors (512 bytes, or 4096), the block size to a power of two from 1 to 256 MiB,
    the log to MiB; the result says so. A block size of 0 or None is chosen by the size of the disk.
    Physical sectors have 4096 bytes unless 512 are asked for. A fixed image reserves its space on the
    host. ``zero_blocks`` marks blocks ZERO instead of NOT_PRESENT.

    Raises FileExistsError unless ``overwrite``, ImageLockedError if the file to be replaced is in use,
    ValueError for sizes past the format's limits, OSError (ENOSPC for a fixed image on a full disk).
    """
    options = ImageOptions(
        disk_type, block_size, log_size, logical_sector_size, physical_sector_size, disk_id, zero_blocks
    )
    rounding = Rounding()
    asked = parse_size(size)
    plan = plan_from(options, asked, rounding)
    disk_size = disk_size_from(asked, plan.logical_sector_size, rounding)
    with new_file(os.fspath(path), overwrite=overwrite) as storage:
        builder = ImageBuilder(storage, plan, disk_size)
        file_size = builder.finish(disk_size)
    return CreateResult(
        path=os.fspath(path),
        virtual_size=disk_size,
        file_size=file_size,
        disk_type=disk_type,
        block_size=plan.block_size,
        log_size=plan.log_length,
        logical_sector_size=plan.logical_sector_size,
        physical_sector_size=plan.physical_sector_size,
        disk_id=plan.disk_id,
        remarks=(*rounding.sentences, *(() if builder.reserved else (NOT_RESERVED,))),
    )
