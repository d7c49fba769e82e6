"""Swap areas of Linux: everything behind the first page, for whoever says that nobody needs it any more.

The memory of a saved machine may need it, so callers give it back only where they were told to.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import UUID

from vhdx.filesystems.area import Area, number, text_at
from vhdx.filesystems.base import Identity, NotFreeError, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.base import Read, Runs

_KIND = "swap"
_MAGIC = b"SWAPSPACE2"
_PAGE_SIZES = (4096, 8192, 16384, 32768, 65536)
_SUSPENDED = (b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001")


def recognise(read: Read, size: int) -> Swap | None:
    """The swap area that begins here, also one that holds the memory of a machine that sleeps."""
    area = Area(read, size)
    for page in _PAGE_SIZES:
        magic = area.peek(page - len(_MAGIC), len(_MAGIC))
        if magic == _MAGIC or magic.startswith(_SUSPENDED):
            header = area.bytes_at(0, page)
            return Swap(page, header) if number(header, 1028, 4) else None
    return None


def hibernated(read: Read, size: int) -> bool:
    """Whether it holds the memory of a machine that sleeps, whatever else of it makes sense."""
    area = Area(read, size)
    return any(area.peek(page - len(_MAGIC), len(_MAGIC)).startswith(_SUSPENDED) for page in _PAGE_SIZES)


@dataclass(frozen=True)
class Swap:
    """A swap area: the size of its pages and its first page."""

    page_size: int
    header: bytes
    state: State = "clean"

    @cached_property
    def identity(self) -> Identity:
        """What its first page says."""
        identifier = self.header[1036:1052]
        return Identity(
            kind=_KIND,
            label=text_at(self.header, 1052, 16),
            uuid=str(UUID(bytes=identifier)) if any(identifier) else None,
            size=(number(self.header, 1028, 4) + 1) * self.page_size,
            block_size=self.page_size,
        )

    @property
    def is_awake(self) -> bool:
        """Whether no machine has put its memory into it before it went to sleep."""
        return self.header[-len(_MAGIC) :] == _MAGIC

    @property
    def claimed_free(self) -> int:
        """All but its first page."""
        return self.identity.size - self.page_size

    def trusted(self) -> Swap:
        """No sleeping machine, the version that is known, no bad pages."""
        if not self.is_awake:
            raise NotFreeError("it holds the memory of a machine that sleeps")
        if number(self.header, 1024, 4) != 1:
            raise NotFreeError(f"its version is {number(self.header, 1024, 4)}", "unknown")
        if number(self.header, 1032, 4):
            raise NotFreeError("it lists bad pages", "unknown")
        return self

    def agreed(self) -> Swap:
        """There is nothing to be read: no page of it outlives the machine."""
        return self

    def free_runs(self) -> Iterator[Runs]:
        """From the second page on."""
        import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

        yield np.array(((self.page_size, self.claimed_free),), np.int64)
