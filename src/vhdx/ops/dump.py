"""Show any structure of an image field by field, as it stands in the file: a dirty log is not replayed.

Each structure is looked for and read on its own, so images that cannot be opened are shown, too.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from vhdx.examine.remains import Remains
from vhdx.format import guids, header, identifier, region
from vhdx.format.bat import BITMAP_PRESENT, STATE_MASK, file_offset_of
from vhdx.geometry import BITMAP_BLOCK_SIZE
from vhdx.image.other_formats import refuse_other_formats
from vhdx.ops.structures import STRUCTURES
from vhdx.storage.file import open_for_reading
from vhdx.storage.skipping import SkippingStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.ops.structures import Dump
    from vhdx.storage.base import ReadableStorage

_PIECE = 64 * 1024


class Content(NamedTuple):
    """A structure of a file; ``word`` is what `dump` calls it, ``state`` what can be told at a glance."""

    word: str
    file_offset: int
    length: int
    state: str


def dump(path: str | os.PathLike[str], structure: str, *, lock: bool = True) -> Iterator[Dump]:
    """The structures that a word stands for: a name, and for some a part of them behind a colon.

    ``identifier``, ``headers:1``, ``regions:2``, ``metadata``, ``locator``, ``bat:0-99`` (entries),
    ``bitmap:0`` (a chunk), ``log:20K`` (the entry at a position of the log). Raises ValueError for any
    other word, CorruptImageError where the file does not say where the structure is, OSError.
    """
    name, _, part = structure.partition(":")
    if name not in STRUCTURES:
        raise ValueError(f"there is no structure {name!r}, but {', '.join(STRUCTURES)}")
    storage = open_for_reading(os.fspath(path), lock=lock)
    try:
        yield from STRUCTURES[name](_remains_of(storage), part)
    finally:
        storage.close()


def disk_size(path: str | os.PathLike[str], *, lock: bool = True) -> int | None:
    """The size of the disk in bytes, where the image as it stands tells it. Raises OSError."""
    storage = open_for_reading(os.fspath(path), lock=lock)
    try:
        return _remains_of(storage).disk_size
    finally:
        storage.close()


def raw_bytes(
    path: str | os.PathLike[str], file_offset: int, length: int, *, lock: bool = True
) -> Iterator[tuple[int, bytes]]:
    """(file offset, bytes) of a range of the file in pieces of at most 64 KiB.

    Raises ValueError for a range that is not wholly inside the file.
    """
    storage = open_for_reading(os.fspath(path), lock=lock)
    try:
        size = storage.size()
        if file_offset + length > size:
            raise ValueError(f"{length} bytes at {file_offset} are not inside the file of {size} bytes")
        for start in range(file_offset, file_offset + length, _PIECE):
            yield start, storage.read(min(_PIECE, file_offset + length - start), start)
    finally:
        storage.close()


def contents(path: str | os.PathLike[str], *, lock: bool = True) -> Iterator[Content]:
    """What structures there are, as far as they can be found, and where they stand."""
    storage = open_for_reading(os.fspath(path), lock=lock)
    try:
        remains = _remains_of(storage)
        yield from _header_section(remains)
        yield from _log(remains)
        yield from _regions(remains)
        yield from _bitmaps(remains)
    finally:
        storage.close()


def _remains_of(storage: ReadableStorage) -> Remains:
    """What is left of an image. Raises UnsupportedImageError for a disk in another format."""
    remains = Remains(SkippingStorage(storage))  # what the host cannot read hides nothing else
    if remains.headers is None:
        refuse_other_formats(remains.storage)
    return remains


def _header_section(remains: Remains) -> Iterator[Content]:
    start = remains.peek(len(identifier.SIGNATURE), 0)
    is_right = start == identifier.SIGNATURE
    state = "valid" if is_right else f"damaged: it begins with {start.hex(' ') or 'nothing'}"
    yield Content("identifier", 0, identifier.IDENTIFIER_SIZE, state)
    for slot, place in enumerate(header.HEADER_OFFSETS):
        data = remains.peek(header.HEADER_SIZE, place)
        yield Content(f"headers:{slot + 1}", place, header.HEADER_SIZE, _header_state(remains, slot, data))
    for copy, place in enumerate(region.TABLE_OFFSETS):
        damage = region.damage(remains.peek(region.TABLE_SIZE, place))
        yield Content(f"regions:{copy + 1}", place, region.TABLE_SIZE, _state(damage))


def _state(damage: str | None) -> str:
    return "valid" if damage is None else f"damaged: {damage}"


def _header_state(remains: Remains, slot: int, data: bytes) -> str:
    damage = header.damage(data)
    if damage is not None:
        return _state(damage)
    current = remains.headers is not None and remains.headers.slot == slot
    return f"valid, sequence number {header.unpack(data).sequence_number}" + (", current" if current else "")


def _log(remains: Remains) -> Iterator[Content]:
    if remains.ring is not None and remains.headers is not None:
        state = remains.headers.current.log_state
        yield Content("log", remains.ring.file_offset, remains.ring.length, state)


def _regions(remains: Remains) -> Iterator[Content]:
    words = {guids.METADATA_REGION: "metadata", guids.BAT_REGION: "bat"}
    size = remains.size
    for entry in remains.region_entries:
        word = words.get(entry.guid, f"region {entry.guid}")
        state = "reaches behind the end of the file" if entry.end > size else "in the file"
        yield Content(word, entry.file_offset, entry.length, state)
    found = remains.region(guids.METADATA_REGION)
    for item in remains.metadata_entries if found else ():
        if found and item.item_id == guids.PARENT_LOCATOR and not item.is_user:
            yield Content("locator", found.file_offset + item.offset, item.length, "in the metadata region")


def _bitmaps(remains: Remains) -> Iterator[Content]:
    if remains.bat is None or remains.geometry is None or not remains.geometry.differencing:
        return
    for chunk in range(remains.geometry.chunk_count):
        entry = remains.bat.bitmap(chunk)
        if entry & STATE_MASK == BITMAP_PRESENT:
            yield Content(f"bitmap:{chunk}", file_offset_of(entry), BITMAP_BLOCK_SIZE, "present")
