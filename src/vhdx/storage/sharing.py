"""Bytes of a file put into another one, or elsewhere into the same: by shared space where that can be.

Whole blocks of the file system are shared where they stand alike in both; all else is copied.
"""

from __future__ import annotations

import errno

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
_REFUSED = (
    "the file system refused to share {} bytes with {}: what was done stays right, and with --clone auto the "
    "same command copies what cannot be shared"
)


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
    source: FileStorage,
    source_offset: int,
    length: int,
    target: FileStorage,
    target_offset: int,
    *,
    must_be: bool = False,
) -> tuple[int, int]:
    """Share the whole blocks of a range; (start, end) of them, counted from its beginning, alike if none.

    Raises OSError if they ``must_be`` shared and the file system refuses it.
    """
    unit = target.shared_unit()
    if not unit or (target_offset - source_offset) % unit:
        return 0, 0
    start = -source_offset % unit
    count = (length - start) // unit * unit
    if count <= 0:
        return 0, 0
    if target.clone_from(source, source_offset + start, count, target_offset + start):
        return start, start + count
    if must_be:
        raise OSError(errno.EOPNOTSUPP, _REFUSED.format(count, source.name), target.name)
    return 0, 0


class FileRange:
    """Bytes of a disk as they stand in a file, which nobody has to look at."""

    __slots__ = ("file_offset", "length", "must_be_shared", "storage")

    def __init__(
        self, storage: FileStorage, file_offset: int, length: int, *, must_be_shared: bool = False
    ) -> None:
        self.storage = storage
        self.file_offset = file_offset
        self.length = length
        self.must_be_shared = must_be_shared

    def __len__(self) -> int:
        return self.length

    def part(self, start: int, length: int) -> FileRange:
        """Some of them."""
        return FileRange(self.storage, self.file_offset + start, length, must_be_shared=self.must_be_shared)

    def __bytes__(self) -> bytes:
        return self.storage.read(self.length, self.file_offset)

    def put_into(self, target: Storage, place: int) -> None:
        """Let a file have them at a place."""
        start = end = 0
        if isinstance(target, FileStorage):
            must_be = self.must_be_shared
            start, end = share(self.storage, self.file_offset, self.length, target, place, must_be=must_be)
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
