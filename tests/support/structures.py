"""Names for the structures of an existing image, where each lies, and which fields it has.

Where a structure lies is read from the file itself, as far as the file still says.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from . import layout
from .layout import (
    BAT_GUID,
    HEADER_OFFSETS,
    ITEM_GUIDS,
    METADATA_GUID,
    REGION_TABLE_OFFSETS,
    SECTOR,
    TABLE_SIZE,
    ZERO_GUID,
    Field,
    Layout,
    Value,
    seal,
)
from .naive import naive_active_sequence

Path = str | os.PathLike[str]
BAT_ENTRIES = 16
Kind = Literal[
    "identifier",
    "header",
    "region table",
    "region entry",
    "metadata table",
    "metadata entry",
    "item",
    "bat entry",
    "log entry",
    "data descriptor",
    "zero descriptor",
    "data sector",
    "locator",
    "locator entry",
]


@dataclass(frozen=True)
class Structure:
    """One structure of an image: its kind, its number among its like, and where in the log or which item."""

    kind: Kind
    index: int = 0
    ring_offset: int = 0
    name: str = ""

    def __str__(self) -> str:
        """Words for the names of parametrised tests."""
        where = f" in the log at {self.ring_offset:#x}" if self.ring_offset else ""
        return f"{self.kind} {self.name or self.index}{where}"


IDENTIFIER = Structure("identifier")
HEADER = Structure("header")
REGION_TABLE = Structure("region table")
METADATA_TABLE = Structure("metadata table")
LOCATOR = Structure("locator")


def region_entry(index: int) -> Structure:
    """Entry `index` of a region table copy."""
    return Structure("region entry", index)


def metadata_entry(index: int) -> Structure:
    """Entry `index` of the metadata table."""
    return Structure("metadata entry", index)


def item(name: str) -> Structure:
    """The value of a known metadata item, such as "virtual_disk_size"."""
    return Structure("item", name=name)


def bat_entry(index: int) -> Structure:
    """Entry `index` of the BAT."""
    return Structure("bat entry", index)


def log_entry(ring_offset: int) -> Structure:
    """The header of the log entry at that ring offset."""
    return Structure("log entry", ring_offset=ring_offset)


def data_descriptor(ring_offset: int, index: int) -> Structure:
    """Descriptor `index` of that log entry, seen as a data descriptor."""
    return Structure("data descriptor", index, ring_offset)


def zero_descriptor(ring_offset: int, index: int) -> Structure:
    """Descriptor `index` of that log entry, seen as a zero descriptor."""
    return Structure("zero descriptor", index, ring_offset)


def data_sector(ring_offset: int, index: int) -> Structure:
    """Data sector `index` of that log entry, counted among its data sectors."""
    return Structure("data sector", index, ring_offset)


def locator_entry(index: int) -> Structure:
    """Entry `index` of the parent locator."""
    return Structure("locator entry", index)


_LAYOUTS: dict[Kind, Layout] = {
    "identifier": layout.IDENTIFIER,
    "header": layout.HEADER,
    "region table": layout.REGION_TABLE,
    "region entry": layout.REGION_ENTRY,
    "metadata table": layout.METADATA_TABLE,
    "metadata entry": layout.METADATA_ENTRY,
    "bat entry": layout.BAT_ENTRY,
    "log entry": layout.LOG_ENTRY,
    "data descriptor": layout.DATA_DESCRIPTOR,
    "zero descriptor": layout.ZERO_DESCRIPTOR,
    "data sector": layout.DATA_SECTOR,
    "locator": layout.LOCATOR,
    "locator entry": layout.LOCATOR_ENTRY,
}
_ITEM_LAYOUTS = {
    "file_parameters": layout.FILE_PARAMETERS,
    "virtual_disk_size": Layout(("value", 8, "int")),
    "virtual_disk_id": Layout(("value", 16, "guid")),
    "logical_sector_size": Layout(("value", 4, "int")),
    "physical_sector_size": Layout(("value", 4, "int")),
    "parent_locator": layout.LOCATOR,
}
IN_A_REGION_TABLE = ("region table", "region entry")
IN_A_LOG_ENTRY = ("log entry", "data descriptor", "zero descriptor", "data sector")


def layout_of(structure: Structure) -> Layout:
    """The layout of a structure of that kind."""
    return _ITEM_LAYOUTS[structure.name] if structure.kind == "item" else _LAYOUTS[structure.kind]


def fields(structure: Structure) -> tuple[Field, ...]:
    """The fields of a structure; each has `name`, `offset` and `size` (and `bits` if it is a part of one)."""
    return layout_of(structure).fields


def locate(path: Path, structure: Structure, copy: int = 1) -> int:
    """The file offset of a structure."""
    with open(path, "rb") as file:
        return find(file, structure, copy)


def value_of(path: Path, structure: Structure, field: str, copy: int = 1) -> Value:
    """The value of one field of a structure."""
    with open(path, "rb") as file:
        layout_ = layout_of(structure)
        return layout_.field(field).decode(read(file, find(file, structure, copy), layout_.size))


def structures(path: Path) -> list[tuple[Structure, int]]:
    """Every structure of an image, with its copy.

    Of the BAT these are the first entries that are not zero, and of the log the entries of the active
    sequence with all that is in them.
    """
    with open(path, "rb") as file:
        return [
            *_in_the_header_section(file),
            *((structure, 1) for structure in _in_the_metadata(file)),
            *((structure, 1) for structure in _in_the_bat(file)),
            *((structure, 1) for structure in _in_the_log(file)),
        ]


def _in_the_header_section(file: BinaryIO) -> Iterator[tuple[Structure, int]]:
    yield IDENTIFIER, 1
    for copy in (1, 2):
        yield HEADER, copy
        yield REGION_TABLE, copy
        table = read(file, REGION_TABLE_OFFSETS[copy], TABLE_SIZE)
        for index in range(layout.REGION_TABLE.number(table, "entry_count")):
            yield region_entry(index), copy


def _in_the_metadata(file: BinaryIO) -> Iterator[Structure]:
    yield METADATA_TABLE
    table = read(file, find(file, METADATA_TABLE), TABLE_SIZE)
    for index in range(layout.METADATA_TABLE.number(table, "entry_count")):
        yield metadata_entry(index)
    present = [name for name in _ITEM_LAYOUTS if ITEM_GUIDS[name].bytes_le in table]
    yield from (item(name) for name in present if name != "parent_locator")
    if "parent_locator" in present:
        yield LOCATOR
        locator = read(file, find(file, LOCATOR), layout.LOCATOR.size)
        for index in range(layout.LOCATOR.number(locator, "key_value_count")):
            yield locator_entry(index)


def _in_the_bat(file: BinaryIO) -> Iterator[Structure]:
    bat = read(file, find(file, bat_entry(0)), TABLE_SIZE)
    used = [index for index in range(TABLE_SIZE // 8) if any(bat[index * 8 : index * 8 + 8])]
    yield from (bat_entry(index) for index in used[:BAT_ENTRIES])


def _in_the_log(file: BinaryIO) -> Iterator[Structure]:
    header = current_header(file)
    guid = layout.HEADER.guid(header, "log_guid")
    if guid == ZERO_GUID:
        return
    log_offset, log_length = log_place(file)
    for entry in naive_active_sequence(read(file, log_offset, log_length), guid) or ():
        yield log_entry(entry.offset)
        for index, (_, _, data) in enumerate(entry.writes):
            yield (zero_descriptor if data is None else data_descriptor)(entry.offset, index)
        for index in range(sum(data is not None for _, _, data in entry.writes)):
            yield data_sector(entry.offset, index)


def read(file: BinaryIO, offset: int, length: int) -> bytes:
    """Exactly `length` bytes of the file."""
    file.seek(offset)
    data = file.read(length)
    if len(data) != length:
        raise ValueError(f"the file ends before {offset + length:#x}")
    return data


def find(file: BinaryIO, structure: Structure, copy: int = 1) -> int:
    """The file offset of a structure in an open file."""
    kind, index = structure.kind, structure.index
    if kind == "identifier":
        return 0
    if kind == "header":
        return HEADER_OFFSETS[copy]
    if kind in IN_A_REGION_TABLE:
        entry = layout.REGION_TABLE.size + layout.REGION_ENTRY.size * index if kind == "region entry" else 0
        return REGION_TABLE_OFFSETS[copy] + entry
    if kind in IN_A_LOG_ENTRY:
        log_offset, log_length = log_place(file)
        return log_offset + (structure.ring_offset + _inside_log_entry(file, structure)) % log_length
    if kind == "bat entry":
        return _region(file, BAT_GUID.bytes_le) + 8 * index
    metadata = _region(file, METADATA_GUID.bytes_le)
    if kind == "metadata table":
        return metadata
    if kind == "metadata entry":
        return metadata + layout.METADATA_TABLE.size + layout.METADATA_ENTRY.size * index
    item_offset = metadata + _item(file, metadata, structure.name or "parent_locator")
    if kind == "locator entry":
        return item_offset + layout.LOCATOR.size + layout.LOCATOR_ENTRY.size * index
    return item_offset


def current_header(file: BinaryIO) -> bytes:
    """The valid header with the greater number, or if none is valid, the one with the greater number."""
    headers = [read(file, offset, layout.HEADER.size) for offset in HEADER_OFFSETS.values()]
    good = [header for header in headers if header[:4] == b"head" and seal(header) == header] or headers
    return max(good, key=lambda header: layout.HEADER.number(header, "sequence_number"))


def log_place(file: BinaryIO) -> tuple[int, int]:
    """The file offset and the length of the log."""
    header = current_header(file)
    return layout.HEADER.number(header, "log_offset"), layout.HEADER.number(header, "log_length")


def _region(file: BinaryIO, guid: bytes) -> int:
    for offset in REGION_TABLE_OFFSETS.values():
        table = read(file, offset, TABLE_SIZE)
        for at in range(
            layout.REGION_TABLE.size, TABLE_SIZE - layout.REGION_ENTRY.size, layout.REGION_ENTRY.size
        ):
            if table[at : at + 16] == guid:
                return layout.REGION_ENTRY.number(table[at : at + layout.REGION_ENTRY.size], "file_offset")
    raise ValueError("no region table names this region")


def _item(file: BinaryIO, metadata: int, name: str) -> int:
    table = read(file, metadata, TABLE_SIZE)
    for at in range(layout.METADATA_TABLE.size, TABLE_SIZE, layout.METADATA_ENTRY.size):
        if table[at : at + 16] == ITEM_GUIDS[name].bytes_le:
            return layout.METADATA_ENTRY.number(table[at : at + layout.METADATA_ENTRY.size], "offset")
    raise ValueError(f"the metadata table has no {name}")


def ring_read(file: BinaryIO, ring_offset: int, length: int) -> bytes:
    """Bytes of the log from a ring offset on, modulo its length."""
    log_offset, log_length = log_place(file)
    at = ring_offset % log_length
    first = min(length, log_length - at)
    return read(file, log_offset + at, first) + read(file, log_offset, length - first)


def _inside_log_entry(file: BinaryIO, structure: Structure) -> int:
    """The offset of a structure from the start of its log entry; sectors keep each of them in one piece."""
    if structure.kind == "log entry":
        return 0
    if structure.kind != "data sector":
        return layout.LOG_ENTRY.size + layout.DATA_DESCRIPTOR.size * structure.index
    head = ring_read(file, structure.ring_offset, layout.LOG_ENTRY.size)
    count = layout.LOG_ENTRY.number(head, "descriptor_count")
    table = layout.LOG_ENTRY.size + layout.DATA_DESCRIPTOR.size * count
    return (-(-table // SECTOR) + structure.index) * SECTOR
