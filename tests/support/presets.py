"""Images as other writers make them, where they differ from Windows, whose habits are the builder's own."""

from typing import Any
from uuid import UUID, uuid5

from .build import ImageBuilder
from .layout import MIB, ZERO, ZERO_GUID
from .parts import Header

QEMU_ITEM_ORDER = (
    "file_parameters",
    "virtual_disk_size",
    "virtual_disk_id",
    "logical_sector_size",
    "physical_sector_size",
)


def qemu_like(**changes: Any) -> ImageBuilder:
    """As QEMU: BAT before metadata, nothing required, all blocks ZERO, headers of different data GUIDs."""
    usual: dict[str, Any] = {
        "creator": "QEMU v8.2.0",
        "physical_sector_size": 512,
        "block_size": 8 * MIB,
        "default_state": ZERO,
        "region_required": 0,
        "placement": ("log", "bat", "metadata"),
        "item_order": QEMU_ITEM_ORDER,
        "stale_slot": False,
        "gap": 4 * MIB,
        "sequence_numbers": (0x52C7A3F1, 0x52C7A3F2),
        "headers": {1: Header(data_write_guid=_older_guid())},
    }
    return ImageBuilder(**{**usual, **changes})


def _older_guid() -> UUID:
    return uuid5(ZERO_GUID, "the data write GUID that QEMU gave the first of its two updates")


def disk2vhd_like(**changes: Any) -> ImageBuilder:
    """As Sysinternals Disk2vhd: two identical headers, metadata first in the table, 512 bytes too many."""
    usual: dict[str, Any] = {
        "creator": "d2v",
        "physical_sector_size": 512,
        "block_size": 2 * MIB,
        "item_order": QEMU_ITEM_ORDER,
        "stale_slot": False,
        "table_order": ("metadata", "bat"),
        "sequence_numbers": (1, 1),
        "tail": bytes(512),
    }
    return ImageBuilder(**{**usual, **changes})
