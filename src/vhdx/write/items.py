"""Changing metadata items [MS-VHDX 2.6.1]: where a value goes, and the table rows that say so.

What is changed belongs into one log entry. A value too long for that goes into pages of which nothing durable
owns a byte; these may be written directly, before the entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vhdx.format import metadata
from vhdx.format.metadata import MetadataEntry
from vhdx.image.pages import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    Entries = tuple[MetadataEntry, ...]
    Patch = tuple[int, bytes]


class NoRoomError(Exception):
    """The table or the region cannot take an item; the message says why."""


class RegionFullError(NoRoomError):
    """The region has no room for a value; a longer one may have."""


class NewItem(NamedTuple):
    """An item as it is to be; ``flags`` None: those that it has."""

    item_id: UUID
    value: bytes
    flags: int | None = None
    is_user: bool = False


class ItemChange(NamedTuple):
    """The rows after a change, and (offset in the region, bytes) that make it."""

    entries: Entries
    logged: tuple[Patch, ...]
    direct: tuple[Patch, ...] = ()

    @property
    def page_count(self) -> int:
        """How many pages of the log it may take."""
        return sum(len(data) // PAGE_SIZE + 2 for _, data in self.logged)


def index_of(entries: Entries, item_id: UUID, *, is_user: bool) -> int | None:
    """Which row is about an item."""
    found = (i for i, entry in enumerate(entries) if (entry.item_id, entry.is_user) == (item_id, is_user))
    return next(found, None)


def with_item(
    entries: Entries, region_length: int, item: NewItem, *, durable: Entries | None = None
) -> ItemChange:
    """Add an item, or give it another value, which goes through the log.

    With ``durable``, the rows that stand in the file, it is written directly: to where none of these stands.
    Raises NoRoomError if the table has no room for it, RegionFullError if the region has none.
    """
    direct = durable is not None
    index = index_of(entries, item.item_id, is_user=item.is_user)
    flags = item.flags if item.flags is not None or index is None else entries[index].flags
    taken = _taken(entries, index) if durable is None else _pages_taken((*entries, *durable))
    offset = _room_for(len(item.value), taken, region_length)
    entry = MetadataEntry(item.item_id, offset if item.value else 0, len(item.value), flags or 0)
    value = ((offset, item.value),)
    table: tuple[Patch, ...]
    if index is None:
        _check_count(entries, entry)
        rows = (*entries, entry)
        table = (_row(len(entries), entry), (metadata.COUNT_OFFSET, metadata.pack_count(len(rows))))
    else:
        rows = (*entries[:index], entry, *entries[index + 1 :])
        table = (_row(index, entry),)
    return ItemChange(rows, table, value) if direct else ItemChange(rows, value + table)


def with_items(
    whole: ItemChange,
    region_length: int,
    items: Iterable[NewItem],
    fits: Callable[[int], bool],
    durable: Entries,
) -> ItemChange:
    """Several items added to a change: directly what would not fit the log, as ``fits`` says of a page count.

    ``durable`` are the rows that stand in the file until the change does.
    """
    for item in items:
        step = with_item(whole.entries, region_length, item)
        if not fits(step.page_count + whole.page_count):
            step = with_item(whole.entries, region_length, item, durable=durable)
        whole = ItemChange(step.entries, whole.logged + step.logged, whole.direct + step.direct)
    return whole


def without_item(entries: Entries, index: int) -> ItemChange:
    """Delete an item: the last row takes the place of its row."""
    last = len(entries) - 1
    rows = (*entries[:index], entries[last], *entries[index + 1 : last]) if index < last else entries[:last]
    moved = (_row(index, entries[last]),) if index < last else ()
    return ItemChange(rows, (*moved, (metadata.COUNT_OFFSET, metadata.pack_count(last))))


def renamed(entries: Entries, index: int, item_id: UUID) -> ItemChange:
    """Give the item of a row another id."""
    row = entries[index]._replace(item_id=item_id)
    return ItemChange((*entries[:index], row, *entries[index + 1 :]), (_row(index, row),))


def _row(index: int, entry: MetadataEntry) -> Patch:
    return metadata.entry_offset(index), metadata.pack_entry(entry)


def _check_count(entries: Entries, entry: MetadataEntry) -> None:
    users = sum(one.is_user for one in entries)
    if entry.is_user and users >= metadata.MAXIMUM_USER_ENTRIES:
        raise NoRoomError(f"there are {users} user items, more are not allowed")
    if len(entries) >= metadata.MAXIMUM_ENTRIES:
        raise NoRoomError("the metadata table is full")


def _taken(entries: Entries, except_index: int | None) -> list[tuple[int, int]]:
    """From where to where items stand, in order."""
    return sorted((e.offset, e.end) for index, e in enumerate(entries) if index != except_index and e.length)


def _pages_taken(entries: Entries) -> list[tuple[int, int]]:
    """The same in whole pages, each of which may be written directly only where no item has a byte of it."""
    ranges = _taken(entries, None)
    return [(start // PAGE_SIZE * PAGE_SIZE, -(-end // PAGE_SIZE) * PAGE_SIZE) for start, end in ranges]


def _room_for(length: int, taken: list[tuple[int, int]], region_length: int) -> int:
    """The first offset in the region, in bytes, at which ``length`` bytes are free."""
    offset = metadata.TABLE_SIZE
    for start, end in taken:
        if offset + length <= start:
            return offset
        offset = max(offset, end)
    if offset + length > region_length:
        raise RegionFullError(
            f"the metadata region of {region_length} bytes has no room for an item of {length} bytes"
        )
    return offset
