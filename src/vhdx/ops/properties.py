"""Change what an image says of its disk, in place: identity, physical sectors, fixed or dynamic."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Literal, NamedTuple

from vhdx.disk.children import refuse_orphans
from vhdx.errors import UnsupportedImageError
from vhdx.examine.unexplained import refuse_lost_entries
from vhdx.format import guids, metadata
from vhdx.image import image
from vhdx.ops.compact import Asked, compact_in_place
from vhdx.ops.make.plan import NOT_RESERVED
from vhdx.progress import Meter
from vhdx.reshape.allocate import become_dynamic, become_fixed
from vhdx.storage.file import open_for_writing
from vhdx.text import brief
from vhdx.write.items import NewItem
from vhdx.write.write import Writer

if TYPE_CHECKING:
    from uuid import UUID

    from vhdx.image.image import Image
    from vhdx.progress import Progress
    from vhdx.storage.base import Storage

_REPAIR_FIRST = "repair the image first"
NEW_IDENTITY = (
    "children in other folders, if there are any, do not know this image any more: "
    "vhdx rebase CHILD --parent IMAGE --ignore-identity"
)


@brief("path", "changed")
class PropertiesResult(NamedTuple):
    """What the image says now; ``changed`` names what it said otherwise before. Sizes in bytes.

    ``new_identity``: the DataWriteGuid changed, by which children know their parent.
    """

    path: str
    format: str
    virtual_size: int
    disk_id: UUID
    physical_sector_size: int
    disk_type: str
    changed: tuple[str, ...]
    file_size_before: int
    file_size_after: int
    new_identity: bool
    remarks: tuple[str, ...]


def set_properties(
    path: str | os.PathLike[str],
    *,
    disk_id: UUID | str | None = None,
    physical_sector_size: int | None = None,
    disk_type: Literal["fixed", "dynamic"] | None = None,
    force: bool = False,
    lock: bool = True,
    progress: Progress | None = None,
) -> PropertiesResult:
    """Change an image in place, through the journal. None leaves a property as it is.

    ``disk_id`` is a UUID, or ``"new"`` for a random one. Another disk id or physical sector size is another
    disk to whoever knows this one: the DataWriteGuid changes. Where children lie beside the image only
    ``force`` does that. ``"fixed"`` gives every block space, which is reserved before anything changes;
    ``"dynamic"`` gives blocks of zeros back. The contents stay, and so does the DataWriteGuid.

    A crash leaves each of these done or not done; of a change to fixed, a dynamic image with more space.
    Raises ValueError for values that the format cannot have, UnsupportedImageError for the type of a
    differencing image and where children would lose their parent, OSError (ENOSPC) when the disk is full,
    and what opening for writing raises.
    """
    path = os.fspath(path)
    wanted_id = _uuid(disk_id)
    if physical_sector_size not in (None, *metadata.SECTOR_SIZES):
        raise ValueError(f"physical sectors have 512 or 4096 bytes, not {physical_sector_size}")
    if disk_type not in (None, "fixed", "dynamic"):
        raise ValueError(f"an image becomes fixed or dynamic, not {disk_type}")
    storage = open_for_writing(path, lock=lock)
    try:
        before, size = image.load(storage), storage.size()
        if disk_type is not None and before.metadata.has_parent:
            raise UnsupportedImageError("a differencing image is neither fixed nor dynamic", image=path)
        items = identity_items(before, wanted_id, physical_sector_size)
        if items and not force:
            refuse_orphans(path, before.header.data_write_guid, "another identity")
        put_items(storage, before, items)
        reserved = True
        if disk_type is not None and disk_type != before.metadata.disk_type:
            change_type = make_fixed if disk_type == "fixed" else make_dynamic
            reserved = change_type(storage, Meter(progress))
        after = image.load(storage)
        return _result(path, before, after, (size, storage.size()), reserved=reserved)
    finally:
        storage.close()


def _uuid(disk_id: UUID | str | None) -> UUID | None:
    if disk_id == "new":
        return uuid.uuid4()
    return None if disk_id is None else uuid.UUID(str(disk_id))


def identity_items(
    before: Image, disk_id: UUID | None, physical_sector_size: int | None
) -> tuple[NewItem, ...]:
    """The items that are to be otherwise than they are."""
    values = {}
    if disk_id is not None and disk_id != before.metadata.disk_id:
        values[guids.VIRTUAL_DISK_ID] = disk_id.bytes_le
    if physical_sector_size not in (None, before.metadata.physical_sector_size):
        values[guids.PHYSICAL_SECTOR_SIZE] = (physical_sector_size or 0).to_bytes(4, "little")
    return tuple(NewItem(item_id, value) for item_id, value in values.items())


def put_items(storage: Storage, opened: Image, items: tuple[NewItem, ...]) -> None:
    """Change what a guest knows the disk by, in one log entry; without items nothing is written."""
    if items:
        with Writer(storage, opened) as writer:
            writer.put_items(items, contents=True)


def make_fixed(storage: Storage, meter: Meter) -> bool:
    """Allocate every block, and say so last; whether the host reserved the space."""
    opened = image.load(storage)
    refuse_lost_entries(opened, _REPAIR_FIRST)
    with Writer(storage, opened) as writer:
        return become_fixed(writer, meter.advance)


def make_dynamic(storage: Storage, meter: Meter) -> bool:
    """Say that blocks need no space, then give that of zeros back."""
    refuse_lost_entries(image.load(storage), _REPAIR_FIRST)
    say_dynamic(storage)
    asked = Asked(scan_zeros=True, punch=False, free=())
    compact_in_place(storage, image.load(storage), None, asked, meter)
    return True


def say_dynamic(storage: Storage) -> None:
    """Blocks need no space of their own from now on."""
    with Writer(storage, image.load(storage)) as writer:
        become_dynamic(writer)


def _result(
    path: str, before: Image, after: Image, sizes: tuple[int, int], *, reserved: bool
) -> PropertiesResult:
    old, new = before.metadata, after.metadata
    names = ("disk_id", "physical_sector_size", "disk_type")
    return PropertiesResult(
        path,
        "vhdx",
        after.geometry.disk_size,
        new.disk_id,
        new.physical_sector_size,
        new.disk_type,
        tuple(name for name in names if getattr(old, name) != getattr(new, name)),
        *sizes,
        before.header.data_write_guid != after.header.data_write_guid,
        () if reserved else (NOT_RESERVED,),
    )
