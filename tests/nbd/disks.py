"""Disks for the server that no VHDX stands behind: in memory, failing, slow."""

import io
import threading
from collections.abc import Callable, Iterator

from vhdx import BlockState, Doubt, Extent, ExtentKind

UNIT = 4096


class MemoryDisk:
    """A bytearray as a disk; units that were never written are holes. Records what it is asked for."""

    logical_sector_size = physical_sector_size = 512
    doubts: Iterator[Doubt] = iter(())

    def __init__(self, size: int, *, read_only: bool = False) -> None:
        self.size = size
        self.read_only = read_only
        self.bytes = bytearray(size)
        self.present: set[int] = set()
        self.calls: list[tuple[object, ...]] = []
        self.before: Callable[[str], None] = lambda verb: None
        self.contexts = {"x-vhdx:state": lambda extent: int(extent.state)}
        self._lock = threading.Lock()

    def _called(self, verb: str, *arguments: object) -> None:
        self.calls.append((verb, *arguments))
        self.before(verb)

    def pread(self, length: int, offset: int) -> bytes:
        self._called("pread", length, offset)
        return bytes(self.bytes[offset : offset + length])

    def preadinto(self, buffer: object, offset: int) -> None:
        view = memoryview(buffer)  # type: ignore[arg-type]
        view[:] = self.pread(len(view), offset)

    def pwrite(self, data: object, offset: int) -> None:
        data = bytes(memoryview(data))  # type: ignore[arg-type]
        self._called("pwrite", len(data), offset)
        if self.read_only:
            raise io.UnsupportedOperation("read-only")
        with self._lock:
            self.bytes[offset : offset + len(data)] = data
            self.present |= set(range(offset // UNIT, -(-(offset + len(data)) // UNIT)))

    def zero(
        self, *, length: int, offset: int, keep_allocated: bool = False, fast_only: bool = False
    ) -> None:
        self._called("zero", length, offset, keep_allocated, fast_only)
        length = max(0, min(length, len(self.bytes) - offset))  # a disk may say that it is larger than it is
        with self._lock:
            self.bytes[offset : offset + length] = bytes(length)
            if not keep_allocated:
                self.present -= set(range(-(-offset // UNIT), (offset + length) // UNIT))

    def trim(self, *, length: int, offset: int) -> None:
        self._called("trim", length, offset)

    def flush(self) -> None:
        self._called("flush")

    def extents(self, *, offset: int = 0, length: int | None = None) -> Iterator[Extent]:
        end = self.size if length is None else offset + length
        while offset < end:
            stop = min((offset // UNIT + 1) * UNIT, end)
            if offset // UNIT in self.present:
                yield Extent(offset, stop - offset, ExtentKind.DATA, BlockState.FULLY_PRESENT, 1, offset)
            else:
                nothing = (ExtentKind.UNALLOCATED, BlockState.NOT_PRESENT, 0, None)
                yield Extent(offset, stop - offset, *nothing)
            offset = stop

    def data_ranges(self, *, offset: int = 0, length: int | None = None) -> Iterator[tuple[int, int]]:
        for extent in self.extents(offset=offset, length=length):
            if extent.kind is ExtentKind.DATA:
                yield extent.offset, extent.length

    def files(self) -> tuple[tuple[int, int], ...]:
        return ()

    def close(self) -> None:
        self._called("close")


class HeldFlush:
    """Makes flushes of a disk wait: `going` once one has begun, until `may_end` is set."""

    def __init__(self, disk: MemoryDisk) -> None:
        self.going, self.may_end = threading.Event(), threading.Event()
        disk.before = self._wait

    def _wait(self, verb: str) -> None:
        if verb == "flush":
            self.going.set()
            assert self.may_end.wait(10)
