"""A disk onto what is there already, a block device or an export of an NBD server.

Its first MiB is written last, so that what was broken off is no disk.
"""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING, NamedTuple, Protocol

from vhdx.ops.make.ahead import pieces_here
from vhdx.ops.make.writing import Writing
from vhdx.partitions.gpt import SIGNATURE
from vhdx.pieces import pieces
from vhdx.storage.base import ZEROS
from vhdx.units import MIB, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdx.disk.formats import Format
    from vhdx.ops.make.plan import ImageOptions
    from vhdx.ops.make.source import Source
    from vhdx.ops.make.target import Target

_OLD_TABLE = "the kernel still goes by the old partition table: blockdev --rereadpt, or start it anew"
_LARGER = "the target is {} larger than the disk: what stood there before stays"
_NOT_TWICE = "what comes through a pipe is read once: it cannot be compared with what was written"


class Medium(Protocol):
    """A place of fixed size that is written over."""

    @property
    def name(self) -> str: ...

    @property
    def sector_size(self) -> int | None:
        """The sectors in which its users address it, None where that is theirs to say."""

    def size(self) -> int: ...
    def read(self, length: int, file_offset: int) -> bytes: ...
    def write_at(self, data: bytes | bytearray | memoryview, file_offset: int) -> None: ...
    def zero(self, file_offset: int, length: int) -> None: ...
    def flush(self) -> None: ...
    def start_writing_back(self) -> None: ...
    def drop_cache(self) -> None: ...
    def read_table_again(self) -> bool: ...
    def holds(self, files: tuple[tuple[int, int], ...], names: tuple[str, ...]) -> bool:
        """Whether it is, contains, or is kept in one of these files, told by identity and by name."""


class DeviceDestination(NamedTuple):
    """A block device or an export that is written over."""

    path: str
    storage: Medium
    verify: bool

    format: Format = "raw"

    @property
    def medium(self) -> tuple[int, int | None]:
        """Its size, and that of its sectors."""
        return self.storage.size(), self.storage.sector_size

    def needs_map(self, options: ImageOptions) -> bool:  # noqa: ARG002
        """No."""
        return False

    def refuse_source(self, source: Source) -> None:
        """Raise ValueError for a source that is on the device, or does not fit, or cannot be compared."""
        if self.verify and source.comes_once:
            raise ValueError(_NOT_TWICE)
        if source.disk is not None and self.storage.holds(source.disk.files(), source.disk.chain):
            raise ValueError(f"{self.path} is the source, a part of it, or kept in it")
        if source.size is not None and source.size > self.storage.size():
            there, wanted = size_text(self.storage.size()), size_text(source.size)
            raise ValueError(f"the disk has {wanted}, and {self.path} {there}")

    @contextlib.contextmanager
    def opened(
        self,
        made: Target,  # noqa: ARG002
        source: Source,
        disk_size: int | None,
        remark: Callable[[str], None],
    ) -> Iterator[Writing]:
        """The device; read back at the end if it is to be verified."""
        sink = _DeviceSink(self.storage, disk_size)
        yield Writing(sink, self.storage.start_writing_back)
        if self.verify:
            self.storage.drop_cache()
            _compare(source, self.storage, sink.end)
        behind = self.storage.size() - sink.end
        if behind:
            remark(_LARGER.format(size_text(behind)))
        if not self.storage.read_table_again():
            remark(_OLD_TABLE)


class _DeviceSink:
    """Writes data and zeros; ``end`` is where the disk ends, None as long as that is not known."""

    reserved = True
    span = MIB

    def __init__(self, storage: Medium, disk_size: int | None) -> None:
        self._storage = storage
        self._disk_size = disk_size
        self._head = bytearray(min(MIB, storage.size() if disk_size is None else disk_size))
        self._reached = len(self._head)
        self.end = disk_size or 0
        self._is_begun = False
        if disk_size is not None:
            self._begin(len(self._head))

    def _begin(self, length: int) -> None:
        """Let what is broken off from now on show no table: neither in front, nor as a copy at the end."""
        if self._is_begun:
            return
        self._is_begun, storage = True, self._storage
        storage.zero(0, length)
        for sector_size in (512, 4096) if storage.sector_size is None else (storage.sector_size,):
            last = storage.size() - sector_size
            # Else programs would restore the old table.
            if last >= 0 and storage.read(len(SIGNATURE), last) == SIGNATURE:
                storage.zero(last, sector_size)
        storage.flush()

    def place(self, offset: int) -> int:
        """Where it stands on the disk."""
        return offset

    def put(self, data: memoryview, offset: int) -> None:
        """Write data, and zeros in front of them. Raises OSError where the device ends."""
        self._refuse_end(offset + len(data))
        if offset < len(self._head):
            self._head[offset : offset + len(data)] = data
            return
        self._begin(len(self._head))
        self._clear(offset if self._disk_size is None else min(offset, self._disk_size))
        self._storage.write_at(data, offset)
        self._reached = max(self._reached, offset + len(data))

    def _refuse_end(self, end: int) -> None:
        """Raise OSError for what came through a pipe and does not fit."""
        if end > self._storage.size():
            detail = f"the disk is larger than the {self._storage.size()} bytes here"
            raise OSError(errno.ENOSPC, detail, self._storage.name)

    def _clear(self, end: int) -> None:
        if end > self._reached:
            self._storage.zero(self._reached, end - self._reached)
            self._reached = end

    def finish(self, disk_size: int) -> int:
        """Write the rest and what was held back, durably."""
        self._refuse_end(disk_size)
        self._begin(min(disk_size, len(self._head)))
        self.end = disk_size
        self._clear(disk_size)
        self._storage.flush()
        self._storage.write_at(memoryview(self._head)[:disk_size], 0)
        self._storage.flush()
        return disk_size


def _compare(source: Source, storage: Medium, end: int) -> None:
    """Raise OSError where the device does not give back what was written."""
    reached = 0
    for offset, data, _ in pieces_here(source):
        _expect_zeros(storage, reached, min(offset, end))
        found = storage.read(len(data), offset)
        if found != data:
            at = next(index for index, (a, b) in enumerate(zip(found, data, strict=True)) if a != b)
            raise _differs(storage, offset + at)
        reached = offset + len(data)
    _expect_zeros(storage, reached, end)


def _expect_zeros(storage: Medium, start: int, end: int) -> None:
    for offset, length in pieces(start, end - start, len(ZEROS)):
        found = storage.read(length, offset)
        if found.strip(b"\0"):
            raise _differs(storage, offset + length - len(found.lstrip(b"\0")))


def _differs(storage: Medium, offset: int) -> OSError:
    return OSError(
        errno.EIO, f"the target gives back another byte at {offset} than was written", storage.name
    )


@contextlib.contextmanager
def device_destination(path: str, *, verify: bool) -> Iterator[DeviceDestination]:
    """A block device, held as by its only user."""
    from vhdx.storage.device import open_device  # noqa: PLC0415  it is there on Linux only

    with contextlib.closing(open_device(path)) as storage:
        yield DeviceDestination(path, storage, verify)


@contextlib.contextmanager
def export_destination(uri: str, *, verify: bool) -> Iterator[DeviceDestination]:
    """An export of an NBD server. Raises OSError where it lets nobody write."""
    from vhdx.client.export import open_export  # noqa: PLC0415  most targets are files

    with contextlib.closing(open_export(uri)) as storage:
        if storage.read_only:
            raise OSError(errno.EROFS, "the NBD server lets nobody write to it", storage.name)
        yield DeviceDestination(uri, storage, verify)
