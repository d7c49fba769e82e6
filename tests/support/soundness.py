"""Whether the structures of a file are sound: an independent look at a content, with its log replayed.

Written from the format reference; valid log entries are those of the naive reader. One damaged copy beside a
good one is a warning; everything else that breaks a rule is an `UnsoundError`. What was looked at once is
remembered by the bytes of its pages, because thousands of contents differ in a few of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from . import layout
from .layout import (
    BITMAP_SIZE,
    BITS_OF_A_BITMAP,
    FULLY_PRESENT,
    HEADER,
    HEADER_OFFSETS,
    HEADER_SECTION,
    ITEM_GUIDS,
    METADATA_ENTRY,
    METADATA_TABLE,
    MIB,
    NOT_PRESENT,
    PARTIALLY_PRESENT,
    REGION_ENTRY,
    REGION_TABLE,
    REGION_TABLE_OFFSETS,
    SECTOR,
    TABLE_SIZE,
    UNDEFINED,
    UNMAPPED,
    ZERO,
    ZERO_GUID,
    seal,
)
from .naive import NaiveEntry, naive_entry
from .sparse import PAGE, Content

_T = TypeVar("_T")
Words = NDArray[np.uint64]
_KEEPS_SPACE = (UNDEFINED, UNMAPPED)
_FILE_OFFSET = ~0xFFFFF
SHORT = "the last block is short in the file"
"""As QEMU leaves fixed images; nobody else may."""


class UnsoundError(AssertionError):
    """A structure breaks a rule that no crash may break."""


class Log(NamedTuple):
    """The log as the current header names it, and the entries that are to be replayed, oldest first."""

    guid: UUID
    file_offset: int
    length: int
    entries: tuple[NaiveEntry, ...]


class Disk(NamedTuple):
    """What the metadata say."""

    size: int
    block_size: int
    sector_size: int
    differencing: bool
    fixed: bool

    @property
    def ratio(self) -> int:
        """Payload blocks to a bitmap block."""
        return BITS_OF_A_BITMAP * self.sector_size // self.block_size

    @property
    def entries(self) -> int:
        """Entries of the BAT."""
        blocks = -(-self.size // self.block_size)
        chunks = -(-blocks // self.ratio)
        return chunks * (self.ratio + 1) if self.differencing else blocks + max(blocks - 1, 0) // self.ratio

    def block_of(self, index: int) -> int | None:
        """The payload block of a BAT entry, None for the entry of a bitmap."""
        chunk, within = divmod(index, self.ratio + 1)
        return None if within == self.ratio else chunk * self.ratio + within


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What was found in a sound file."""

    content: Content
    """The file as it is."""
    replayed: Content
    """The file after the replay of its log."""
    header: bytes
    slot: int
    log: Log
    regions: dict[UUID, tuple[int, int]]
    disk: Disk
    words: Words
    """The BAT."""
    blocks: dict[int, int]
    """The file offset of each block that is present."""
    owners: dict[int, int]
    """The MiB of the disk that each MiB of the file holds, if it holds one."""
    warnings: frozenset[str]

    def guid(self, name: str) -> UUID:
        """A GUID of the current header."""
        return HEADER.guid(self.header, name)

    @property
    def structures(self) -> list[tuple[int, int]]:
        """From where to where the file belongs to something that is no block."""
        return _areas(self.log, self.regions)

    def read(self, length: int, offset: int) -> bytes:
        """Bytes of the disk; not of a differencing one."""
        parts, size = [], self.disk.block_size
        while length:
            block, inside = divmod(offset, size)
            step = min(size - inside, length)
            place = self.blocks.get(block)
            parts.append(bytes(step) if place is None else self.replayed.read(step, place + inside))
            offset, length = offset + step, length - step
        return parts[0] if len(parts) == 1 else b"".join(parts)


class Surveyor:
    """Looks at contents, one after the other."""

    def __init__(self) -> None:
        self._seen: dict[Any, Any] = {}

    def _once(self, key: object, find: Callable[[], _T]) -> _T:
        if key not in self._seen:
            self._seen[key] = find()
        found: _T = self._seen[key]
        return found

    def survey(self, content: Content) -> Survey:
        """The file as it is, and as it will be after replay. Raises UnsoundError."""
        _require(content.read(8, 0) == b"vhdxfile", "the file identifier is damaged")
        header, slot, warnings = self._header(content)
        log = self._log(content, header)
        replayed = _replayed(content, log)
        regions, damaged = self._regions(replayed)
        disk = self._disk(replayed, regions)
        areas = _areas(log, regions)
        for (_, end), (start, _) in pairwise(areas):
            _require(end <= start, f"two structures overlap at {start:#x}")
        _require(areas[-1][1] <= replayed.size, "a structure passes the end of the file")
        at, length = regions[layout.BAT_GUID]
        _require(disk.entries * 8 <= length, "the BAT region is too small")
        pages = replayed.whole_pages(at, -(-disk.entries * 8 // PAGE) * PAGE)
        key = ("bat", pages, replayed.size, disk, tuple(areas))
        words, blocks, owners, short = self._once(key, partial(_blocks, pages, disk, areas, replayed.size))
        return Survey(
            content,
            replayed,
            header,
            slot,
            log,
            regions,
            disk,
            words,
            blocks,
            owners,
            frozenset({*warnings, *damaged, *short}),
        )

    def _header(self, content: Content) -> tuple[bytes, int, list[str]]:
        slots = [content.page(offset // PAGE) for offset in HEADER_OFFSETS.values()]
        good = [self._once(("header", raw), partial(_is_header, raw)) for raw in slots]
        _require(any(good), "no header is valid")
        numbers = [
            HEADER.number(raw, "sequence_number") if ok else -1 for raw, ok in zip(slots, good, strict=True)
        ]
        _require(numbers[0] != numbers[1] or slots[0] == slots[1], "no header is current")
        slot = 1 if numbers[1] > numbers[0] else 0
        header = slots[slot]
        _require(HEADER.number(header, "version") == 1, "the header has an unknown version")
        _require(HEADER.number(header, "log_version") == 0, "the log has an unknown version")
        return header, slot, [] if all(good) else ["one header is damaged"]

    def _log(self, content: Content, header: bytes) -> Log:
        guid = HEADER.guid(header, "log_guid")
        offset, length = HEADER.number(header, "log_offset"), HEADER.number(header, "log_length")
        _require(offset % MIB == length % MIB == 0 < length, "the log is not aligned")
        _require(offset >= HEADER_SECTION and offset + length <= content.size, "the log is not in the file")
        if guid == ZERO_GUID:
            return Log(guid, offset, length, ())
        pages = content.whole_pages(offset, length)
        entries = self._once(("log", guid, pages), partial(self._sequence, pages, guid, offset))
        _require(bool(entries), "the log has a GUID, but no active sequence")
        _require(content.size >= entries[-1].flushed_file_offset, "the file is shorter than its log says")
        return Log(guid, offset, length, entries)

    def _sequence(self, pages: tuple[bytes, ...], guid: UUID, log_offset: int) -> tuple[NaiveEntry, ...]:
        """The active sequence from the head's tail to its head (reference, 6.5); empty if there is none."""
        ring = b""
        entries: dict[int, NaiveEntry] = {}
        for index, page in enumerate(pages):
            if page[:4] == b"loge":
                count = max(1, layout.LOG_ENTRY.number(page, "entry_length") // SECTOR)
                body = (pages + pages)[index : index + min(count, len(pages))]
                key = ("entry", index, guid, body, len(pages))
                if key not in self._seen:
                    ring = ring or b"".join(pages)
                entry = self._once(key, partial(naive_entry, ring, index * SECTOR, guid, log_offset))
                if entry is not None:
                    entries[entry.offset] = entry
        best: list[NaiveEntry] = []
        for head in entries.values():
            run = _back_to_tail(head, entries, len(pages) * SECTOR)
            if run and (not best or head.sequence_number > best[-1].sequence_number):
                best = run
        return tuple(best)

    def _regions(self, content: Content) -> tuple[dict[UUID, tuple[int, int]], list[str]]:
        copies = [content.whole_pages(offset, TABLE_SIZE) for offset in REGION_TABLE_OFFSETS.values()]
        read = [self._once(("regions", pages), partial(_regions, pages)) for pages in copies]
        first, second = read
        if first and second:
            return first, [] if copies[0] == copies[1] else ["the region tables differ"]
        _require(bool(first or second), "no region table is valid")
        return first or second, ["one region table is damaged"]

    def _disk(self, content: Content, regions: dict[UUID, tuple[int, int]]) -> Disk:
        at = regions[layout.METADATA_GUID][0]
        pages = content.whole_pages(at, 2 * TABLE_SIZE)
        return self._once(("metadata", pages), partial(_disk, pages))


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise UnsoundError(otherwise)


def _is_header(raw: bytes) -> bool:
    good = raw[:4] == b"head" and seal(raw) == raw
    _require(not good or not any(HEADER.raw(raw, "reserved")), "reserved bytes of a header are not zero")
    return good


def _back_to_tail(head: NaiveEntry, entries: dict[int, NaiveEntry], length: int) -> list[NaiveEntry]:
    """The entries from the head's tail to the head, if they follow each other without a gap."""
    run, entry, used = [], entries.get(head.tail), 0
    while entry is not None:
        run.append(entry)
        used += entry.length
        if entry is head:
            return run if used <= length else []
        after = entries.get((entry.offset + entry.length) % length)
        follows = after is not None and after.sequence_number == entry.sequence_number + 1
        entry = after if follows and used <= length else None
    return []


def _replayed(content: Content, log: Log) -> Content:
    if not log.entries:
        return content
    replayed = content.copy()
    for entry in log.entries:
        for target, size, data in entry.writes:
            replayed.size = max(replayed.size, target + size)
            if data is None:
                replayed.zero(target, size)
            else:
                replayed.put_page(target // PAGE, data)
    replayed.size = max(replayed.size, -(-log.entries[-1].last_file_offset // MIB) * MIB)
    return replayed


def _regions(pages: tuple[bytes, ...]) -> dict[UUID, tuple[int, int]]:
    """The regions that a copy of the table names; nothing if the copy is damaged."""
    table = b"".join(pages)
    if table[:4] != b"regi" or seal(table) != table:
        return {}
    count = REGION_TABLE.number(table, "entry_count")
    rows = [table[16 + 32 * index : 48 + 32 * index] for index in range(count)]
    regions = {
        REGION_ENTRY.guid(row, "guid"): (
            REGION_ENTRY.number(row, "file_offset"),
            REGION_ENTRY.number(row, "length"),
        )
        for row in rows
    }
    _require(len(regions) == count, "a region stands twice")
    _require({layout.BAT_GUID, layout.METADATA_GUID} <= regions.keys(), "a region is missing")
    for at, length in regions.values():
        _require(at % MIB == length % MIB == 0 < length and at >= HEADER_SECTION, "a region is not aligned")
    return regions


def _disk(pages: tuple[bytes, ...]) -> Disk:
    region = b"".join(pages)
    _require(region[:8] == b"metadata", "the metadata table is damaged")
    items: dict[UUID, bytes] = {}
    for index in range(METADATA_TABLE.number(region, "entry_count")):
        row = region[32 + 32 * index : 64 + 32 * index]
        at, length = METADATA_ENTRY.number(row, "offset"), METADATA_ENTRY.number(row, "length")
        items[METADATA_ENTRY.guid(row, "item_id")] = region[at : at + length]

    def number(name: str) -> int:
        return int.from_bytes(items[ITEM_GUIDS[name]], "little")

    flags = number("file_parameters") >> 32
    return Disk(
        number("virtual_disk_size"),
        number("file_parameters") & 0xFFFFFFFF,
        number("logical_sector_size"),
        bool(flags & layout.HAS_PARENT),
        flags & 3 == layout.LEAVE_BLOCK_ALLOCATED,
    )


def _areas(log: Log, regions: dict[UUID, tuple[int, int]]) -> list[tuple[int, int]]:
    areas = [(0, HEADER_SECTION), (log.file_offset, log.file_offset + log.length)]
    return sorted(areas + [(at, at + length) for at, length in regions.values()])


def _blocks(
    pages: tuple[bytes, ...], disk: Disk, areas: list[tuple[int, int]], file_size: int
) -> tuple[Words, dict[int, int], dict[int, int], list[str]]:
    """The entries of a BAT and where the blocks are, after every rule about them has been tested."""
    words = np.frombuffer(b"".join(pages), dtype="<u8", count=disk.entries)
    _require(not np.any(words & np.uint64(0xFFFF8)), "reserved bits of a BAT entry are not zero")
    claims = list(areas)
    blocks: dict[int, int] = {}
    for index in np.flatnonzero(words).tolist():
        word = int(words[index])
        state, place, block = word & 7, word & _FILE_OFFSET, disk.block_of(index)
        what = f"BAT entry {index} ({word:#x})"
        if block is None:
            _require(disk.differencing and state in (NOT_PRESENT, FULLY_PRESENT), f"{what}: bitmap state")
            if state == FULLY_PRESENT:
                claims.append(_claim(what, place, BITMAP_SIZE, BITMAP_SIZE, file_size))
        elif state in (FULLY_PRESENT, PARTIALLY_PRESENT):
            _require(state == FULLY_PRESENT or disk.differencing, f"{what}: state of another kind of disk")
            blocks[block] = place
            needed = min(disk.block_size, disk.size - block * disk.block_size)
            claims.append(_claim(what, place, disk.block_size, needed, file_size))
        elif state in _KEEPS_SPACE:
            if place:
                claims.append(_claim(what, place, disk.block_size, disk.block_size, file_size))
        else:
            _require(state in (NOT_PRESENT, ZERO) and not place, f"{what}: illegal")
    claims.sort()
    for (_, end), (start, _) in pairwise(claims):
        _require(end <= start, f"space at {start:#x} is claimed twice")
    count = disk.block_size // MIB
    owners = {at // MIB + i: block * count + i for block, at in blocks.items() for i in range(count)}
    short = any(place + disk.block_size > file_size for place in blocks.values())
    return words, blocks, owners, [SHORT] if short else []


def _claim(what: str, place: int, length: int, needed: int, file_size: int) -> tuple[int, int]:
    _require(place + needed <= file_size, f"{what}: passes the end of the file at {file_size:#x}")
    return place, place + length
