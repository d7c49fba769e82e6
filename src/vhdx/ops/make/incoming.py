"""What comes through standard input: raw bytes as they come, images front to back where they stand so."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys

from vhdx.disk.formats import format_of_file, image_in, policy_of, refuse_foreign
from vhdx.disk.open import open_any, readable_disk, with_parents
from vhdx.extents import ExtentKind
from vhdx.format.foreign import PREFIX_SIZE
from vhdx.format.identifier import SIGNATURE
from vhdx.format.vhd import FOOTER_COOKIE, FOOTER_SIZE
from vhdx.ops.make.source import PIECE_SIZE, DiskSource, Source, vhd_of
from vhdx.storage.cursor import reader_of
from vhdx.storage.file import of_descriptor
from vhdx.storage.filling import filled
from vhdx.storage.incoming import IncomingStorage
from vhdx.typed import TYPE_CHECKING, NamedTuple, cast
from vhdx.units import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from vhdx.disk.chain import VhdxDisk
    from vhdx.disk.formats import Format
    from vhdx.disk.opened import Disk
    from vhdx.disk.places import Parents
    from vhdx.known import KnownDisk
    from vhdx.storage.base import ReadableStorage

_NAME = "standard input"
_KEPT = (
    "{} of standard input went through a temporary file without a name: it could not be read front to back"
)
_LIKE_A_VHD = (
    f"what came ends as a fixed VHD does, and was taken for a raw disk, its footer of {FOOTER_SIZE} bytes "
    "for contents: if it was a VHD, say -f vhd"
)
_SIGNATURES: tuple[tuple[bytes, Format], ...] = ((SIGNATURE, "vhdx"), (FOOTER_COOKIE, "vhd"))


class StreamSource:
    """Raw bytes from a pipe."""

    disk = None
    format: Format = "raw"
    free = None
    told = ()
    waits = comes_once = True
    is_changed = False

    def __init__(self, stream: BinaryIO, *, is_said: bool) -> None:
        """``is_said``: whoever started it says that the bytes are raw."""
        self._stream = stream
        self._is_said = is_said
        self._last = b""
        self.size: int | None = None

    def ranges(self) -> Iterator[tuple[int, int]]:
        """What comes is known only when it comes."""
        raise ValueError("what is read from a pipe is gone: it cannot be looked at before it is converted")

    def pieces(self, buffers: Iterator[bytearray]) -> Iterator[tuple[int, bytearray]]:
        """All that comes, up to its end."""
        offset = 0
        for piece in buffers:
            length = filled(self._stream, memoryview(piece))
            if not length:
                break
            taken = piece if length == PIECE_SIZE else piece[:length]
            self._last = (self._last + taken[-FOOTER_SIZE:])[-FOOTER_SIZE:]
            yield offset, taken
            offset += length
        if not offset:
            raise ValueError(f"nothing came through {_NAME}: whatever was to write there has failed")
        self.size = offset

    def remarks(self) -> tuple[str, ...]:
        """Whether it ends as no raw disk does."""
        return (_LIKE_A_VHD,) if self._last.startswith(FOOTER_COOKIE) and not self._is_said else ()


class IncomingImage(DiskSource):
    """A VHDX that comes through a pipe: its tables are kept, its blocks let go by if they come in order."""

    comes_once = True

    def __init__(self, storage: IncomingStorage, disk: VhdxDisk) -> None:
        super().__init__(disk, "vhdx", waits=True)
        self._storage = storage
        self._chain = disk
        self._is_in_order = False

    def pieces(self, buffers: Iterator[bytearray]) -> Iterator[tuple[int, bytearray]]:
        """What the image holds, and all that stands behind it."""
        self._is_in_order = self._comes_in_order()
        if self._is_in_order:
            self._storage.let_go()
        yield from super().pieces(buffers)

    def _comes_in_order(self) -> bool:
        """Whether all that is still to come of the file is read in ascending order."""
        reached = self._storage.kept
        for extent in self._chain.extents():
            place = extent.file_offset
            if extent.kind is not ExtentKind.DATA or extent.depth != 1 or place is None:
                continue
            if place + extent.length > self._storage.kept:
                if place < reached:
                    return False
                reached = place + extent.length
        return True

    def remarks(self) -> tuple[str, ...]:
        """Whether a temporary file was needed."""
        return () if self._is_in_order else (_kept(self._storage),)


def _kept(storage: IncomingStorage) -> str:
    return _KEPT.format(size_text(storage.kept))


@contextlib.contextmanager
def standard_input(
    name: Format | None,
    *,
    parents: Parents,
    salvage: bool = False,
    ignore_bitmaps: bool = False,
    known: KnownDisk | None = None,
    whole: bool = False,
) -> Iterator[Source]:
    """The disk on standard input; ``whole`` if it must be known before its first byte is written.

    Raises ValueError for what begins like an image of another kind, and what opening raises.
    """
    if sys.stdin is None:
        raise ValueError(f"{_NAME} is closed")
    stream = sys.stdin.buffer
    descriptor = stream.fileno()
    opening = _Opening(parents, salvage, ignore_bitmaps, known, whole)
    if stat.S_ISREG(os.fstat(descriptor).st_mode) and os.lseek(descriptor, 0, os.SEEK_CUR) == 0:
        storage = of_descriptor(descriptor, _NAME)
        found = name or _format_of(storage)
        with opening.disk(storage, found) as disk:
            yield _source(disk)
        return
    beginning = _Beginning(stream)
    found = name or _format_from(beginning.prefix)
    incoming = cast("BinaryIO", beginning)
    if found == "raw" and not (whole or salvage):
        yield StreamSource(incoming, is_said=name is not None)
        return
    with (
        contextlib.closing(IncomingStorage(incoming, _NAME)) as kept,
        opening.incoming(kept, found) as source,
    ):
        yield source
        kept.drain()


class _Opening(NamedTuple):
    """How a disk is opened, as the options say."""

    parents: Parents
    salvage: bool
    ignore_bitmaps: bool
    known: KnownDisk | None
    whole: bool

    def disk(self, storage: ReadableStorage, found: Format) -> Disk:
        """The disk in a storage of which all can be read at any time. Takes the storage over."""
        if not (self.salvage or self.ignore_bitmaps):
            return readable_disk(storage, found, policy_of("", self.parents))
        return open_any(
            reader_of(storage),
            image_format=found,
            parents=self.parents,
            salvage=self.salvage,
            ignore_bitmaps=self.ignore_bitmaps,
            known=self.known,
        )

    @contextlib.contextmanager
    def incoming(self, storage: IncomingStorage, found: Format) -> Iterator[Source]:
        """The disk in what comes: front to back if it can be, else once all of it is kept."""
        if found == "vhdx" and not (self.whole or self.salvage):
            image = image_in(storage)
            if image.sequence is None:
                with with_parents(image, self.parents) as chain:
                    yield IncomingImage(storage, chain)
                return
        storage.keep_all()
        with self.disk(storage, found) as disk:
            yield _source(disk, (_kept(storage),))


def _source(disk: Disk, told: tuple[str, ...] = ()) -> DiskSource:
    return DiskSource(disk, disk.format, image=vhd_of(disk), told=told)


def _format_of(storage: ReadableStorage) -> Format:
    """What a file on standard input is. Raises ValueError for one that is no disk."""
    found = format_of_file(storage)
    if found == "raw":
        refuse_foreign(_NAME, storage.read(min(storage.size(), PREFIX_SIZE), 0))
    return found


def _format_from(prefix: bytes) -> Format:
    """What begins so; the footer of a fixed VHD comes too late to tell. Raises ValueError as above."""
    for signature, found in _SIGNATURES:
        if prefix.startswith(signature):
            return found
    refuse_foreign(_NAME, prefix)
    return "raw"


class _Beginning:
    """A stream of which the first bytes were looked at, from its beginning."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        buffer = bytearray(PREFIX_SIZE)
        count = filled(stream, memoryview(buffer))
        self.prefix = bytes(buffer[:count])
        self._again = io.BytesIO(self.prefix)

    def readinto(self, view: memoryview) -> int | None:
        """What was looked at, then what comes."""
        return self._again.readinto(view) or self._stream.readinto(view)  # type: ignore[attr-defined]

    def fileno(self) -> int:
        """That of the stream."""
        return self._stream.fileno()
