"""A naive twin: a reader of images so plain and slow that one can see that it is right.

It follows the format reference line by line, keeps nothing between calls, and refuses with `NaiveError` what
has no right answer. A dirty log is replayed into memory.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from .calls import OPEN_FLAGS, pread
from .layout import (
    BAT_ENTRY,
    BAT_GUID,
    BITS_OF_A_BITMAP,
    DATA_DESCRIPTOR,
    DATA_SECTOR,
    FILE_PARAMETERS,
    FULLY_PRESENT,
    HAS_PARENT,
    HEADER,
    HEADER_OFFSETS,
    ITEM_GUIDS,
    KIB,
    LOG_ENTRY,
    METADATA_ENTRY,
    METADATA_GUID,
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
    ZERO_DESCRIPTOR,
    ZERO_GUID,
    seal,
)

Path = str | os.PathLike[str]
ReadFile = Callable[[int, int], bytes]
"""`length` bytes of a file at an offset, fewer where it ends."""
UNMAPPED_V095 = 5


class NaiveError(Exception):
    """The image has no right content."""


@dataclass(frozen=True)
class NaiveEntry:
    """A valid log entry; its writes are (file offset, length, bytes or None for zeros)."""

    offset: int
    length: int
    sequence_number: int
    tail: int
    flushed_file_offset: int
    last_file_offset: int
    writes: tuple[tuple[int, int, bytes | None], ...]


def naive_entry(log: bytes, offset: int, guid: UUID, log_offset: int | None = None) -> NaiveEntry | None:
    """The entry at a ring offset if it is valid (reference, 6.4), else None.

    Rule 9, that no target overlaps the log, is only tested if `log_offset` tells where the log lies.
    """
    head = log[offset : offset + LOG_ENTRY.size]
    if head[:4] != b"loge" or LOG_ENTRY.guid(head, "log_guid") != guid:
        return None
    length, count = LOG_ENTRY.number(head, "entry_length"), LOG_ENTRY.number(head, "descriptor_count")
    number, tail = LOG_ENTRY.number(head, "sequence_number"), LOG_ENTRY.number(head, "tail")
    if length % SECTOR or not SECTOR <= length <= len(log):
        return None
    ring = log[offset : offset + length]
    ring += log[: length - len(ring)]
    if seal(ring) != ring:
        return None
    if tail % SECTOR or tail >= len(log) or number == 0:  # rule 5, Reserved = 0, is tested by nobody
        return None
    data_at = -(-(LOG_ENTRY.size + 32 * count) // SECTOR) * SECTOR
    if data_at > length:
        return None
    writes: list[tuple[int, int, bytes | None]] = []
    for index in range(count):
        descriptor = ring[64 + 32 * index : 96 + 32 * index]
        target = DATA_DESCRIPTOR.number(descriptor, "file_offset")
        if DATA_DESCRIPTOR.number(descriptor, "sequence_number") != number or target % SECTOR:
            return None
        if descriptor[:4] == b"zero":
            size = ZERO_DESCRIPTOR.number(descriptor, "zero_length")
            if size % SECTOR or ZERO_DESCRIPTOR.number(descriptor, "reserved") != 0:
                return None
            writes.append((target, size, None))
        elif descriptor[:4] == b"desc":
            sector = ring[data_at : data_at + SECTOR]
            data_at += SECTOR
            if data_at > length or sector[:4] != b"data":
                return None
            if DATA_SECTOR.number(sector, "sequence_high") != number >> 32:
                return None
            if DATA_SECTOR.number(sector, "sequence_low") != number & 0xFFFFFFFF:
                return None
            writes.append((target, SECTOR, descriptor[8:16] + sector[8:4092] + descriptor[4:8]))
        else:
            return None
    if data_at != length:
        return None
    for target, size, _ in writes:
        if target < 192 * KIB or target + size >= 1 << 64:
            return None
        if log_offset is not None and target < log_offset + len(log) and log_offset < target + size:
            return None
    return NaiveEntry(
        offset,
        length,
        number,
        tail,
        LOG_ENTRY.number(head, "flushed_file_offset"),
        LOG_ENTRY.number(head, "last_file_offset"),
        tuple(writes),
    )


def naive_active_sequence(log: bytes, guid: UUID, log_offset: int | None = None) -> list[NaiveEntry] | None:
    """The active sequence of a log (reference, 6.5) as it was scanned, from oldest to head, or None."""
    best: list[NaiveEntry] | None = None
    current = old = 0
    while True:
        run: list[NaiveEntry] = []
        position, used = current, 0
        while entry := naive_entry(log, position, guid, log_offset):
            if run and entry.sequence_number != run[-1].sequence_number + 1:
                break
            if used + entry.length > len(log):
                break
            run.append(entry)
            used += entry.length
            position = (position + entry.length) % len(log)
        complete = bool(run) and any(entry.offset == run[-1].tail for entry in run)
        if complete and (best is None or run[-1].sequence_number > best[-1].sequence_number):
            best = run
        current = position if complete else (current + SECTOR) % len(log)
        if current <= old:
            return best
        old = current


def naive_replayed(sequence: Sequence[NaiveEntry]) -> list[NaiveEntry]:
    """The entries of an active sequence that are replayed: from the head's tail to the head."""
    first = next(index for index, entry in enumerate(sequence) if entry.offset == sequence[-1].tail)
    return list(sequence[first:])


@dataclass
class _Image:
    """A file with its log replayed into `overlay` (file offset to sector), and what the metadata say."""

    file: ReadFile
    length: int
    overlay: dict[int, bytes] = field(default_factory=dict)
    bat_offset: int = 0
    disk_size: int = 0
    block_size: int = 0
    sector_size: int = 0
    has_parent: bool = False

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the file as they stand after the replay."""
        if offset + length > self.length:
            raise NaiveError(f"{length} bytes at {offset:#x} pass the end of the file")
        raw = bytearray(self.file(length, offset).ljust(length, b"\0"))
        if self.overlay:
            for sector in range(offset - offset % SECTOR, offset + length, SECTOR):
                new = self.overlay.get(sector)
                if new is not None:
                    start, end = max(sector, offset), min(sector + SECTOR, offset + length)
                    raw[start - offset : end - offset] = new[start - sector : end - sector]
        return bytes(raw)


def _current_header(image: _Image) -> bytes:
    headers = [image.read(offset, SECTOR) for offset in HEADER_OFFSETS.values()]
    valid = [header for header in headers if header[:4] == b"head" and seal(header) == header]
    if not valid:
        raise NaiveError("no header is valid")
    numbers = [HEADER.number(header, "sequence_number") for header in valid]
    if len(valid) == 2 and numbers[0] == numbers[1] and valid[0] != valid[1]:
        raise NaiveError("no header is current")
    return valid[numbers.index(max(numbers))]


def _replay(image: _Image, header: bytes) -> None:
    guid = HEADER.guid(header, "log_guid")
    if guid == ZERO_GUID:
        return
    if HEADER.number(header, "log_version") != 0:
        raise NaiveError("the log has an unknown version")
    log_offset = HEADER.number(header, "log_offset")
    log = image.read(log_offset, HEADER.number(header, "log_length"))
    sequence = naive_active_sequence(log, guid, log_offset) if log else None
    if sequence is None:
        raise NaiveError("the log has a GUID and no active sequence")
    if image.length < sequence[-1].flushed_file_offset:
        raise NaiveError("the file was truncated")
    stored = image.length
    for entry in naive_replayed(sequence):
        for target, size, data in entry.writes:
            # behind the end of the file only what an earlier entry put there can be anything but zeros
            there = {*range(target, min(target + size, stored), SECTOR)}
            there |= {at for at in image.overlay if target <= at < target + size}
            for at in there if data is None else (target,):
                image.overlay[at] = bytes(SECTOR) if data is None else data
            image.length = max(image.length, target + size)
    image.length = max(image.length, -(-sequence[-1].last_file_offset // MIB) * MIB)


def _regions(image: _Image) -> dict[UUID, int]:
    for offset in REGION_TABLE_OFFSETS.values():
        table = image.read(offset, TABLE_SIZE)
        count = REGION_TABLE.number(table, "entry_count")
        if table[:4] == b"regi" and seal(table) == table and count <= 2047:
            entries = [table[16 + 32 * index : 48 + 32 * index] for index in range(count)]
            return {
                REGION_ENTRY.guid(entry, "guid"): REGION_ENTRY.number(entry, "file_offset")
                for entry in entries
            }
    raise NaiveError("no region table is valid")


def _items(image: _Image, region: int) -> dict[UUID, bytes]:
    table = image.read(region, TABLE_SIZE)
    if table[:8] != b"metadata":
        raise NaiveError("the metadata table has no signature")
    items: dict[UUID, bytes] = {}
    for index in range(METADATA_TABLE.number(table, "entry_count")):
        entry = table[32 + 32 * index : 64 + 32 * index]
        offset, length = METADATA_ENTRY.number(entry, "offset"), METADATA_ENTRY.number(entry, "length")
        items[METADATA_ENTRY.guid(entry, "item_id")] = image.read(region + offset, length)
    return items


def _load(file: ReadFile, length: int) -> _Image:
    image = _Image(file, length)
    if image.read(0, 8) != b"vhdxfile":
        raise NaiveError("this is no VHDX file")
    header = _current_header(image)
    if HEADER.number(header, "version") != 1:
        raise NaiveError("the header has an unknown version")
    _replay(image, header)
    try:
        regions = _regions(image)
        items = _items(image, regions[METADATA_GUID])
        parameters = items[ITEM_GUIDS["file_parameters"]]
        image.bat_offset = regions[BAT_GUID]
        image.disk_size = int.from_bytes(items[ITEM_GUIDS["virtual_disk_size"]], "little")
        image.sector_size = int.from_bytes(items[ITEM_GUIDS["logical_sector_size"]], "little")
    except KeyError as missing:
        raise NaiveError(f"there is no region or item {missing}") from missing
    image.block_size = FILE_PARAMETERS.number(parameters, "block_size")
    image.has_parent = bool(FILE_PARAMETERS.number(parameters, "flags") & HAS_PARENT)
    return image


@dataclass(frozen=True)
class NaiveDisk:
    """The virtual disk of an image: its size, and bytes of it by (offset, length)."""

    size: int
    read: Callable[[int, int], bytes]


def naive_disk(file: ReadFile, length: int, parent: NaiveDisk | None = None) -> NaiveDisk:
    """The disk of an image that is `length` bytes long, over that of its parent; looked through only once."""
    image = _load(file, length)
    return NaiveDisk(image.disk_size, lambda offset, length: _content(image, offset, length, parent))


def naive_size(path: Path) -> int:
    """The size of the virtual disk."""
    with _opened(path) as (file, length):
        return _load(file, length).disk_size


def naive_content(path: Path, offset: int, length: int, parents: Sequence[Path] = ()) -> bytes:
    """Bytes of the virtual disk; `parents` are the files below it, the nearest first."""
    with naive_reader(path, parents) as read:
        return read(offset, length)


@contextmanager
def naive_reader(path: Path, parents: Sequence[Path] = ()) -> Iterator[Callable[[int, int], bytes]]:
    """The same for several ranges of one image, which is looked through only once."""
    with ExitStack() as stack:
        disk: NaiveDisk | None = None
        for name in reversed((path, *parents)):
            disk = naive_disk(*stack.enter_context(_opened(name)), disk)
        assert disk is not None
        yield disk.read


def file_of(descriptor: int) -> tuple[ReadFile, int]:
    """An open file as it is read here, and its length now."""
    return lambda length, offset: pread(descriptor, length, offset), os.fstat(descriptor).st_size


@contextmanager
def _opened(path: Path) -> Iterator[tuple[ReadFile, int]]:
    descriptor = os.open(path, os.O_RDONLY | OPEN_FLAGS)
    try:
        yield file_of(descriptor)
    finally:
        os.close(descriptor)


def _content(image: _Image, offset: int, length: int, parent: NaiveDisk | None) -> bytes:
    if offset + length > image.disk_size:
        raise NaiveError("the range passes the end of the disk")
    content = bytearray()
    while len(content) < length:
        block, inside = divmod(offset + len(content), image.block_size)
        step = min(image.block_size - inside, length - len(content))
        content += _block_content(image, block, inside, step, parent)
    return bytes(content)


def _block_content(image: _Image, block: int, inside: int, length: int, parent: NaiveDisk | None) -> bytes:
    ratio = BITS_OF_A_BITMAP * image.sector_size // image.block_size
    entry = image.read(image.bat_offset + 8 * (block + block // ratio), 8)
    state = BAT_ENTRY.number(entry, "state")
    file_offset = BAT_ENTRY.number(entry, "file_offset_mb") * MIB
    disk_offset = block * image.block_size + inside
    if state == FULLY_PRESENT or (state == PARTIALLY_PRESENT and not image.has_parent):  # as Windows reads it
        return image.read(file_offset + inside, length)
    if state in (UNDEFINED, ZERO, UNMAPPED, UNMAPPED_V095) or (state == NOT_PRESENT and not image.has_parent):
        return bytes(length)
    if state == NOT_PRESENT:
        return _parent_content(disk_offset, length, parent)
    if state == PARTIALLY_PRESENT:
        chunk = block // ratio
        bitmap_entry = image.read(image.bat_offset + 8 * ((chunk + 1) * ratio + chunk), 8)
        if BAT_ENTRY.number(bitmap_entry, "state") not in (FULLY_PRESENT, PARTIALLY_PRESENT):
            raise NaiveError("a block is partially present and its bitmap is not present")
        bitmap = BAT_ENTRY.number(bitmap_entry, "file_offset_mb") * MIB
        content = bytearray()
        while len(content) < length:
            at = disk_offset + len(content)
            step = min(image.sector_size - at % image.sector_size, length - len(content))
            sector_of_chunk = at // image.sector_size % BITS_OF_A_BITMAP
            bit = image.read(bitmap + sector_of_chunk // 8, 1)[0] >> sector_of_chunk % 8 & 1
            if bit:
                content += image.read(file_offset + inside + len(content), step)
            else:
                content += _parent_content(at, step, parent)
        return bytes(content)
    raise NaiveError(f"block {block} is in state {state}")


def _parent_content(offset: int, length: int, parent: NaiveDisk | None) -> bytes:
    if parent is None:
        raise NaiveError("the parent is needed and was not given")
    there = max(0, min(length, parent.size - offset))
    return parent.read(offset, there).ljust(length, b"\0") if there else bytes(length)
