"""Parts of an NTFS, and whole small ones, built by hand: what the tools of others do not make.

A volume of here has the records that readers need and no more; Windows would not mount it.
"""

import contextlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .noise import patch
from .scribble import number, run

DATA, BITMAP, ATTRIBUTE_LIST, VOLUME_INFORMATION = 0x80, 0xB0, 0x20, 0x70
INDEX_ROOT = 0x90
Runs = Sequence[tuple[int, int | None]]
"""(clusters, first cluster), None where nothing is stored."""


def protected(data: bytes, offset: int, mark: bytes = b"\x07\x00") -> bytes:
    """A record as it is written: the last two bytes of each 512 replaced, and kept at `offset`."""
    record = bytearray(data)
    count = len(data) // 512 + 1
    record[4:8] = struct.pack("<HH", offset, count)
    ends = [bytes(record[end - 2 : end]) for end in range(512, len(record) + 1, 512)]
    record[offset : offset + 2 * count] = mark + b"".join(ends)
    for end in range(512, len(record) + 1, 512):
        record[end - 2 : end] = mark
    return bytes(record)


def restart_page(
    *,
    lsn: int = 5,
    version: tuple[int, int] = (1, 1),
    in_use: int = 0xFFFF,
    flags: int = 2,
    magic: bytes = b"RSTR",
    torn: bool = False,
) -> bytes:
    """A page of 4096 bytes at the start of a log."""
    page = bytearray(4096)
    page[:4] = magic
    struct.pack_into("<QIIHhh", page, 8, 0, 4096, 4096, 0x30, version[1], version[0])
    struct.pack_into("<QHHHH", page, 0x30, lsn, 1, 0xFFFF, in_use, flags)
    page = bytearray(protected(bytes(page), 0x1E))
    if torn:
        page[1022] ^= 1
    return bytes(page)


def signed(value: int) -> bytes:
    """The shortest bytes of a signed number."""
    length = 1
    while not -(1 << 8 * length - 1) <= value < 1 << 8 * length - 1:
        length += 1
    return value.to_bytes(length, "little", signed=True)


def encoded(runs: Runs) -> bytes:
    """A run list."""
    out, before = b"", 0
    for count, cluster in runs:
        size = signed(count)
        place = b"" if cluster is None else signed(cluster - before)
        before = before if cluster is None else cluster
        out += bytes([len(size) | len(place) << 4]) + size + place
    return out + b"\0"


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def resident(kind: int, value: bytes, name: str = "") -> bytes:
    """An attribute that stands in its record."""
    text = name.encode("utf-16-le")
    offset = 24 + len(_padded(text))
    body = _padded(text) + _padded(value)
    return (
        struct.pack("<IIBBHHHIHH", kind, 24 + len(body), 0, len(name), 24, 0, 0, len(value), offset, 0) + body
    )


def stored(
    kind: int,
    runs: Runs,
    *,
    first: int = 0,
    length: int = 0,
    flags: int = 0,
    pairs: bytes | None = None,
    name: str = "",
) -> bytes:
    """An attribute that stands in clusters."""
    text = _padded(name.encode("utf-16-le"))
    body = text + _padded(encoded(runs) if pairs is None else pairs)
    last = first + sum(count for count, _ in runs) - 1
    head = struct.pack("<IIBBHHH", kind, 64 + len(body), 1, len(name), 64, flags, 0)
    return head + struct.pack("<qqHHIqqq", first, last, 64 + len(text), 0, 0, length, length, length) + body


def listed(entries: Iterable[tuple[int, int, int]], sequence: int = 1) -> bytes:
    """The value of an attribute list: (type, first VCN, record)."""
    return b"".join(
        struct.pack("<IHBBQQHxxxxxx", kind, 32, 0, 26, first, record | sequence << 48, 0)
        for kind, first, record in entries
    )


def record(*attributes: bytes, base: int = 0, in_use: bool = True, size: int = 1024) -> bytes:
    """A file record as it is written."""
    body = b"".join(attributes) + b"\xff\xff\xff\xff\0\0\0\0"
    first = 0x30 + -(-2 * (size // 512 + 1) // 8) * 8
    head = struct.pack(
        "<4sHHQHHHHIIQHHI", b"FILE", 0, 0, 0, 1, 1, first, int(in_use), first + len(body), size, base, 9, 0, 0
    )
    return protected((head.ljust(first, b"\0") + body).ljust(size, b"\0"), 0x30)


class Volume:
    """A small NTFS: its own files, then whatever records a test wants. Everything may be replaced."""

    def __init__(
        self, clusters: int = 4096, cluster_size: int = 4096, record_size: int = 1024, table: int = 64
    ) -> None:
        """`table` is the number of clusters of the table of files, which begins at cluster 16."""
        self.clusters, self.cluster_size, self.record_size = clusters, cluster_size, record_size
        self.table: Runs = [(table, 16)]
        self.log: Runs = [(16, 100)]
        self.bitmap: Runs = [(-(-clusters // 8 // cluster_size) or 1, 120)]
        self.records: dict[int, bytes] = {}
        self.used: list[tuple[int, int]] = [(0, 4)]

    def usual(self) -> dict[int, bytes]:
        """The records that each NTFS has, as far as a reader wants them."""
        size, one = self.record_size, record(size=self.record_size)
        bitmap_length = -(-self.clusters // 64) * 8
        return {
            0: record(stored(DATA, self.table, length=self.length(self.table)), size=size),
            1: one,
            2: record(stored(DATA, self.log, length=self.length(self.log)), size=size),
            3: record(resident(VOLUME_INFORMATION, bytes(8) + b"\x03\x01\0\0"), size=size),
            4: one,
            5: record(resident(INDEX_ROOT, empty_index(), "$I30"), size=size),
            6: record(stored(DATA, self.bitmap, length=bitmap_length), size=size),
            7: record(stored(DATA, [(4, 0)], length=4 * self.cluster_size), size=size),
        }

    def length(self, runs: Runs) -> int:
        return sum(count for count, _ in runs) * self.cluster_size

    def build(self) -> bytearray:
        """All bytes of it, with the copy of the boot sector."""
        image = bytearray(self.clusters * self.cluster_size + 512)
        image[:512] = image[-512:] = self.boot()
        for count, cluster in self.log:
            assert cluster is not None
            self._put(image, cluster * self.cluster_size, b"\xff" * count * self.cluster_size)
        for index, data in {**self.usual(), **self.records}.items():
            self._put_stream(image, self.table, index * self.record_size, data)
        self._put_stream(image, self.bitmap, 0, self.bits())
        return image

    def boot(self) -> bytes:
        sector = bytearray(512)
        sector[:11] = b"\xeb\x52\x90NTFS    "
        per_cluster = self.cluster_size // 512
        code = per_cluster if per_cluster <= 128 else 256 - (per_cluster.bit_length() - 1)
        struct.pack_into("<HB", sector, 11, 512, code)
        first = self.table[0][1]
        size = 256 - (self.record_size.bit_length() - 1)
        sectors = self.clusters * per_cluster
        struct.pack_into("<QQQBxxxBxxxQ", sector, 40, sectors, first, first, size, 1, 0x1234)
        sector[510:] = b"\x55\xaa"
        return bytes(sector)

    def bits(self) -> bytes:
        """The bitmap: what the usual records use, and `used`."""
        bits = bytearray(-(-self.clusters // 64) * 8)
        for count, cluster in (*self.table, *self.log, *self.bitmap, *((n, at) for at, n in self.used)):
            assert cluster is not None
            for number_ in range(cluster, cluster + count):
                bits[number_ >> 3] |= 1 << (number_ & 7)
        for number_ in range(self.clusters, len(bits) * 8):
            bits[number_ >> 3] |= 1 << (number_ & 7)
        return bytes(bits)

    def _put(self, image: bytearray, offset: int, data: bytes) -> None:
        image[offset : offset + len(data)] = data

    def _put_stream(self, image: bytearray, runs: Runs, offset: int, data: bytes) -> None:
        place, size = 0, self.cluster_size
        for count, cluster in runs:
            assert cluster is not None
            for position in range(max(offset, place), min(offset + len(data), place + count * size)):
                image[cluster * size + position - place] = data[position - offset]
            place += count * size


def empty_index() -> bytes:
    """The root of a directory without names."""
    entry = struct.pack("<QHHHH", 0, 16, 0, 2, 0)
    return struct.pack("<IIIBxxx", 0x30, 1, 4096, 1) + struct.pack("<IIIBxxx", 16, 32, 32, 0) + entry


def place(path: Path, inode: int) -> int:
    """The offset of the first cluster of a file's bytes, by ntfs-3g's programs."""
    cluster_size = number(run("ntfsinfo", "-m", path), r"Cluster Size: (\d+)")
    said = run("ntfscluster", "-I", str(inode), path)
    return number(said, r"0x80 - non-resident\s+VCN\s+LCN\s+Length\s+0\s+(\d+)") * cluster_size


@contextlib.contextmanager
def patched_record(path: Path, index: int, old: bytes, new: bytes) -> Iterator[None]:
    """A record in which bytes that occur once are others, for a while."""
    start = place(path, 0) + index * 1024
    with open(path, "rb") as file:
        file.seek(start)
        before = file.read(1024)
    assert before.count(old) == 1
    patch(path, start, before.replace(old, new))
    try:
        yield
    finally:
        patch(path, start, before)
