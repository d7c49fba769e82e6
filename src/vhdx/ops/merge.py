"""Fold a differencing image into its parent, in place [MS-VHDX 2.6.1.2, 2.6.2.6.3].

The order that lets the chain open at every instant: the child knows its parent by the identity it has and
by the one that it will get; then the parent gets that; then the contents are copied, which changes nothing
for who reads through the child; then the child knows only the new identity. Interrupted anywhere it can be
run again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from vhdx.disk.children import children_beside
from vhdx.disk.open import closing_on_failure, lone_disk, open_disk, writable_disk
from vhdx.errors import ParentMismatchError, UnsupportedImageError
from vhdx.extents import ExtentKind
from vhdx.format import guids, locator
from vhdx.image import image, metadata
from vhdx.ops.child import braced, identity_of
from vhdx.ops.compare import side_by_side
from vhdx.ops.rebase import rebase
from vhdx.ops.resize import resize_file
from vhdx.storage.file import open_for_reading, open_for_writing
from vhdx.storage.host import synchronize_directory
from vhdx.units import MIB, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from vhdx.disk.chain import Disk
    from vhdx.disk.parents import Parents

    Progress = Callable[[int, int | None], None]


class MergeResult(NamedTuple):
    """What was done. ``path`` holds everything now; ``merged`` are the images that nobody needs any more.

    ``copied_size`` counts bytes of data, ``zeroed_size`` bytes that a child hid behind zeros.
    """

    path: str
    merged: tuple[str, ...]
    relinked: tuple[str, ...]
    deleted: bool
    copied_size: int
    zeroed_size: int


def merge(
    child: str | os.PathLike[str],
    *,
    into: str | os.PathLike[str] | None = None,
    children: Sequence[str | os.PathLike[str]] = (),
    delete_child: bool = False,
    force: bool = False,
    parents: Parents = None,
    progress: Progress | None = None,
) -> MergeResult:
    """Fold ``child`` into its parent, or all layers down to the ancestor ``into``, the lowest first.

    The image that is merged into then reads as the child did, and has its size and its items of the virtual
    disk. ``children`` are images over ``child`` that get it for their parent. The child itself still opens
    and reads as before; ``delete_child`` removes it, and the layers between, once all is durable.

    Raises UnsupportedImageError, unless ``force``, if images beside the chain would lose their parent;
    OSError (ENOSPC), before anything was changed, if the host has not the space; ImageLockedError if
    somebody holds one of the files; ValueError for an ancestor that is none; and what opening raises.
    """
    layers = _layers(os.fspath(child), parents)
    depth = 1 if into is None else _depth_of(os.fspath(into), layers)
    target = layers[depth]
    above = [os.fspath(path) for path in children]
    _check_children(layers[0], above, parents)
    if not force:
        _refuse_orphans(layers[: depth + 1], above, delete_child=delete_child)
    copied = zeroed = 0
    for number in reversed(range(depth)):
        data, zeros = _fold(layers[number], target, parents, progress)
        copied, zeroed = copied + data, zeroed + zeros
        for upper in above if number == 0 else [layers[number - 1]]:
            rebase(upper, target, ignore_identity=True, parents=parents)
        if delete_child:
            _delete(layers[number])
    return MergeResult(target, tuple(layers[:depth]), tuple(above), delete_child, copied, zeroed)


def _layers(child: str, parents: Parents) -> list[str]:
    """The files of the chain, each opened and verified once."""
    with open_disk(child, parents=parents) as disk:
        if len(disk.chain) < 2:
            raise UnsupportedImageError("this is no differencing image: it has no parent", image=child)
        return list(disk.chain)


def _depth_of(ancestor: str, layers: list[str]) -> int:
    wanted = identity_of(ancestor)
    for depth, layer in enumerate(layers[1:], 1):
        if identity_of(layer) == wanted:
            return depth
    raise ValueError(f"{ancestor} is no ancestor of {layers[0]}; its chain: {', '.join(layers)}")


def _check_children(child: str, above: list[str], parents: Parents) -> None:
    """Each image that is to be relinked must be what it is said to be, before anything is changed."""
    for path in above:
        with open_disk(path, parents=parents) as disk:
            if len(disk.chain) < 2 or identity_of(disk.chain[1]) != identity_of(child):
                raise ValueError(f"{path} is no child of {child}")


def _refuse_orphans(layers: list[str], above: list[str], *, delete_child: bool) -> None:
    """Images that would lose their parent: of every layer that changes, and of those that go."""
    known = {identity_of(path) for path in (*layers, *above)}
    orphans: dict[str, str] = {}
    for layer in layers if delete_child else layers[1:]:
        identity = _identity(layer)
        for beside in dict.fromkeys((layer, layers[0])):
            found = (path for path in children_beside(beside, identity) if identity_of(path) not in known)
            orphans |= dict.fromkeys(found, layer)
    if orphans:
        listed = "".join(f"\n  {path}, whose parent is {layer}" for path, layer in orphans.items())
        raise UnsupportedImageError(
            f"these images would lose their parent:{listed}\n--force merges nevertheless", image=layers[0]
        )


def _identity(path: str) -> UUID:
    file = open_for_reading(path, lock=False)
    with contextlib.closing(file):
        return image.write_identity(file).data_write_guid


def _fold(child: str, parent: str, parents: Parents, progress: Progress | None) -> tuple[int, int]:
    """Fold one image into the one under it; how many bytes of data and of zeros."""
    identity = uuid.uuid4()
    with _writable(child, lone_disk) as leaf:
        leaf.keep_identity()
        values = dict(leaf.layers[0].metadata.locator or {})
        with _writable(parent, writable_disk, parents) as below:
            present, size = _recognised(below, values), max(leaf.size, below.size)
            _refuse_without_space(leaf, below)
        _link(leaf, values, present, identity)
        resize_file(parent, size, parents=parents, identity=identity)
        with _writable(parent, writable_disk, parents) as below:
            below.take_identity(identity)
            sizes = _copy(leaf, below, progress)
        resize_file(parent, leaf.size, parents=parents, identity=identity)
        _link(leaf, values, identity, guids.NIL)
    return sizes


def _writable(path: str, disk_of: Callable[..., Disk], *arguments: Parents) -> Disk:
    storage = open_for_writing(path)
    with closing_on_failure(storage):
        return disk_of(storage, *arguments)


def _recognised(below: Disk, values: dict[str, str]) -> UUID:
    """The identity that the parent has now; it was verified before, but nobody held the files then."""
    identity = below.layers[0].header.data_write_guid
    if identity not in metadata.linkages(values):
        raise ParentMismatchError("somebody wrote to it since it was looked at", image=below.chain[0])
    return identity


def _link(leaf: Disk, values: dict[str, str], identity: UUID, future: UUID) -> None:
    """Say in the child, in one log entry, which identities its parent has and may have."""
    linkages = {locator.PARENT_LINKAGE: braced(identity), locator.PARENT_LINKAGE2: braced(future)}
    leaf.replace_locator({**values, **linkages})


def _refuse_without_space(leaf: Disk, below: Disk) -> None:
    """What the child has and the parent has no space for yet has to fit the host."""
    shared = min(leaf.size, below.size)
    needed = sum(
        ours.length
        for ours, theirs in side_by_side(leaf.own_extents(), below.own_extents())
        if ours.kind is ExtentKind.DATA and theirs.kind is not ExtentKind.DATA
    )
    needed += sum(extent.length for extent in leaf.extents(offset=shared) if extent.kind is ExtentKind.DATA)
    if below.disk_type == "fixed":
        needed += leaf.size - shared
    host = os.statvfs(below.chain[0])
    free = host.f_bavail * host.f_frsize
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"merging takes {format_size(needed)} more, the file system has {format_size(free)}",
            below.chain[0],
        )


def _copy(leaf: Disk, below: Disk, progress: Progress | None) -> tuple[int, int]:
    """Bring what the child says into the parent: data as data, zeros of any kind as exact zeros."""
    copied = zeroed = 0
    for extent in leaf.own_extents():
        if extent.kind is ExtentKind.UNALLOCATED:
            continue
        at = extent.offset
        for offset, length in chain(leaf.stored_ranges(extent), [(extent.end, 0)]):
            if offset > at:  # zeros that the child says, or a hole in its file
                below.zero(offset - at, at)
                zeroed += offset - at
            for start in range(offset, offset + length, MIB):
                piece = leaf.pread(min(MIB, offset + length - start), start)
                below.pwrite(piece, start)
            copied += length
            at = offset + length
        if progress is not None:
            progress(extent.end, leaf.size)
    return copied, zeroed


def _delete(path: str) -> None:
    """Remove an image that nobody needs any more, durably."""
    os.unlink(path)
    synchronize_directory(os.path.dirname(os.path.abspath(path)))
