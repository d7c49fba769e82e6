"""Bytes of a file put into another one, or elsewhere into the same: by shared space where that can be.

Whole blocks of the file system are shared where they stand alike in both; all else is copied.
"""

from __future__ import annotations

from vhdx.pieces import pieces
from vhdx.storage.file import FileStorage
from vhdx.typed import TYPE_CHECKING
from vhdx.units import MIB

if TYPE_CHECKING:
    from typing import Literal, TypeAlias

    from vhdx.storage.base import ReadableStorage, Storage

Clone: TypeAlias = "Literal['auto', 'never', 'always']"
"""Whether space is shared: where it can be, nowhere, or else nothing is done."""
SHARED = "its space is shared with the source: the disk may become full when either is written to"
NOT_SHARED = "the file system cannot share space between these files: say --clone auto, or leave it out"


def may_share(wanted: Clone, source: ReadableStorage, target: ReadableStorage) -> bool:
    """Whether space is to be shared. Raises ValueError where it must be and cannot."""
    can_be = (
        wanted != "never"
        and isinstance(source, FileStorage)
        and isinstance(target, FileStorage)
        and target.may_share_with(source)
        and not (source is target and target.is_dense)  # whose old places are filled again, not given back
    )
    if wanted == "always" and not can_be:
        raise ValueError(NOT_SHARED)
    return can_be


def share(
    source: FileStorage, source_offset: int, length: int, target: FileStorage, target_offset: int
) -> tuple[int, int]:
    """Share the whole blocks of a range; (start, end) of them, counted from its beginning, alike if none."""
    unit = target.shared_unit()
    if not unit or (target_offset - source_offset) % unit:
        return 0, 0
    start = -source_offset % unit
    count = (length - start) // unit * unit
    if count <= 0 or not target.clone_from(source, source_offset + start, count, target_offset + start):
        return 0, 0
    return start, start + count


class FileRange:
    """Bytes of a disk as they stand in a file, which nobody has to look at."""

    __slots__ = ("file_offset", "length", "storage")

    def __init__(self, storage: FileStorage, file_offset: int, length: int) -> None:
        self.storage = storage
        self.file_offset = file_offset
        self.length = length

    def __len__(self) -> int:
        return self.length

    def part(self, start: int, length: int) -> FileRange:
        """Some of them."""
        return FileRange(self.storage, self.file_offset + start, length)

    def __bytes__(self) -> bytes:
        return self.storage.read(self.length, self.file_offset)

    def put_into(self, target: Storage, place: int) -> None:
        """Let a file have them at a place."""
        start = end = 0
        if isinstance(target, FileStorage):
            start, end = share(self.storage, self.file_offset, self.length, target, place)
        for low, high in ((0, start), (end, self.length)):
            for at, count in pieces(self.file_offset + low, high - low, MIB):
                target.write_at(self.storage.read(count, at), place + at - self.file_offset)


Payload = bytes | memoryview | FileRange
"""What is written to a disk."""


def put(target: Storage, data: Payload, place: int) -> None:
    """Write bytes, or share the space in which they stand."""
    if isinstance(data, FileRange):
        data.put_into(target, place)
    else:
        target.write_at(data, place)
