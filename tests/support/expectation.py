"""What a disk may hold after a crash: for each sector what was last flushed, and everything written since.

The remarks that a record of changes carries for it are declared here, too. Sectors are the 512 bytes that
reach a disk in one piece, whatever the disk's own sectors are; those that nobody ever wrote to are zeros.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from .sparse import PAGE, SECTOR, SECTORS_OF_A_PAGE, ZERO_SECTOR

RUN_PAGES = 64
"""How many pages are compared in one go, at most."""


class LostError(AssertionError):
    """A sector holds what nobody wrote there, or lost what was flushed."""


@dataclass(frozen=True)
class Opened:
    """The file was opened for writing from here on."""


@dataclass(frozen=True)
class Request:
    """Somebody asked for something; the range of the disk is empty where there is none."""

    what: str
    offset: int = 0
    length: int = 0

    def __str__(self) -> str:
        return f"{self.what} of {self.length} bytes at {self.offset}" if self.length else self.what


@dataclass(frozen=True, eq=False)
class Changed:
    """From here on these sectors may hold other bytes."""

    values: Mapping[int, bytes]

    def __str__(self) -> str:
        return f"({len(self.values)} sectors are to change)"


@dataclass(frozen=True)
class Settled:
    """From here on only the newest bytes of each sector are right: a flush has returned."""


class _Run(NamedTuple):
    """Neighbouring pages that are read and compared in one go."""

    offset: int
    length: int
    sectors: range


class Expectation:
    """Follows the remarks of a record. Only the pages of `touched` may ever be anything but zeros."""

    def __init__(self, disk_size: int, contents: Mapping[int, bytes], touched: Iterable[int]) -> None:
        self.touched = frozenset(touched)
        self.epoch = 0
        """Grows when less is right than before."""
        self._newest = dict(contents)
        self._possible: dict[int, list[bytes]] = {}
        self.runs = _runs(sorted(self.touched), disk_size)
        self._run_of = {
            s // SECTORS_OF_A_PAGE: n for n, run in enumerate(self.runs) for s in run.sectors[::8]
        }
        self._flushed_bytes: list[bytes | None] = [None] * len(self.runs)
        self._newest_bytes: list[bytes | None] = [None] * len(self.runs)

    def follow(self, mark: object) -> None:
        """Take note of a remark; others than those declared here mean nothing."""
        if isinstance(mark, Changed):
            for sector, value in mark.values.items():
                older = self._newest.get(sector, ZERO_SECTOR)
                if older != value or sector in self._possible:
                    self._possible.setdefault(sector, [older]).append(value)
                    self._newest[sector] = value
                    self._newest_bytes[self._run_of[sector // SECTORS_OF_A_PAGE]] = None
        elif isinstance(mark, Settled) and self._possible:
            for sector in self._possible:
                self._flushed_bytes[self._run_of[sector // SECTORS_OF_A_PAGE]] = None
            self._possible.clear()
            self.epoch += 1

    def check(self, read: Callable[[int, int], bytes]) -> None:
        """Raise LostError if what `read(length, offset)` gives is not right."""
        for number, run in enumerate(self.runs):
            data = read(run.length, run.offset)
            if data != self._flushed(number) and data != self._latest(number):
                self._check_sectors(run, data)

    def _check_sectors(self, run: _Run, data: bytes) -> None:
        for index, sector in enumerate(run.sectors):
            found = data[index * SECTOR : (index + 1) * SECTOR]
            right = self._possible.get(sector) or [self._newest.get(sector, ZERO_SECTOR)]
            if found not in right:
                raise LostError(
                    f"sector {sector} (disk offset {sector * SECTOR:#x}) holds {_brief(found)}, "
                    f"but only this is right: {', '.join(map(_brief, right))}"
                )

    def _flushed(self, number: int) -> bytes:
        known = self._flushed_bytes[number]
        if known is None:
            get, newest = self._possible.get, self._newest
            known = b"".join(
                [(get(s) or (newest.get(s, ZERO_SECTOR),))[0] for s in self.runs[number].sectors]
            )
            self._flushed_bytes[number] = known
        return known

    def _latest(self, number: int) -> bytes:
        known = self._newest_bytes[number]
        if known is None:
            known = b"".join([self._newest.get(s, ZERO_SECTOR) for s in self.runs[number].sectors])
            self._newest_bytes[number] = known
        return known


def _runs(pages: list[int], disk_size: int) -> list[_Run]:
    runs: list[_Run] = []
    first = 0
    for index, page in enumerate(pages):
        last = index + 1 == len(pages)
        if last or pages[index + 1] != page + 1 or index + 1 - first == RUN_PAGES:
            start, end = pages[first] * PAGE, min((page + 1) * PAGE, disk_size)
            runs.append(_Run(start, end - start, range(start // SECTOR, -(-end // SECTOR))))
            first = index + 1
    return runs


def _brief(sector: bytes) -> str:
    return "zeros" if sector == ZERO_SECTOR[: len(sector)] else f"{sector[:16].hex()}…{sector[-4:].hex()}"
