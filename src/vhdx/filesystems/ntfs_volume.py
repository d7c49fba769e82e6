"""An NTFS's own files: records by number, and their streams, also where these are spread over records."""

from __future__ import annotations

import struct
from bisect import bisect_right

from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.ntfs_record import (
    ATTRIBUTE_LIST,
    DATA,
    NUMBER_MASK,
    Attribute,
    attributes,
    damaged,
    fixed_up,
    listed,
)
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.base import Read
    from vhdx.filesystems.ntfs_boot import Boot

MFT, LOG_FILE, VOLUME, ROOT, CLUSTER_BITMAP = 0, 2, 3, 5, 6
_LONGEST_LIST = 256 << 10
"""Windows makes no longer attribute lists."""

_CODED = 0x40FF
"""Flags of an attribute that is compressed or encrypted."""
_NOT_PLAIN = 0xC0FF
"""Flags of an attribute that is compressed, encrypted or sparse."""


class Stream:
    """The bytes of one attribute in clusters, in as many parts as it has."""

    def __init__(self, read: Read, boot: Boot, what: str) -> None:
        self.what = what
        self.length = self.initialised = self.end = self.flags = 0
        self._read, self._boot = read, boot
        self._firsts: list[int] = []
        self._clusters: list[int | None] = []

    @property
    def first_cluster(self) -> int | None:
        """Where it begins."""
        return self._clusters[0] if self._clusters else None

    def add(self, part: Attribute) -> None:
        """Append a part. Raises NotFreeError unless it begins where the last one ended."""
        if part.value is not None or part.first != self.end:
            raise damaged(f"parts of {self.what} are missing")
        if not self._firsts:
            if part.length < 0 or part.initialised < 0:
                raise damaged(f"{self.what} has a negative length")
            self.length, self.initialised, self.flags = part.length, part.initialised, part.flags
        for count, cluster in part.runs:
            if cluster is not None and not 0 <= cluster <= self._boot.clusters - count:
                raise damaged(f"{self.what} leaves the volume")
            self._firsts.append(self.end)
            self._clusters.append(cluster)
            self.end += count

    @property
    def is_as_stored(self) -> bool:
        """Whether its clusters hold its bytes as they are."""
        return not self.flags & _CODED

    def places(self) -> Iterator[tuple[int | None, int]]:
        """(offset in the volume, length) of what its clusters hold, in its order; None for zeros.

        Zeros are also what was never written, whatever stands there.
        """
        size, written = self._boot.cluster_size, self.initialised
        for first, end, cluster in zip(
            self._firsts, [*self._firsts[1:], self.end], self._clusters, strict=True
        ):
            start, length = first * size, (end - first) * size
            stored = 0 if cluster is None else max(0, min(length, written - start))
            if cluster is not None and stored:
                yield cluster * size, stored
            if stored < length:
                yield None, length - stored

    def read(self, length: int, offset: int) -> bytes:
        """Bytes of it; what is not stored is zeros. Raises NotFreeError where it ends before."""
        size = self._boot.cluster_size
        if offset + length > self.end * size:
            raise damaged(f"{self.what} is shorter than it says")
        pieces = []
        while length:
            number = bisect_right(self._firsts, offset // size) - 1
            first, cluster = self._firsts[number], self._clusters[number]
            end = self._firsts[number + 1] if number + 1 < len(self._firsts) else self.end
            piece = min(length, end * size - offset)
            inner = offset - first * size
            pieces.append(bytes(piece) if cluster is None else self._read(piece, cluster * size + inner))
            offset += piece
            length -= piece
        return b"".join(pieces)

    def must_be_plain(self) -> Stream:
        """Itself. Raises NotFreeError where it is compressed, encrypted, or not stored in full."""
        if self.end > self._boot.clusters:
            raise damaged(f"{self.what} is longer than the volume")
        if self.flags & _NOT_PLAIN or None in self._clusters:
            raise NotFreeError(f"{self.what} is compressed, encrypted or sparse, which it never is")
        return self


class Value:
    """The bytes of an attribute that stands in its record."""

    is_as_stored = True

    def __init__(self, value: bytes) -> None:
        self.length = self.initialised = len(value)
        self._value = value

    def read(self, length: int, offset: int) -> bytes:
        """Bytes of it."""
        return self._value[offset : offset + length]


class Volume:
    """Reads records by number. Raises NotFreeError for all that is not as it must be."""

    def __init__(self, read: Read, boot: Boot) -> None:
        self.boot = boot
        self._bytes = read
        self.mft = Stream(read, boot, "the table of files ($MFT)")
        self._first = read(boot.record_size, boot.mft_cluster * boot.cluster_size)
        for part in self._parts(MFT, DATA, ""):
            self.mft.add(part)
        if self.mft.first_cluster != boot.mft_cluster:
            raise damaged("the table of files does not begin where the boot sector says")
        self.mft.must_be_plain()

    def record(self, number: int, sequence: int | None = None) -> bytes:
        """A record that is in use; with ``sequence`` only where this is its sequence number."""
        what, size = f"file record {number}", self.boot.record_size
        raw = self.mft.read(size, number * size) if number else self._first
        record = fixed_up(raw, b"FILE", what)
        (stored,) = struct.unpack_from("<H", record, 16)
        if not record[22] & 1 or sequence not in (None, stored):
            raise damaged(f"{what} is referred to, but is not in use")
        return record

    def value(self, number: int, type_: int) -> bytes:
        """A value that stands in a record itself."""
        for part in attributes(self.record(number), f"file record {number}"):
            if part.type == type_ and part.value is not None:
                return part.value
        raise damaged(f"file record {number} has no attribute {type_:#x}")

    def stream(self, number: int, type_: int, name: str = "") -> Stream | Value:
        """The bytes of an attribute of a file."""
        stream = Stream(self._bytes, self.boot, f"attribute {type_:#x} of file record {number}")
        found = False
        for part in self._parts(number, type_, name):
            found = True
            if part.value is not None:
                return Value(part.value)
            stream.add(part)
        if not found:
            raise damaged(f"file record {number} has no attribute {type_:#x}")
        return stream

    def stored(self, number: int, type_: int) -> Stream:
        """The same of a file whose bytes stand in clusters, as they are."""
        stream = self.stream(number, type_)
        if isinstance(stream, Value):
            raise NotFreeError(f"file record {number} holds its own bytes, which it never does")
        return stream.must_be_plain()

    def _parts(self, number: int, type_: int, name: str) -> Iterator[Attribute]:
        own = list(attributes(self.record(number), f"file record {number}"))
        lists = [part for part in own if part.type == ATTRIBUTE_LIST]
        if not lists:
            yield from (part for part in own if (part.type, part.name) == (type_, name))
            return
        end = -1
        for entry in listed(self._list(number, lists[0]), f"file record {number}"):
            if (entry.type, entry.name) != (type_, name):
                continue
            if entry.first <= end:
                raise damaged(f"the attribute list of file record {number} is out of order")
            end = entry.first
            yield self._part(number, entry.reference, (type_, name, entry.first))

    def _part(self, number: int, reference: int, wanted: tuple[int, str, int]) -> Attribute:
        holder = reference & NUMBER_MASK
        record = self.record(holder, reference >> 48)
        base = int.from_bytes(record[32:40], "little") & NUMBER_MASK
        if number in (holder, base):
            for part in attributes(record, f"file record {holder}"):
                if (part.type, part.name, part.first) == wanted:
                    return part
        raise damaged(f"parts of file record {number} are missing in {holder}")

    def _list(self, number: int, attribute: Attribute) -> bytes:
        if attribute.value is not None:
            return attribute.value
        if attribute.length > _LONGEST_LIST:
            raise damaged(f"the attribute list of file record {number} is too long")
        stream = Stream(self._bytes, self.boot, f"the attribute list of file record {number}")
        stream.add(attribute)
        return stream.read(attribute.length, 0)
