"""Give a differencing image another parent, or its parent under another name."""

from __future__ import annotations

import contextlib
import os
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from vhdx.disk.base import padded_read
from vhdx.disk.formats import closing_on_failure
from vhdx.disk.open import lone_disk, open_disk, writable_disk
from vhdx.errors import ParentMismatchError, UnsupportedImageError
from vhdx.extents import ExtentKind
from vhdx.image import metadata
from vhdx.ops.differences import stored_in_either, unequal_runs
from vhdx.ops.make.child import is_found_by_default, locator_values
from vhdx.storage.file import identity_of, open_for_writing
from vhdx.text import brief, command
from vhdx.units import MIB

if TYPE_CHECKING:
    from uuid import UUID

    from vhdx.disk.chain import VhdxDisk
    from vhdx.disk.places import Parents
    from vhdx.image.image import Image
    from vhdx.progress import Progress


@brief("path", "copied_size", "found_by_default")
class RebaseResult(NamedTuple):
    """What was done: the parent as it was named before and is now; bytes that were copied into the child.

    ``hidden_size`` is by how many bytes the parent's disk is larger than the child's: nobody sees these.
    """

    path: str
    format: str
    virtual_size: int
    old_values: dict[str, str]
    new_values: dict[str, str]
    copied_size: int
    found_by_default: bool
    hidden_size: int


def rebase(
    child: str | os.PathLike[str],
    parent: str | os.PathLike[str],
    *,
    ignore_identity: bool = False,
    safe: bool = False,
    parents: Parents = None,
    progress: Progress | None = None,
) -> RebaseResult:
    """Make ``parent`` the parent of the differencing image ``child``.

    Only the locator is rewritten, through the journal; the child's own identity stays. ``parent`` must be
    the image that the child knows, unless ``ignore_identity`` says that its contents are known to be the
    same, or ``safe`` first copies into the child whatever would read differently from the new parent.
    ``parents`` says where other parents may be found.

    Raises ParentMismatchError for another parent, UnsupportedImageError for a child that has none,
    ValueError for a loop, and what opening raises.
    """
    child = os.fspath(child)
    with contextlib.ExitStack() as opened:
        new_parent = opened.enter_context(open_disk(os.fspath(parent), parents=parents))
        if identity_of(child) in new_parent.files():
            raise ValueError(f"{child} would be its own ancestor")
        disk = opened.enter_context(_opened(child, parents, safe=safe))
        leaf = disk.layers[0]
        _check(leaf, new_parent, any_identity=ignore_identity or safe)
        old_values = dict(leaf.metadata.locator or {})
        new_values = dict(locator_values(child, new_parent.layers[0]))
        disk.keep_identity()
        copied = _copy_differences(disk, new_parent, progress) if safe else 0
        disk.flush()
        disk.replace_locator(new_values)
        hidden = max(0, new_parent.size - disk.size)
        about = disk.format, disk.size
    found = is_found_by_default(child, os.fspath(parent))
    return RebaseResult(child, *about, old_values, new_values, copied, found, hidden)


def relink(child: str, parent: str, *, known: frozenset[UUID], identity: UUID, parents: Parents) -> bool:
    """Make ``parent``, which has everything of the image that ``child`` knew, its parent.

    ``known`` are the identities by one of which the child knows its parent, ``identity`` is the one that the
    new parent has to have. Whether the child finds it without being told where to look.
    Raises ParentMismatchError if somebody wrote to one of the images meanwhile.
    """
    with (
        open_disk(parent, parents=parents) as new_parent,
        _opened(child, parents, safe=False) as disk,
    ):
        leaf = disk.layers[0]
        if not known & metadata.linkages(leaf.metadata.locator or {}):
            raise ParentMismatchError("its parent is another image by now", image=child)
        if new_parent.layers[0].header.data_write_guid != identity:
            raise ParentMismatchError("somebody wrote to it since it was merged into", image=parent)
        disk.keep_identity()
        disk.replace_locator(dict(locator_values(child, new_parent.layers[0])))
    return is_found_by_default(child, parent)


def _opened(child: str, parents: Parents, *, safe: bool) -> VhdxDisk:
    """The child, to be written to: with its old parents where their contents matter."""
    storage = open_for_writing(child)
    with closing_on_failure(storage):
        return writable_disk(storage, parents) if safe else lone_disk(storage)


def _check(leaf: Image, new_parent: VhdxDisk, *, any_identity: bool) -> None:
    if not leaf.metadata.has_parent:
        raise UnsupportedImageError("this is no differencing image: it has no parent", image=leaf.name)
    ours, theirs = leaf.geometry.logical_sector_size, new_parent.logical_sector_size
    if ours != theirs:
        raise ParentMismatchError(
            f"its logical sectors have {theirs} bytes, those of the child {ours}", image=new_parent.chain[0]
        )
    identity = new_parent.layers[0].header.data_write_guid
    known = metadata.linkages(leaf.metadata.locator or {})
    if identity not in known and not any_identity:
        raise ParentMismatchError(
            f"its DataWriteGuid is {identity}; the child knows its parent as {' or '.join(map(str, known))}",
            image=new_parent.chain[0],
            rule="2.6.2.6.3",
            next_command=command("rebase {} --parent {} --safe", leaf.name, new_parent.chain[0]),
        )


def _copy_differences(disk: VhdxDisk, new_parent: VhdxDisk, progress: Progress | None) -> int:
    """Copy into the child, sector by sector, what the new parent would show differently; how many bytes."""
    copied = 0
    unsaid = (extent for extent in disk.own_extents() if extent.kind is ExtentKind.UNALLOCATED)
    for extent in chain.from_iterable(
        stored_in_either(disk, new_parent, offset=part.offset, length=part.length) for part in unsaid
    ):
        for offset in range(extent.offset, extent.end, MIB):
            length = min(MIB, extent.end - offset)
            old = disk.pread(length, offset)
            new = padded_read(new_parent, length, offset)
            if old != new:
                copied += _write_unequal(disk, old, new, offset)
            if progress is not None:
                progress(offset + length, disk.size)
    return copied


def _write_unequal(disk: VhdxDisk, old: bytes, new: bytes, offset: int) -> int:
    """Write the runs of sectors in which two pieces differ, as they are in the old one; how many bytes."""
    runs = unequal_runs(old, new, disk.logical_sector_size)
    for start, stop in runs:
        disk.pwrite(old[start:stop], offset + start)
    return sum(stop - start for start, stop in runs)
