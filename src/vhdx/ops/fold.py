"""Folding one differencing image into the one under it, both held all the time [MS-VHDX 2.6.1.2, 2.6.2.6.3].

The order that lets the chain open at every instant: the child knows its parent by the identity it has and
by the one that it will get; then the parent gets that; then the contents are copied, which changes nothing
for who reads through the child; then the child knows only the new identity, twice: so a child that was
folded can be told from others.
"""

from __future__ import annotations

import uuid
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from vhdx.disk.open import lone_disk, writable_disk
from vhdx.errors import ParentMismatchError
from vhdx.extents import ExtentKind
from vhdx.format import guids, locator
from vhdx.format.metadata import KNOWN_ITEMS
from vhdx.image import image, metadata
from vhdx.ops.make.child import braced, user_items_of
from vhdx.ops.resize import resize_storage
from vhdx.pieces import pieces
from vhdx.progress import Meter
from vhdx.storage.sharing import FileRange, may_share
from vhdx.storage.write_back import WriteBack
from vhdx.units import MIB
from vhdx.write.items import NewItem
from vhdx.write.write import Writer

if TYPE_CHECKING:
    from uuid import UUID

    from vhdx.disk.chain import VhdxDisk
    from vhdx.disk.places import Parents
    from vhdx.extents import Extent
    from vhdx.image.image import Image
    from vhdx.progress import Progress
    from vhdx.storage.file import FileStorage
    from vhdx.storage.sharing import Clone


class Folded(NamedTuple):
    """What was brought into the parent, in bytes; identities of the parent before and after."""

    copied_size: int
    zeroed_size: int
    old_identity: UUID
    identity: UUID


def fold(
    child: FileStorage, parent: FileStorage, *, parents: Parents, clone: Clone, progress: Progress | None
) -> Folded:
    """Fold the image in ``child`` into the one in ``parent``, which stay open.

    Raises ParentMismatchError, before anything changed, if the parent is not the one that the child knows,
    and ValueError if the two must share space and cannot.
    """
    stored = FileRange(child, 0, 0, must_be_shared=clone == "always")
    shared = stored if may_share(clone, child, parent) else None
    identity = uuid.uuid4()
    with lone_disk(child.lent()) as leaf:
        leaf.keep_identity()
        values = dict(leaf.layers[0].metadata.locator or {})
        items = _items_of(leaf.layers[0])
        present, size = _recognised(image.load(parent), values)
        _link(leaf, values, present, identity)
        meter = Meter(progress)
        changed = partial(resize_storage, parent, parents=parents, identity=identity, advance=meter.advance)
        changed(max(leaf.size, size))
        with writable_disk(parent.lent(), parents, advance=meter.advance) as below:
            below.take_identity(identity)
            sizes = _copy(leaf, below, WriteBack.of(parent), meter, shared)
        changed(leaf.size)
        _replace_items(parent, items)
        _link(leaf, values, identity, identity)
    return Folded(*sizes, present, identity)


def is_folded(values: dict[str, str]) -> bool:
    """Whether a locator says that the image was folded into its parent: it names one identity twice."""
    first, second = values.get(locator.PARENT_LINKAGE), values.get(locator.PARENT_LINKAGE2)
    return first is not None and first == second != braced(guids.NIL)


def _recognised(opened: Image, values: dict[str, str]) -> tuple[UUID, int]:
    """Identity and size of the parent; it was verified before, but nobody held the file then."""
    identity = opened.header.data_write_guid
    if identity not in metadata.linkages(values):
        raise ParentMismatchError("somebody wrote to it since it was looked at", image=opened.name)
    return identity, opened.geometry.disk_size


def _link(leaf: VhdxDisk, values: dict[str, str], identity: UUID, future: UUID) -> None:
    """Say in the child, in one log entry, which identities its parent has and may have."""
    linkages = {locator.PARENT_LINKAGE: braced(identity), locator.PARENT_LINKAGE2: braced(future)}
    leaf.replace_locator({**values, **linkages})


def _copy(
    leaf: VhdxDisk, below: VhdxDisk, write_back: WriteBack, meter: Meter, shared: FileRange | None
) -> tuple[int, int]:
    """Bring what the child says into the parent: data as data, zeros of any kind as exact zeros.

    With the child's file the parent shares its space, as far as it can.
    """
    copied = zeroed = told = 0
    meter.advance(0, leaf.size)
    for extent in leaf.own_extents():
        if extent.kind is ExtentKind.UNALLOCATED:
            continue
        at = extent.offset
        for offset, length in chain(leaf.stored_ranges(extent), [(extent.end, 0)]):
            if offset > at:  # zeros that the child says, or a hole in its file
                below.zero(length=offset - at, offset=at)
                zeroed += offset - at
            for start, count in pieces(offset, length, MIB):
                if shared is None:
                    below.pwrite(leaf.pread(count, start), start)
                    write_back.wrote(count)
                else:
                    below.share(shared.part(_place_of(extent, start), count), start)
                meter.advance(start - told, 0)
                told = start
            copied += length
            at = offset + length
    return copied, zeroed


def _place_of(extent: Extent, offset: int) -> int:
    """Where in its file a byte of stored data stands."""
    assert extent.file_offset is not None
    return extent.file_offset + offset - extent.offset


def _items_of(child: Image) -> tuple[NewItem, ...]:
    """What belongs to the virtual disk and follows the child; its size and sectors do by themselves."""
    loaded = child.metadata
    known = {
        guids.VIRTUAL_DISK_ID: loaded.disk_id.bytes_le,
        guids.PHYSICAL_SECTOR_SIZE: loaded.physical_sector_size.to_bytes(4, "little"),
    }
    system = [NewItem(item_id, value, KNOWN_ITEMS[item_id].flags) for item_id, value in known.items()]
    users = [NewItem(item.item_id, item.value, item.flags, is_user=True) for item in user_items_of(child)]
    return (*system, *users)


def _replace_items(parent: FileStorage, items: tuple[NewItem, ...]) -> None:
    """Let these be the parent's items of the virtual disk, all in one log entry."""
    moved = True
    while moved:  # a region that has no room for them moves first, and the image is opened anew
        with Writer(parent, image.load(parent)) as writer:
            writer.keep_identity()  # the contents have the new one already
            moved = writer.grow_for(items)
            if not moved:
                writer.replace_disk_items(items)
