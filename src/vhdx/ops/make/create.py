"""Create an empty image."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

from vhdx.build.build import ImageBuilder
from vhdx.disk.open import lone_disk, open_disk
from vhdx.ops.make.child import NOT_FOUND_BY_DEFAULT, child_plan, is_found_by_default
from vhdx.ops.make.plan import NOT_RESERVED, DiskType, ImageOptions, Rounding, disk_size_from, plan_from
from vhdx.storage.file import refuse_as_target
from vhdx.storage.publish import new_file
from vhdx.text import brief
from vhdx.units import parse_size

if TYPE_CHECKING:
    from uuid import UUID

    from vhdx.build.plan import ImagePlan
    from vhdx.disk.chain import VhdxDisk
    from vhdx.disk.places import Parents
    from vhdx.ops.make.formatting import Formatting


@brief("path", "disk_type", "virtual_size", "file_size")
class CreateResult(NamedTuple):
    """What was made. Sizes in bytes; ``remarks`` are sentences on what is not as it was asked for."""

    path: str
    format: str
    virtual_size: int
    file_size: int
    disk_type: str
    block_size: int
    log_size: int
    logical_sector_size: int
    physical_sector_size: int
    disk_id: UUID
    remarks: tuple[str, ...]


def create(
    path: str | os.PathLike[str],
    size: int | str | None = None,
    *,
    disk_type: DiskType | None = None,
    block_size: int | str | None = None,
    log_size: int | str = "1MiB",
    logical_sector_size: int | None = None,
    physical_sector_size: int | None = None,
    disk_id: UUID | str | None = None,
    zero_blocks: bool = False,
    parent: str | os.PathLike[str] | None = None,
    parents: Parents = None,
    overwrite: bool = False,
    formatting: Formatting | None = None,
) -> CreateResult:
    """Create an empty disk of ``size`` (bytes, or a word such as ``"10GiB"``) in a new file.

    The file appears under its name whole or not at all. Sizes that the format cannot have are rounded up:
    the disk to logical sectors (512 bytes, or 4096), the block size to a power of two from 1 to 256 MiB,
    the log to MiB; the result says so. A block size of 0 or None is chosen by the size of the disk.
    Physical sectors have 4096 bytes unless 512 are asked for. A fixed image reserves its space on the
    host. ``zero_blocks`` marks blocks ZERO instead of NOT_PRESENT.

    With ``parent`` the new image is a differencing one: it has the parent's disk id, sector sizes and
    user items, blocks of 2 MiB unless told otherwise, and the parent's size unless a larger one is given.
    ``parents`` says where the parent's own parents are, as for ``vhdx.open``.

    ``formatting`` puts a file system on the disk, in a partition if it says so.

    Raises FileExistsError unless ``overwrite``, ImageLockedError if a file is in use, ValueError for sizes
    past the format's limits, UnsupportedImageError for a parent with a dirty log, OSError (ENOSPC for a
    fixed image on a full disk).
    """
    path = os.fspath(path)
    refuse_as_target(path)
    if formatting is not None:
        if parent is not None:
            raise ValueError("a child begins with the contents of its parent: it gets no file system")
        formatting.check()
    options = ImageOptions(
        disk_type, block_size, log_size, logical_sector_size, physical_sector_size, disk_id, zero_blocks
    )
    rounding = Rounding()
    asked = None if size is None else parse_size(size)
    with contextlib.ExitStack() as held:  # the parents stay locked until their child is there
        opened = None
        if parent is not None:
            opened = held.enter_context(open_disk(os.fspath(parent), parents=parents))
        plan, disk_size = _planned(path, opened, asked, options, rounding)
        remarks = rounding.sentences
        with new_file(path, overwrite=overwrite, remark=remarks.append) as storage:
            builder = ImageBuilder(storage, plan, disk_size)
            file_size = builder.finish(disk_size)
            if formatting is not None:
                from vhdx.ops.make.formatting import format_disk  # noqa: PLC0415  most disks are made empty

                with lone_disk(storage.lent()) as disk:
                    format_disk(disk, formatting, os.path.dirname(path) or ".", remarks.append)
                file_size = storage.size()
    if not builder.reserved:
        remarks.append(NOT_RESERVED)
    if parent is not None and not is_found_by_default(path, os.fspath(parent)):
        remarks.append(NOT_FOUND_BY_DEFAULT)
    return CreateResult(
        path=path,
        format="vhdx",
        virtual_size=disk_size,
        file_size=file_size,
        disk_type="differencing" if plan.locator else "fixed" if plan.fixed else "dynamic",
        block_size=plan.block_size,
        log_size=plan.log_length,
        logical_sector_size=plan.logical_sector_size,
        physical_sector_size=plan.physical_sector_size,
        disk_id=plan.disk_id,
        remarks=tuple(remarks),
    )


def _planned(
    path: str, parent: VhdxDisk | None, size: int | None, options: ImageOptions, rounding: Rounding
) -> tuple[ImagePlan, int]:
    """The plan of an image without or with a parent, and its disk size in bytes."""
    if parent is not None:
        return child_plan(path, parent, size, options, rounding)
    if size is None:
        raise ValueError("a disk without a parent needs a size")
    plan = plan_from(options, size, rounding)
    return plan, disk_size_from(size, plan.logical_sector_size, rounding)
