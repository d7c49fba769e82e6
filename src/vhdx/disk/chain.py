"""A chain of images, child over parent, as one virtual disk. A chain of one is the ordinary case."""

from __future__ import annotations

from itertools import accumulate, chain
from typing import TYPE_CHECKING, NoReturn

from vhdx.disk.base import bytes_of, check_range
from vhdx.disk.stream import DiskStream
from vhdx.extents import BlockState, Extent, ExtentKind, merged
from vhdx.image.read import ASK_BELOW, ZEROS
from vhdx.storage.base import fill_zeros
from vhdx.storage.file import FileStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType
    from typing import Self
    from uuid import UUID

    from typing_extensions import Buffer

    from vhdx.image.image import Image


class Disk:
    """A VHDX disk opened for reading; what ``vhdx.open`` returns. Safe to use from several threads.

    Reads of a path run in parallel. Raises CorruptImageError for a range whose bytes the file cannot
    give, ValueError after `close`.
    """

    read_only = True

    def __init__(self, layers: Sequence[Image]) -> None:
        self._layers = tuple(layers)
        self._leaf = self._layers[0]
        self._size = self._leaf.geometry.disk_size
        self._closed = False
        self._answers: tuple[tuple[Callable[[int, int], int], Image], ...] = tuple(
            (layer.reader.locate, layer) for layer in self._layers
        )
        # A layer is asked only for what every layer over it has: past the end of a short parent are zeros.
        self._visible = tuple(accumulate((layer.geometry.disk_size for layer in self._layers), min))

    @property
    def size(self) -> int:
        """The capacity in bytes."""
        return self._size

    @property
    def disk_type(self) -> str:
        """``"fixed"``, ``"dynamic"`` or ``"differencing"``."""
        return self._leaf.metadata.disk_type

    @property
    def block_size(self) -> int:
        """Bytes in a payload block of the image itself; its parents may have others."""
        return self._leaf.geometry.block_size

    @property
    def logical_sector_size(self) -> int:
        """The unit in which the disk is addressed: 512 or 4096 bytes, the same in all layers."""
        return self._leaf.geometry.logical_sector_size

    @property
    def physical_sector_size(self) -> int:
        """The unit in which the disk says it is best written: 512 or 4096 bytes."""
        return self._leaf.metadata.physical_sector_size

    @property
    def disk_id(self) -> UUID:
        """The identity that a guest sees (SCSI page 83)."""
        return self._leaf.metadata.disk_id

    @property
    def chain(self) -> tuple[str, ...]:
        """The names of the files, from the image itself to its base."""
        return tuple(layer.name for layer in self._layers)

    @property
    def layers(self) -> tuple[Image, ...]:
        """The opened files, from the image itself to its base."""
        return self._layers

    def pread(self, length: int, offset: int) -> bytes:
        """Exactly ``length`` bytes of the disk from ``offset`` on.

        Raises ValueError for a range that is not wholly inside the disk; nothing is shortened.
        """
        if offset < 0 or length < 0 or offset + length > self._size:
            check_range(offset, length, self._size)
        place = ASK_BELOW
        for locate, layer in self._answers:
            place = locate(offset, length)
            if place > 0:
                return layer.storage.read(length, place)
            if place != ASK_BELOW:
                break
        if place in (ZEROS, ASK_BELOW):
            return bytes(length)
        return self._pread_pieces(length, offset)

    def _pread_pieces(self, length: int, offset: int) -> bytes:
        pieces = []
        for extent in merged(self._resolved(offset, length)):
            if extent.kind is ExtentKind.DATA and extent.file_offset is not None:
                storage = self._layers[extent.depth - 1].storage
                pieces.append(storage.read(extent.length, extent.file_offset))
            else:
                pieces.append(bytes(extent.length))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def preadinto(self, buffer: Buffer, offset: int) -> None:
        """Fill a writable, contiguous buffer with the bytes of the disk from ``offset`` on."""
        view = bytes_of(buffer)
        length = len(view)
        check_range(offset, length, self._size)
        for locate, layer in self._answers:
            place = locate(offset, length)
            if place > 0:
                layer.storage.read_into(view, place)
                return
            if place != ASK_BELOW:
                break
        for extent in merged(self._resolved(offset, length)):
            piece = view[extent.offset - offset : extent.end - offset]
            if extent.kind is ExtentKind.DATA and extent.file_offset is not None:
                self._layers[extent.depth - 1].storage.read_into(piece, extent.file_offset)
            else:
                fill_zeros(piece)

    def extents(self, *, offset: int = 0, length: int | None = None) -> Iterator[Extent]:
        """What a range is made of, in order, neighbours that continue each other made one.

        ``length`` None means up to the end of the disk. Bounded memory, whatever the disk's size.
        """
        if self._closed:
            _refuse_closed()
        length = self._size - offset if length is None else length
        check_range(offset, length, self._size)
        return merged(self._resolved(offset, length))

    def _resolved(self, offset: int, length: int) -> Iterator[Extent]:
        """Layer over layer without recursion: one iterator for each layer that is being asked."""
        asked = [self._answers_of(0, offset, length)] if length else []
        while asked:
            extent = next(asked[-1], None)
            depth = len(asked)
            if extent is None:
                asked.pop()
            elif extent.kind is ExtentKind.UNALLOCATED:
                if depth < len(self._layers) and extent.offset < self._visible[depth]:
                    asked.append(self._answers_of(depth, extent.offset, extent.length))
                else:
                    yield extent
            else:
                yield extent if depth == 1 else extent._replace(depth=depth)

    def _answers_of(self, layer: int, offset: int, length: int) -> Iterator[Extent]:
        reader = self._layers[layer].reader.extents
        seen = min(length, self._visible[layer] - offset)
        if seen == length:
            return reader(offset, length)
        nothing = Extent(
            offset + seen, length - seen, ExtentKind.UNALLOCATED, BlockState.NOT_PRESENT, 0, None
        )
        return chain(reader(offset, seen), (nothing,))

    def files(self) -> tuple[tuple[int, int], ...]:
        """Device and inode of every file of the chain, as far as they are known."""
        files = (layer.file for layer in self._layers)
        return tuple(file.identity() for file in files if isinstance(file, FileStorage))

    def stream(self) -> DiskStream:
        """The disk as a file object with a cursor of its own."""
        return DiskStream(self)

    def close(self) -> None:
        """Let go of all files. Reads from then on raise ValueError."""
        self._closed = True
        self._answers = ((_refuse_locating, self._leaf),)
        for layer in self._layers:
            layer.storage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<vhdx.Disk {self._leaf.name!r}, {self.disk_type}, {self._size} bytes>"


def _refuse_locating(offset: int, length: int) -> int:  # noqa: ARG001  stands in for Reader.locate
    _refuse_closed()


def _refuse_closed() -> NoReturn:
    raise ValueError("the disk is closed")
