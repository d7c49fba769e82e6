"""What of a disk goes into a blob: whole pages that are not all zeros, in pieces of one request each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.storage.page_blob import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    Piece = tuple[int, bytes | bytearray, Sequence[tuple[int, int]]]
    """Where it begins on the disk, its bytes, and which of them are not zeros."""

ZERO_UNIT = 4096
"""What is looked at in one go for zeros."""


def page_runs(pieces: Iterable[Piece], limit: int) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of whole pages, at most ``limit`` bytes each, of pieces in order.

    What touches goes together. What lies between pieces reads as zeros, so that pages may be filled up.
    """
    start, held = 0, bytearray()
    for offset, data, runs in pieces:
        view = memoryview(data)
        for low, high in runs:
            at = offset + low
            if held and at > _page_end(start + len(held)):
                yield start, _whole_pages(held)
                held = bytearray()
            if not held:
                start = at - at % PAGE_SIZE
            held += bytes(at - start - len(held))
            held += view[low:high]
            while len(held) >= limit:
                yield start, bytes(memoryview(held)[:limit])
                start, held = start + limit, held[limit:]
    if held:
        yield start, _whole_pages(held)


def _page_end(offset: int) -> int:
    return -(-offset // PAGE_SIZE) * PAGE_SIZE


def _whole_pages(held: bytearray) -> bytes:
    return bytes(held) + bytes(-len(held) % PAGE_SIZE)
