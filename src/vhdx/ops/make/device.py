"""A disk onto a block device: its first MiB last, so that what was broken off is no disk."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING, NamedTuple

from vhdx.ops.make.ahead import pieces_here
from vhdx.ops.make.writing import Writing
from vhdx.partitions.gpt import SIGNATURE
from vhdx.pieces import pieces
from vhdx.storage.base import ZEROS
from vhdx.storage.device import is_part_of, open_device
from vhdx.units import MIB, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdx.disk.open import Format
    from vhdx.ops.make.plan import ImageOptions
    from vhdx.ops.make.source import Source
    from vhdx.ops.make.target import Target
    from vhdx.storage.device import DeviceStorage

_OLD_TABLE = "the kernel still goes by the old partition table: blockdev --rereadpt, or start it anew"
_LARGER = "the device is {} larger than the disk: what stood there before stays"
_NOT_TWICE = "what comes through a pipe is read once: it cannot be compared with what was written"


class DeviceDestination(NamedTuple):
    """A block device that is written over."""

    path: str
    storage: DeviceStorage
    verify: bool

    format: Format = "raw"

    @property
    def medium(self) -> tuple[int, int]:
        """Its size, and that of its sectors."""
        return self.storage.size(), self.storage.sector_size

    def needs_map(self, options: ImageOptions) -> bool:  # noqa: ARG002
        """No."""
        return False

    def refuse_source(self, source: Source) -> None:
        """Raise ValueError for a source that is on the device, or does not fit, or cannot be compared."""
        if self.verify and source.waits:
            raise ValueError(_NOT_TWICE)
        if source.disk is not None and is_part_of(self.path, source.disk.files(), source.disk.chain):
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

    def __init__(self, storage: DeviceStorage, disk_size: int | None) -> None:
        self._storage = storage
        self._disk_size = disk_size
        self._head = bytearray(min(MIB, storage.size()))
        self._reached = len(self._head)
        self.end = disk_size or 0
        storage.zero(0, len(self._head))
        last = storage.size() - storage.sector_size
        if storage.read(len(SIGNATURE), last) == SIGNATURE:  # else programs would restore the old table
            storage.zero(last, storage.sector_size)
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
        self.end = disk_size
        self._clear(disk_size)
        self._storage.flush()
        self._storage.write_at(memoryview(self._head)[:disk_size], 0)
        self._storage.flush()
        return disk_size


def _compare(source: Source, storage: DeviceStorage, end: int) -> None:
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


def _expect_zeros(storage: DeviceStorage, start: int, end: int) -> None:
    for offset, length in pieces(start, end - start, len(ZEROS)):
        found = storage.read(length, offset)
        if found.strip(b"\0"):
            raise _differs(storage, offset + length - len(found.lstrip(b"\0")))


def _differs(storage: DeviceStorage, offset: int) -> OSError:
    return OSError(
        errno.EIO, f"the device gives back another byte at {offset} than was written", storage.name
    )


@contextlib.contextmanager
def device_destination(path: str, *, overwrite: bool, verify: bool) -> Iterator[DeviceDestination]:
    """A block device, held as by its only user. Raises ValueError unless it may be written over."""
    if not overwrite:
        raise ValueError(
            f"{path} is a block device: all that is on it would be lost; say --force (overwrite)"
        )
    with contextlib.closing(open_device(path)) as storage:
        yield DeviceDestination(path, storage, verify)
