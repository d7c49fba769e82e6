"""The user items of an image: what people or programs attach to a disk under a GUID [MS-VHDX 2.6]."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from vhdx.disk.children import refuse_orphans
from vhdx.disk.formats import open_image
from vhdx.errors import UnsupportedImageError
from vhdx.format import guids, metadata
from vhdx.image import image
from vhdx.storage.file import open_for_writing
from vhdx.text import brief
from vhdx.write.items import NewItem, index_of
from vhdx.write.write import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.image.image import Image
    from vhdx.storage.base import Storage

_ANOTHER = "a change of user items, which is one of contents,"


@brief("item_id", "length")
class UserItemInfo(NamedTuple):
    """A user item; ``length`` in bytes. If ``virtual_disk``, it follows the disk into copies and children."""

    item_id: UUID
    length: int
    virtual_disk: bool
    required: bool


class ItemList(NamedTuple):
    """The user items of an image, by GUID."""

    path: str
    format: str
    virtual_size: int
    items: tuple[UserItemInfo, ...]


def user_items(path: str | os.PathLike[str], *, lock: bool = True) -> tuple[UserItemInfo, ...]:
    """The user items of an image, by GUID. Raises what opening raises."""
    return item_list(path, lock=lock).items


def item_list(path: str | os.PathLike[str], *, lock: bool = True) -> ItemList:
    """The same, and of which image they are."""
    with _opened(path, lock=lock) as opened:
        entries = [entry for entry in opened.metadata.entries if entry.is_user]
        name, size = opened.storage.name, opened.geometry.disk_size
    items = (
        UserItemInfo(entry.item_id, entry.length, entry.is_virtual_disk, entry.is_required)
        for entry in sorted(entries, key=lambda entry: entry.item_id.bytes)
    )
    return ItemList(name, "vhdx", size, tuple(items))


def get_user_item(path: str | os.PathLike[str], item_id: UUID | str, *, lock: bool = True) -> bytes:
    """The value of a user item. Raises ValueError if the image has none of that GUID."""
    wanted = UUID(str(item_id))
    with _opened(path, lock=lock) as opened:
        entry = opened.metadata.entries[_index_of(opened, wanted)]
        return opened.metadata.item(opened.storage, entry)


def set_user_item(
    path: str | os.PathLike[str],
    item_id: UUID | str,
    value: bytes,
    *,
    virtual_disk: bool | None = None,
    force: bool = False,
    lock: bool = True,
) -> bool:
    """Add a user item or give it another value, durably; whether anything changed.

    ``virtual_disk``: whether it belongs to the disk rather than to the file; None leaves it as it is, and new
    items belong to the file. No item can be made required: all software that does not know it, ours
    included, would refuse the image. The DataWriteGuid changes, by which children know their parent: where
    some lie beside the image only ``force`` does it.

    Where the metadata region is too short it moves to a longer place.

    Raises ValueError for more than 1 MiB, for the null GUID and for those of system items, because QEMU takes
    the user's item for the system's; UnsupportedImageError past 1024 items, 40 MiB of them or 128 MiB of
    metadata and where children would lose their parent; and what opening for writing raises.
    """
    wanted = UUID(str(item_id))
    if wanted == guids.NIL:
        raise ValueError("the null GUID names no item")
    if wanted in metadata.SYSTEM_ITEMS:
        raise ValueError(
            f"{wanted} is the GUID of a system item ({guids.NAMES[wanted]}): QEMU would refuse the image"
        )
    if len(value) > metadata.ITEM_SIZE_LIMIT:
        raise ValueError(f"an item has at most 1 MiB, not {len(value)} bytes")
    storage = open_for_writing(os.fspath(path), lock=lock)
    try:
        opened = image.load(storage)
        index = index_of(opened.metadata.entries, wanted, is_user=True)
        old = None if index is None else opened.metadata.entries[index]
        flags = _flags(metadata.IS_USER if old is None else old.flags, virtual_disk=virtual_disk)
        if old is not None and old.flags == flags and opened.metadata.item(opened.storage, old) == value:
            return False
        _check_total(opened, len(value) - (0 if old is None else old.length))
        if not force:
            refuse_orphans(os.fspath(path), opened.header.data_write_guid, _ANOTHER)
        put_item(storage, opened, NewItem(wanted, value, flags, is_user=True))
        return True
    finally:
        storage.close()


def _check_total(opened: Image, more: int) -> None:
    """Raise UnsupportedImageError where the user items would get so many bytes more and be too many."""
    total = more + sum(entry.length for entry in opened.metadata.entries if entry.is_user)
    if more > 0 and total > metadata.USER_ITEMS_LIMIT:
        raise UnsupportedImageError(
            f"all user items would have {total} bytes; Windows takes at most 40 MiB",
            image=opened.name,
            structure="metadata",
        )


def put_item(storage: Storage, opened: Image, item: NewItem) -> None:
    """Add or replace an item; the metadata region first moves to a longer place if it has to."""
    with Writer(storage, opened) as writer:
        moved = writer.grow_for((item,))
        if not moved:
            writer.put_items((item,), contents=True)
    if moved:
        with Writer(storage, image.load(storage)) as writer:
            writer.put_items((item,), contents=True)


def delete_user_item(
    path: str | os.PathLike[str], item_id: UUID | str, *, force: bool = False, lock: bool = True
) -> None:
    """Delete a user item, durably. Raises ValueError if there is none, and what `set_user_item` raises."""
    wanted = UUID(str(item_id))
    storage = open_for_writing(os.fspath(path), lock=lock)
    try:
        opened = image.load(storage)
        index = _index_of(opened, wanted)
        if not force:
            refuse_orphans(os.fspath(path), opened.header.data_write_guid, _ANOTHER)
        with Writer(storage, opened) as writer:
            writer.delete_item(index)
    finally:
        storage.close()


def _index_of(opened: Image, item_id: UUID) -> int:
    index = index_of(opened.metadata.entries, item_id, is_user=True)
    if index is None:
        raise ValueError(f"{opened.name} has no user item {item_id}")
    return index


def _flags(flags: int, *, virtual_disk: bool | None) -> int:
    if virtual_disk is None:
        return flags
    return flags | metadata.IS_VIRTUAL_DISK if virtual_disk else flags & ~metadata.IS_VIRTUAL_DISK


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str], *, lock: bool) -> Iterator[Image]:
    opened = open_image(path, lock=lock)
    try:
        yield opened
    finally:
        opened.storage.close()
