"""Appending entries to the log [MS-VHDX 2.3.1]: pages in, one run of bytes a commit out.

A log that this writer fills never wraps: when an entry does not fit behind the last one, the caller makes
everything durable and starts again at the beginning under a fresh GUID. QEMU's search of the log fails on
wrapped rings. It also misreads entries of more than one descriptor sector, so where nothing demands that
all pages of a commit appear together, they are spread over entries of at most 126 pages.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from vhdx.format import checksum, log
from vhdx.format.log import LOG_ALIGNMENT, SECTOR_SIZE, EntryHeader

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from vhdx.storage.base import Storage

    Page = tuple[int, bytes]

PAGES_IN_ONE_DESCRIPTOR_SECTOR = (SECTOR_SIZE - log.ENTRY_HEADER_SIZE) // log.DESCRIPTOR_SIZE
assert PAGES_IN_ONE_DESCRIPTOR_SECTOR == 126
_LARGEST_COMMIT = 4096
"""Sectors that a commit takes at most, 16 MiB, however large the log: changed pages are kept in memory, and
a replay in memory must be able to hold them."""
_ANY_PAGE = (0, b"")


class LogWriter:
    """The free part of one log; offsets and lengths in bytes. Writes, but never flushes."""

    def __init__(self, storage: Storage, file_offset: int, length: int, *, together: bool) -> None:
        self._storage = storage
        self._file_offset = file_offset
        self._length = length
        self._together = together
        self._log_guid: UUID | None = None
        self._position = 0
        self._sequence_number = 0

    @property
    def page_limit(self) -> int:
        """How many pages a commit may have at most, so that it takes no more than half the log."""
        sectors = min(self._length // SECTOR_SIZE // 2, _LARGEST_COMMIT)
        pages = sectors - 1
        while _sectors_of(self._entries([_ANY_PAGE] * pages)) > sectors:
            pages -= 1
        return pages

    @property
    def entry_limit(self) -> int:
        """How many pages one entry may have at most: after a crash all of them are there, or none."""
        return self.page_limit if self._together else min(self.page_limit, PAGES_IN_ONE_DESCRIPTOR_SECTOR)

    def has_room(self, pages: Sequence[Page]) -> bool:
        """Whether a commit of these pages fits behind the last one, leaving a sector free."""
        needed = _sectors_of(self._entries(pages)) * SECTOR_SIZE
        return self._log_guid is not None and self._position + needed < self._length

    @property
    def is_open(self) -> bool:
        """Whether the log has begun."""
        return self._log_guid is not None

    def claim(self, pages: Sequence[Page]) -> None:
        """Claim from the host the space of the log that a commit of these pages will be written to.

        And of one empty entry more, so that closing needs none. Raises OSError where the host is full.
        """
        begins = 0 if self.has_room(pages) else SECTOR_SIZE  # an empty entry comes first then
        start = self._position if not begins else 0
        length = begins + _sectors_of(self._entries(pages)) * SECTOR_SIZE + SECTOR_SIZE
        self._storage.reserve(self._file_offset + start, length)

    def start(self, log_guid: UUID, file_size: int) -> None:
        """Begin at the start of the log with an empty entry that carries a fresh GUID.

        Nothing in the log may be needed any more. Once the entry is durable the headers may name the GUID.
        """
        self._log_guid = log_guid
        self._position = 0
        self._sequence_number = 1 + secrets.randbits(62)  # as Windows begins: no old sector carries it
        self._append([], 0, file_size)

    def append(self, pages: Sequence[Page], file_size: int) -> None:
        """Write a commit of pages (file offset, 4096 bytes) whose tail is its own first entry.

        Everything that older entries say must be durable in its place. ``file_size`` is the length of the
        file, durable as well.
        """
        tail = self._position
        for entry in self._entries(pages):
            self._append(entry, tail, file_size)

    def append_length(self, file_size: int) -> None:
        """Write an empty entry that says how long the file is to be.

        Everything that older entries say must be durable in its place. There is room: each commit leaves it.
        """
        self._append([], self._position, file_size)

    def _entries(self, pages: Sequence[Page]) -> list[Sequence[Page]]:
        if self._together:
            return [pages]
        step = PAGES_IN_ONE_DESCRIPTOR_SECTOR
        return [pages[start : start + step] for start in range(0, len(pages), step)]

    def _append(self, pages: Sequence[Page], tail: int, file_size: int) -> None:
        assert self._log_guid is not None
        length = _sectors_of([pages]) * SECTOR_SIZE
        header = EntryHeader(
            signature=log.ENTRY_SIGNATURE,
            checksum=0,
            entry_length=length,
            tail=tail,
            sequence_number=self._sequence_number,
            descriptor_count=len(pages),
            reserved=0,
            log_guid=self._log_guid.bytes_le,
            flushed_file_offset=file_size // LOG_ALIGNMENT * LOG_ALIGNMENT,
            last_file_offset=-(-file_size // LOG_ALIGNMENT) * LOG_ALIGNMENT,
        )
        self._storage.write_at(_packed(header, pages), self._file_offset + self._position)
        self._position += length
        self._sequence_number += 1


def _sectors_of(entries: Sequence[Sequence[tuple[int, bytes]]]) -> int:
    return sum(log.descriptor_sector_count(len(pages)) + len(pages) for pages in entries)


def _packed(header: EntryHeader, pages: Sequence[tuple[int, bytes]]) -> bytes:
    sequence = header.sequence_number
    descriptors = b"".join(log.pack_data_descriptor(offset, page, sequence) for offset, page in pages)
    head = log.pack_entry_header(header) + descriptors
    padded = head.ljust(log.descriptor_sector_count(len(pages)) * SECTOR_SIZE, b"\0")
    sectors = [log.pack_data_sector(page, sequence) for _, page in pages]
    return checksum.sealed(b"".join([padded, *sectors]))
