"""What must hold of every image, however hostile: the judge of fuzzed images in memory.

Only errors of the library come out, and each says where; reading twice, by other ways, or naively gives the
same bytes; extents cover the disk and tell the truth; what it costs to open is bounded by the log's length.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple, TypeVar
from zlib import crc32

from tests.support.judge import check_words
from tests.support.layout import GIB, MIB, SECTOR
from tests.support.naive import NaiveDisk, naive_disk
from tests.support.sparse import Content, ContentStorage
from vhdx.disk.chain import VhdxDisk
from vhdx.errors import VhdxError
from vhdx.extents import Extent, ExtentKind
from vhdx.format import guids
from vhdx.image import image
from vhdx.image.image import Image

_Got = TypeVar("_Got")
_SAMPLED = 8
_MOST_EXTENTS = 300
_PIECE = 2048
_FEW_BLOCKS = 1024
READS_TO_OPEN = 64
"""How many reads an opening may make, beside four for each page of a dirty log."""
BYTES_TO_OPEN = 8 * MIB
"""How many bytes an opening may read, beside four times a dirty log."""


class Refused(NamedTuple):
    """The library refused, with an error as it should be; its words."""

    words: str


class Opened(NamedTuple):
    """A disk and the images behind it."""

    disk: VhdxDisk
    layers: tuple[Image, ...]


class Meter(ContentStorage):
    """A content that counts the bytes that are read of it, too."""

    def __init__(self, content: Content, name: str = "image.vhdx") -> None:
        super().__init__(content, name)
        self.bytes_read = 0

    def read(self, length: int, file_offset: int) -> bytes:
        """Exactly `length` bytes."""
        self.bytes_read += length
        return super().read(length, file_offset)


def sampled(data: bytes) -> bool:
    """Whether this input is one of those that get the slow comparisons, too: one of eight."""
    return crc32(data) % _SAMPLED == 0


def answer(ask: Callable[[], _Got], *, placed: bool = True) -> _Got | Refused:
    """What a call gives, or the sound refusal; whatever else it raises is a finding.

    `placed` is False where a refusal is about the whole file and need not say where.
    """
    try:
        return ask()
    except VhdxError as error:
        if placed:
            check_words(error)
        assert error.image, error  # noqa: PT017  the error is what is judged
        return Refused(str(error))


def opened(content: Content, parent: Content | None = None) -> Opened | Refused:
    """The disk of an image over the given parent, whose identity is not asked for."""
    storage = Meter(content)
    leaf = answer(lambda: image.load(storage))
    _assert_cheap(storage, leaf)
    if isinstance(leaf, Refused):
        return leaf
    layers = [leaf]
    if leaf.metadata.has_parent and parent is not None:
        layers.append(image.load(ContentStorage(parent, "parent.vhdx")))
    return Opened(VhdxDisk(layers), tuple(layers))


def _assert_cheap(storage: Meter, leaf: Image | Refused) -> None:
    log = 4 * GIB if isinstance(leaf, Refused) else leaf.header.log_length
    dirty = isinstance(leaf, Refused) or leaf.header.log_guid != guids.NIL
    allowed = min(log, storage.size()) if dirty else 0
    assert storage.reads <= READS_TO_OPEN + 4 * allowed // SECTOR, f"{storage.reads} reads to open"
    assert storage.bytes_read <= BYTES_TO_OPEN + 4 * allowed, f"{storage.bytes_read} bytes read to open"


def twin_of(content: Content, parent: Content | NaiveDisk | None = None) -> NaiveDisk:
    """The same disk as the naive reader sees it."""

    def read(length: int, offset: int) -> bytes:
        return content.read(max(0, min(length, content.size - offset)), offset)

    below = twin_of(parent) if isinstance(parent, Content) else parent
    return naive_disk(read, content.size, below)


def assert_reads(disk: VhdxDisk, twin: NaiveDisk | None) -> None:
    """Both ways of reading agree, with each other and with the twin."""
    for offset, length in samples(disk):
        got = answer(lambda start=offset, count=length: disk.pread(count, start))  # type: ignore[misc]
        buffer = bytearray(b"\xa5" * length)
        into = answer(lambda start=offset, view=buffer: disk.preadinto(view, start))  # type: ignore[misc]
        if isinstance(got, Refused):
            assert isinstance(into, Refused), f"{offset} is read into a buffer, but {got.words}"
            continue
        assert into is None, f"{offset} is read, but not into a buffer: {into}"
        assert got == bytes(buffer), f"both ways of reading {length} bytes at {offset} differ"
        if twin is not None:
            assert got == twin.read(offset, length), f"{length} bytes at {offset} are wrong"


def samples(disk: VhdxDisk) -> Iterator[tuple[int, int]]:
    """(offset, length) of ranges worth reading: both ends, the middle, across the borders of blocks."""
    size, block = disk.size, disk.block_size
    wanted = (0, MIB - 1024, block - 1024, 2 * block - 512, 3 * block, size // 2, size - 1536)
    for offset in dict.fromkeys(wanted):
        start = max(0, min(offset, size - 1))
        yield start, min(_PIECE, size - start)


def told_extents(disk: VhdxDisk, offset: int, length: int) -> tuple[list[Extent], str | None]:
    """The first extents of a range, and why there are no more if the library refuses to go on."""
    told: list[Extent] = []
    try:
        for extent in islice(disk.extents(offset=offset, length=length), _MOST_EXTENTS):
            told.append(extent)  # noqa: PERF402  what was told before a refusal counts
    except VhdxError as error:
        check_words(error)
        return told, str(error)
    return told, None


def assert_extents(disk: VhdxDisk, layers: tuple[Image, ...], twin: NaiveDisk | None) -> None:
    """As far as extents go they cover the disk in order, and a read of each gives what it says.

    Of large disks both ends are enough: a table of 1 MiB takes as long as hundreds of small images.
    """
    part = _FEW_BLOCKS * disk.block_size
    if twin is not None or disk.size <= 2 * part:
        _assert_range(disk, layers, twin, range(disk.size))
    else:
        _assert_range(disk, layers, twin, range(part))
        _assert_range(disk, layers, twin, range(disk.size - part, disk.size))


def _assert_range(disk: VhdxDisk, layers: tuple[Image, ...], twin: NaiveDisk | None, whole: range) -> None:
    told, refusal = told_extents(disk, whole.start, len(whole))
    end = whole.start
    for extent in told:
        assert extent.offset == end, extent
        assert extent.length > 0, extent
        end = extent.end
        for offset in {extent.offset, extent.end - min(512, extent.length)}:
            _assert_true(disk, layers, twin, extent, offset)
    if refusal is not None:
        assert end < whole.stop, f"refused behind the end: {refusal}"
    elif len(told) < _MOST_EXTENTS:
        assert end == whole.stop, f"nothing is told from {end} on"


def _assert_true(
    disk: VhdxDisk, layers: tuple[Image, ...], twin: NaiveDisk | None, extent: Extent, offset: int
) -> None:
    length = min(512, extent.end - offset)
    got = disk.pread(length, offset)
    if extent.kind is ExtentKind.DATA:
        assert extent.file_offset is not None, extent
        place = extent.file_offset + offset - extent.offset
        assert got == layers[extent.depth - 1].storage.read(length, place), extent
    else:
        assert not any(got), extent
    if twin is not None:
        assert got == twin.read(offset, length), f"{length} bytes at {offset} are wrong"
