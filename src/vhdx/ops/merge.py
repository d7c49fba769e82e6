"""Fold a differencing image into its parent, or all layers down to an ancestor, in place."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from vhdx.disk.chain import VhdxDisk
from vhdx.disk.children import Families
from vhdx.disk.open import open_disk
from vhdx.disk.places import policy_from
from vhdx.errors import UnsupportedImageError
from vhdx.examine.unexplained import refuse_lost_entries
from vhdx.extents import ExtentKind
from vhdx.image import image
from vhdx.ops.fold import fold, is_folded
from vhdx.ops.merge_space import refuse_without_space, sharing_of
from vhdx.ops.rebase import relink
from vhdx.ops.shrinking import refuse_data_loss
from vhdx.storage.file import (
    FileStorage,
    identity_of,
    is_named,
    open_for_reading,
    open_for_writing,
    refuse_as_target,
    replaced_meanwhile,
)
from vhdx.storage.publish import remove_file
from vhdx.text import brief
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence
    from uuid import UUID

    from vhdx.disk.places import Parents
    from vhdx.extents import Extent
    from vhdx.image.image import Image
    from vhdx.ops.fold import Folded
    from vhdx.progress import Progress
    from vhdx.storage.sharing import Clone


@brief("path", "merged", "copied_size")
class MergeResult(NamedTuple):
    """What was done. ``path`` holds everything now; ``merged`` are the images that were folded into it.

    ``relinked`` have ``path`` for their parent now, ``still_needed`` are images that have one of the merged
    ones for theirs; ``not_found_by_default`` are those of the relinked that --parent-dir opens.
    ``copied_size`` counts bytes of data, ``zeroed_size`` bytes that a child hid behind zeros, ``cut_size``
    by how much the disk of ``path`` has become smaller. ``shares_space`` says that it is a fixed image which
    shares its space with those of ``merged``, which stay.
    """

    path: str
    format: str
    virtual_size: int
    merged: tuple[str, ...]
    relinked: tuple[str, ...]
    deleted: bool
    still_needed: tuple[str, ...]
    not_found_by_default: tuple[str, ...]
    copied_size: int
    zeroed_size: int
    cut_size: int
    shares_space: bool


def merge(
    child: str | os.PathLike[str],
    *,
    into: str | os.PathLike[str] | None = None,
    children: Sequence[str | os.PathLike[str]] = (),
    delete_child: bool = False,
    shrink: bool = False,
    force: bool = False,
    parents: Parents = None,
    clone: Clone = "auto",
    progress: Progress | None = None,
) -> MergeResult:
    """Fold ``child`` into its parent, or all layers down to the ancestor ``into``, the lowest first.

    The image that is merged into then reads as the child did, and has its size and its items of the virtual
    disk. ``children`` are images over ``child`` that get it for their parent. The child itself still opens
    and reads as before; ``delete_child`` removes it, and the layers between, once all is durable. A merge
    that was interrupted is completed by the same call. On file systems that can the parent shares the space
    of what is merged (``clone`` as for `convert`).

    Raises UnsupportedImageError, unless ``force``, if images beside the chain would lose their parent;
    CorruptImageError for a layer to be deleted that is likely to hold blocks which its table has lost;
    OSError (ENOSPC), before anything was changed, if the host has not the space; ImageLockedError if
    somebody holds one of the files; ValueError for an ancestor that is none; and what opening raises.
    """
    above = [os.fspath(path) for path in children]
    for path in (os.fspath(child), *above):  # by their names, before links are followed
        refuse_as_target(path)
    with open_disk(os.fspath(child), parents=parents) as disk:
        layers = [os.path.realpath(path) for path in disk.chain]
        depth = _depth(disk, into)
        disk_size = disk.size
        cut_size = max(0, disk.layers[depth].geometry.disk_size - disk_size)
        if not shrink:
            _refuse_data_loss(disk.layers[: depth + 1], progress)
        sharing = sharing_of(disk.layers[: depth + 1], clone)
        refuse_without_space(disk, depth, sharing)
        is_fixed = disk.layers[depth].metadata.disk_type == "fixed"
        for layer in disk.layers[:depth] if delete_child else ():
            refuse_lost_entries(layer, "without --delete-child it is merged and kept")
    target = layers[depth]
    _check_children(layers, depth, above, parents)
    if not force:
        known = frozenset(map(identity_of, above))
        refuse_orphans(layers[: depth + 1], known, parents, delete_child=delete_child)
    done: list[Folded] = []
    unfound: list[str] = []
    folding = partial(fold, parents=parents, clone=clone, progress=progress)
    for number in reversed(range(depth)):
        uppers = above if number == 0 else [layers[number - 1]]
        folded, strangers = _fold_and_relink(
            layers[number], target, uppers, folding, parents, delete=delete_child
        )
        done.append(folded)
        unfound += [path for path in strangers if path in above or not delete_child]
    copied_size = sum(folded.copied_size for folded in done)
    return MergeResult(
        path=target,
        format="vhdx",
        virtual_size=disk_size,
        merged=tuple(layers[:depth]),
        relinked=tuple(above),
        deleted=delete_child,
        still_needed=() if delete_child else tuple(_children_of(layers[:depth], layers)),
        not_found_by_default=tuple(unfound),
        copied_size=copied_size,
        zeroed_size=sum(folded.zeroed_size for folded in done),
        cut_size=cut_size,
        shares_space=is_fixed and copied_size > 0 and any(sharing) and not delete_child,
    )


def _refuse_data_loss(layers: Sequence[Image], progress: Progress | None) -> None:
    """Each layer that is merged cuts what lies below it at its own end.

    What stands there nobody sees who opens the child: it would be gone without a word.
    """
    for number in range(1, len(layers)):
        below, end = VhdxDisk(layers[number:]), layers[number - 1].geometry.disk_size
        if below.size > end:
            refuse_data_loss(below, range(end, below.size), progress=progress)


def _depth(disk: VhdxDisk, into: str | os.PathLike[str] | None) -> int:
    """How deep the layer stands that is merged into."""
    if len(disk.chain) < 2:
        raise UnsupportedImageError("this is no differencing image: it has no parent", image=disk.chain[0])
    if into is None:
        return 1
    for depth, layer in enumerate(disk.chain[1:], 1):
        if identity_of(layer) == identity_of(os.fspath(into)):
            return depth
    raise ValueError(f"{into} is no ancestor of {disk.chain[0]}; its chain: {', '.join(disk.chain)}")


def _check_children(layers: list[str], depth: int, above: list[str], parents: Parents) -> None:
    """Each image that is to be relinked must be what it is said to be, before anything is changed.

    A merge that was interrupted may have given it the target for its parent already.
    """
    right = {identity_of(layers[0]), identity_of(layers[depth])}
    for path in above:
        with open_disk(path, parents=parents) as disk:
            if len(disk.chain) < 2 or identity_of(disk.chain[1]) not in right:
                raise ValueError(f"{path} is no child of {layers[0]}")


def refuse_orphans(
    layers: list[str], known: Container[tuple[int, int]], parents: Parents, *, delete_child: bool
) -> None:
    """Raise for images that would lose their parent: a layer that changes, or one that is deleted.

    The files that are ``known`` are cared for otherwise.
    """
    orphans = [
        path
        for path in _children_of(layers if delete_child else layers[1:], layers)
        if identity_of(path) not in known and not _is_left_over(path, layers, parents)
    ]
    if orphans:
        listed = "".join(f"\n  {path}" for path in orphans)
        raise UnsupportedImageError(
            f"these images would lose their parent:{listed}\n--force merges nevertheless", image=layers[0]
        )


def _children_of(of: Iterable[str], layers: list[str]) -> list[str]:
    """The images beside the chain that have one of ``of`` for their parent and are no layers themselves."""
    families, own = Families(), {identity_of(path) for path in layers if os.path.exists(path)}
    places = dict.fromkeys(os.path.dirname(path) for path in layers)
    found = (
        path
        for layer in of
        for place in places
        for path in families.children_in(place, layer, _identity(layer))
    )
    return [path for path in dict.fromkeys(found) if identity_of(path) not in own]


def _is_left_over(path: str, layers: list[str], parents: Parents) -> bool:
    """Whether an image was folded into its parent before and nobody wrote to it since: nobody needs it."""
    policy = policy_from(parents)
    with open_disk(path, parents=policy._replace(files=(*layers, *policy.files))) as disk:
        if not is_folded(dict(disk.layers[0].metadata.locator or {})):
            return False
        below = VhdxDisk(disk.layers[1:])
        said = (extent for extent in disk.own_extents() if extent.kind is not ExtentKind.UNALLOCATED)
        return disk.size == below.size and all(_reads_alike(disk, below, extent) for extent in said)


def _reads_alike(disk: VhdxDisk, below: VhdxDisk, extent: Extent) -> bool:
    pieces = ((start, min(MIB, extent.end - start)) for start in range(extent.offset, extent.end, MIB))
    return all(disk.pread(length, start) == below.pread(length, start) for start, length in pieces)


def _identity(path: str) -> UUID:
    with contextlib.closing(open_for_reading(path, lock=False)) as file:
        return image.write_identity(file).data_write_guid


def _fold_and_relink(
    child: str,
    target: str,
    uppers: list[str],
    folding: Callable[[FileStorage, FileStorage], Folded],
    parents: Parents,
    *,
    delete: bool,
) -> tuple[Folded, list[str]]:
    """One step: fold, relink what lies over the child, remove it; which of those are not found by default.

    The child is held until the end, so that nothing that somebody writes to it can be lost with it.
    """
    with contextlib.closing(open_for_writing(child)) as own:
        identity = image.write_identity(own).data_write_guid
        with contextlib.closing(open_for_writing(target)) as held:
            folded = folding(own, held)
        known = frozenset({identity, folded.old_identity})
        unfound = [
            upper
            for upper in uppers
            if not relink(upper, target, known=known, identity=folded.identity, parents=parents)
        ]
        if delete:
            if not is_named(child, own.identity(), follow=True):
                raise replaced_meanwhile(child)
            remove_file(child, own)
    return folded, unfound
