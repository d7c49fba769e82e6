"""The second copy of what a btrfs has twice on one disk (profile DUP): its reader takes the first alone."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from dissect.btrfs.btrfs import Btrfs

_DUPLICATED = 0x20
"""The flag of chunks whose stripes are copies of one another."""


def other_copies(opened: Btrfs, address: int, length: int) -> Iterator[bytes]:
    """What stands at a logical address in the copies that its reader does not take; nothing without any."""
    space: Any = opened._logical_fh  # noqa: SLF001  nothing public tells
    index = bisect_right([chunk.offset for chunk in space.chunks], address) - 1
    if index < 0:
        return
    chunk = space.chunks[index]
    inner = address - chunk.offset
    if not int(chunk.type) & _DUPLICATED or inner + length > chunk.length:
        return
    for stripe in chunk.stripes[1:]:
        stripe.fh.seek(stripe.offset + inner)
        data = stripe.fh.read(length)
        if len(data) == length:
            yield data
