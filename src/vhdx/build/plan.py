"""What a new image is to be, every value already legal."""

from __future__ import annotations

from vhdx.extents import BlockState
from vhdx.format.metadata import IS_USER, IS_VIRTUAL_DISK
from vhdx.geometry import Geometry
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from uuid import UUID


class UserItem(NamedTuple):
    """A user metadata item that belongs to the virtual disk, not to the file."""

    item_id: UUID
    value: bytes
    flags: int = IS_USER | IS_VIRTUAL_DISK


class ImagePlan(NamedTuple):
    """What a new image is to be; sizes in bytes, already legal.

    ``absent`` is the state of blocks without contents: NOT_PRESENT or ZERO.
    """

    fixed: bool
    block_size: int
    log_length: int
    logical_sector_size: int
    physical_sector_size: int
    disk_id: UUID
    absent: BlockState = BlockState.NOT_PRESENT
    user_items: tuple[UserItem, ...] = ()
    locator: tuple[tuple[str, str], ...] = ()
    """Keys and values of the parent locator; empty if there is no parent."""

    def geometry(self, disk_size: int) -> Geometry:
        """The geometry of a disk of ``disk_size`` bytes."""
        return Geometry(disk_size, self.block_size, self.logical_sector_size, bool(self.locator))
