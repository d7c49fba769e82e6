"""A differencing image that holds what a disk has otherwise than its parent: in a file, or through a pipe."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

from vhdx.build.differencing import DifferencingImage
from vhdx.disk.base import padded_read
from vhdx.disk.chain import VhdxDisk
from vhdx.disk.open import open_any, open_disk
from vhdx.errors import UnsupportedImageError
from vhdx.ops.make.changes import TableChanges, compared, depth_in_chain
from vhdx.ops.make.child import NOT_FOUND_BY_DEFAULT, child_plan, is_found_by_default, user_items_of
from vhdx.ops.make.plan import ImageOptions, Rounding
from vhdx.storage.file import identity_of, refuse_as_target, telling_if_full
from vhdx.storage.outgoing import OutgoingStorage
from vhdx.storage.publish import new_file
from vhdx.text import brief, command
from vhdx.units import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO
    from uuid import UUID

    from vhdx.build.differencing import Change
    from vhdx.build.plan import ImagePlan
    from vhdx.build.structures import Output
    from vhdx.disk.base import VirtualDisk
    from vhdx.disk.formats import Format, Openable
    from vhdx.disk.opened import Disk
    from vhdx.disk.places import Parents
    from vhdx.ops.make.changes import Changes
    from vhdx.progress import Progress

SMALLER = (
    "its disk is smaller than the parent's by {}: nobody sees what stands there, and vhdx merge asks for "
    "--shrink if it is not zeros"
)


@brief("path", "parent", "virtual_size", "file_size", "data_size", "zeroed_size")
class IncrementResult(NamedTuple):
    """What was made. Sizes in bytes; ``data_size`` and ``zeroed_size`` count what is otherwise.

    ``found_in_tables`` says that no contents were compared; ``data_write_guid`` is the identity by which its
    own children know it, None where it has a new one. ``remarks`` are sentences for whoever asked for it.
    """

    path: str
    format: str
    parent: str
    virtual_size: int
    file_size: int
    block_size: int
    data_size: int
    zeroed_size: int
    found_in_tables: bool
    data_write_guid: UUID | None
    remarks: tuple[str, ...]


def create_increment(
    path: str | os.PathLike[str],
    *,
    parent: Openable,
    contents: Openable,
    parent_format: Format | None = None,
    contents_format: Format | None = None,
    compare: bool = False,
    options: ImageOptions | None = None,
    parents: Parents = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> IncrementResult:
    """Make a child of the image ``parent`` that reads as ``contents`` does, and holds nothing else.

    ``contents`` is any disk, raw, VHD or VHDX, with its parents. Where ``parent`` is one of these, the tables
    of the layers over it tell what changed, unless ``compare``; of any other disk the contents are compared,
    sector by sector. The new image has the size of ``contents``, and all else as `create` makes a child. The
    file appears whole or not at all.

    Raises what opening and `create` raise; UnsupportedImageError for a parent that is no VHDX, and for a disk
    with other logical sectors.
    """
    path = os.fspath(path)
    refuse_as_target(path)
    with (
        open_any(parent, image_format=parent_format, parents=parents) as found,
        open_any(contents, image_format=contents_format, parents=parents) as disk,
    ):
        base = _as_parent(found)
        _check(path, disk, base)
        rounding = Rounding()
        plan, disk_size = child_plan(path, base, disk.size, options or ImageOptions(), rounding, smaller=True)
        depth = None if compare else depth_in_chain(disk, base)
        with _changes(disk, base, depth, plan.logical_sector_size, progress) as changes:
            increment = _Increment(plan, disk_size, disk, changes)
            increment.write_file(path, rounding, progress, overwrite=overwrite)
        if disk_size < base.size:
            rounding.sentences.append(SMALLER.format(size_text(base.size - disk_size)))
        if not is_found_by_default(path, base.chain[0]):
            rounding.sentences.append(NOT_FOUND_BY_DEFAULT)
        return increment.result(
            path, base.chain[0], in_tables=depth is not None, remarks=tuple(rounding.sentences)
        )


def export_changes(
    child: str | os.PathLike[str],
    output: BinaryIO | str | os.PathLike[str],
    *,
    since: str | os.PathLike[str] | None = None,
    options: ImageOptions | None = None,
    parents: Parents = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> IncrementResult:
    """Write what ``child`` changed against its parent, or the ancestor ``since``, as a differencing image.

    It is written front to back into the stream ``output``, or into the new file of that name. The image has
    the identity of the child's contents: whoever applies it to a copy of the ancestor can apply what changes
    later, too. It names the ancestor as if it stood beside it. What changed the tables alone tell.

    Raises what opening raises; ValueError if the chain has no such layer under the child.
    """
    with open_disk(os.fspath(child), parents=parents) as disk:
        depth = disk.depth_of(since) - 1
        ancestor = VhdxDisk(disk.layers[depth:])
        home = os.path.dirname(os.path.realpath(ancestor.chain[0]))
        is_file = isinstance(output, str | os.PathLike)
        path = os.fspath(cast("str", output)) if is_file else os.path.join(home, "-")
        if is_file:
            _check(path, disk, ancestor)
        rounding = Rounding()
        plan, disk_size = child_plan(
            path, ancestor, disk.size, options or ImageOptions(), rounding, smaller=True
        )
        leaf = disk.layers[0]
        plan = plan._replace(
            disk_id=disk.disk_id,
            physical_sector_size=disk.physical_sector_size,
            user_items=tuple(user_items_of(leaf)),
        )
        increment = _Increment(plan, disk_size, disk, TableChanges(disk, depth + 1))
        identity = leaf.header.data_write_guid
        if is_file:
            increment.write_file(path, rounding, progress, identity, overwrite=overwrite)
        else:
            stream = OutgoingStorage(cast("BinaryIO", output), "standard output")
            increment.write(stream, progress, identity)
            stream.flush()
        return increment.result(
            path if is_file else "-",
            ancestor.chain[0],
            in_tables=True,
            identity=identity,
            remarks=tuple(rounding.sentences),
        )


def _as_parent(base: Disk) -> VhdxDisk:
    if isinstance(base, VhdxDisk):
        return base
    if base.format == "vhd":
        from vhdx.image.other_formats import vhd_is_only_read  # noqa: PLC0415  only on the way to an error

        raise vhd_is_only_read(base.chain[0])
    raise UnsupportedImageError(
        "the parent of a differencing image is a VHDX, and this is a raw disk",
        image=base.chain[0],
        next_command=command("convert {} BASE.vhdx", base.chain[0]),
    )


def _check(path: str, disk: Disk, base: VhdxDisk) -> None:
    """Raise for a target that is one of the files that are read, and for sectors of another size."""
    if os.path.exists(path) and identity_of(path) in (*disk.files(), *base.files()):
        raise ValueError(f"{path} is one of the images that are read, or one of their parents")
    ours, theirs = disk.logical_sector_size, base.logical_sector_size
    if disk.format != "raw" and ours != theirs:
        raise UnsupportedImageError(
            f"its logical sectors have {ours} bytes, those of {base.chain[0]} {theirs}",
            image=disk.chain[0],
            next_command=command(f"convert {{}} OTHER.vhdx --logical-sector-size {theirs}", disk.chain[0]),
        )


@contextlib.contextmanager
def _changes(
    disk: Disk, base: VhdxDisk, depth: int | None, unit: int, progress: Progress | None
) -> Iterator[Changes]:
    if depth is not None:
        yield TableChanges(cast("VhdxDisk", disk), depth)
        return
    with contextlib.closing(compared(disk, base, unit, progress)) as found:
        yield found


class _Increment:
    """An image that is to be written, and what is counted for it."""

    def __init__(self, plan: ImagePlan, disk_size: int, disk: VirtualDisk, changes: Changes) -> None:
        self._disk = disk
        self._disk_size = disk_size
        self._block_size = plan.block_size
        self._changes = changes
        self._sizes = [0, 0]
        self._image = DifferencingImage(plan, disk_size, self._counted())

    def _counted(self) -> Iterator[Change]:
        for change in self._changes:
            self._sizes[change.is_zero] += change.length
            yield change

    def write(self, output: Output, progress: Progress | None, identity: UUID | None = None) -> None:
        changes = iter(self._changes) if progress is None else self._watched(progress)
        self._image.write(output, changes, partial(_read_into, self._disk), identity)

    def write_file(
        self,
        path: str,
        rounding: Rounding,
        progress: Progress | None,
        identity: UUID | None = None,
        *,
        overwrite: bool,
    ) -> None:
        with (
            telling_if_full(lambda: "nothing was made"),
            new_file(path, overwrite=overwrite, remark=rounding.sentences.append) as storage,
        ):
            self.write(storage, progress, identity)

    def _watched(self, progress: Progress) -> Iterator[Change]:
        done, total = 0, self._sizes[False]
        for change in self._changes:
            yield change
            done += 0 if change.is_zero else change.length
            progress(done, total)

    def result(
        self,
        path: str,
        parent: str,
        *,
        in_tables: bool,
        identity: UUID | None = None,
        remarks: tuple[str, ...],
    ) -> IncrementResult:
        data, zeroed = self._sizes
        return IncrementResult(
            path=path,
            format="vhdx",
            parent=parent,
            virtual_size=self._disk_size,
            file_size=self._image.file_size,
            block_size=self._block_size,
            data_size=data,
            zeroed_size=zeroed,
            found_in_tables=in_tables,
            data_write_guid=identity,
            remarks=remarks,
        )


def _read_into(disk: VirtualDisk, buffer: memoryview, offset: int) -> None:
    """Fill a buffer with bytes of a disk, and zeros behind its end."""
    if offset + len(buffer) <= disk.size:
        disk.preadinto(buffer, offset)
    else:
        buffer[:] = padded_read(disk, len(buffer), offset)
