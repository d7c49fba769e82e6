"""What a test may say about each part of an image; a field left `None` is as a right writer writes it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any
from uuid import UUID

from .layout import FULLY_PRESENT


@dataclass
class Block:
    """A payload block: its entry, its bytes in the file and the sectors that its bitmap bits name.

    `data` stands at the start of the block, or is a mapping of offset in the block to bytes. A block gets
    space when its state is 6 or 7, when it is `anchored`, or where `file_offset` says; other blocks get none
    and their data is written nowhere. `present` are sector numbers in the block, or the raw bitmap bytes.
    """

    data: bytes | Mapping[int, bytes] = b""
    state: int = FULLY_PRESENT
    present: Collection[int] | bytes | None = None
    file_offset: int | None = None
    anchored: bool = False
    reserved: int = 0

    def pieces(self) -> Mapping[int, bytes]:
        """The data by its offset in the block."""
        return {0: self.data} if isinstance(self.data, bytes) else self.data


@dataclass
class Bitmap:
    """A sector bitmap block and its entry; `data` is what stands below the bits that blocks ask for."""

    data: bytes = b""
    state: int | None = None
    file_offset: int | None = None
    reserved: int = 0


@dataclass
class Item:
    """A metadata item; `omit` leaves a known one out, `data_offset` puts the value where the entry lies."""

    value: bytes | None = None
    flags: int | None = None
    item_id: UUID | None = None
    offset: int | None = None
    length: int | None = None
    reserved2: int | None = None
    data_offset: int | None = None
    omit: bool = False


@dataclass
class MetadataTable:
    """The metadata table; `rest` stands behind the last entry and `raw` replaces the whole table."""

    signature: bytes | None = None
    reserved: int | None = None
    entry_count: int | None = None
    reserved2: bytes | None = None
    rest: bytes | None = None
    raw: bytes | None = None


@dataclass
class Region:
    """A region and its entry; `at` and `size` place it, the entry says the same unless told otherwise."""

    guid: UUID | None = None
    file_offset: int | None = None
    length: int | None = None
    required: int | None = None
    at: int | None = None
    size: int | None = None
    data: bytes = b""
    omit: bool = False


@dataclass
class RegionTable:
    """One copy of the region table; `raw` replaces the copy."""

    entries: Sequence[bytes] | None = None
    signature: bytes | None = None
    entry_count: int | None = None
    reserved: int | None = None
    rest: bytes | None = None
    checksum: int | None = None
    raw: bytes | None = None


@dataclass
class Header:
    """One of the two headers; `raw` replaces it."""

    sequence_number: int | None = None
    file_write_guid: UUID | None = None
    data_write_guid: UUID | None = None
    log_guid: UUID | None = None
    log_version: int | None = None
    version: int | None = None
    log_length: int | None = None
    log_offset: int | None = None
    signature: bytes | None = None
    reserved: bytes | None = None
    checksum: int | None = None
    raw: bytes | None = None


def given(part: MetadataTable | RegionTable | Header | Item, *names: str) -> dict[str, Any]:
    """The fields of the part that a test has set, but for `raw`; only the named ones if names are given."""
    chosen = names or tuple(field.name for field in fields(part) if field.name != "raw")
    return {name: getattr(part, name) for name in chosen if getattr(part, name) is not None}
