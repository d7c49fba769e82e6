"""File systems of guests on a disk: detected, looked at quickly, and read as a whole; nothing but results."""

from collections.abc import Callable, Iterator
from functools import cache
from random import Random

from tests.fuzz import mutate
from tests.fuzz.case import Area, Seed, packed, unpack, written
from tests.fuzz.guests import guest, names
from tests.fuzz.oracle import Meter
from tests.support.layout import Layout
from tests.support.sparse import PAGE, Content
from vhdx.filesystems import lvm
from vhdx.filesystems.detect import detect, examine_found, hibernated
from vhdx.format.checksum import crc32c

__all__ = ["corpus", "mutated", "run"]

MOST_BYTES = 192 << 20
"""Read of a disk of at most 120 MiB by all looks together; a tree may be walked three times."""
_MOST_AREAS = 31
_WORDS = Layout(*((f"word {number}", 4, "bytes") for number in range(128)))
Seal = Callable[[bytearray, int], None]


def _btrfs_seal(page: bytearray, offset: int) -> None:
    page[:4] = crc32c(bytes(page[32:])).to_bytes(4, "little")


def _xfs_seal(page: bytearray, offset: int) -> None:
    """The four headers of the first group in the first page; btrees and lists of free space elsewhere."""
    first = ((0, 512, 224), (512, 512, 216), (1024, 512, 312), (1536, 512, 32))
    for start, length, place in first if page[:4] == b"XFSB" else ((0, PAGE, 52),):
        page[start + place : start + place + 4] = bytes(4)
        checksum = crc32c(bytes(page[start : start + length]))
        page[start + place : start + place + 4] = checksum.to_bytes(4, "little")


def _lvm_seal(page: bytearray, offset: int) -> None:
    """The label in the first page; in the second the header of the metadata, and a text that is there."""
    if offset == 0:
        page[528:532] = lvm._crc(bytes(page[532:1024])).to_bytes(4, "little")
        return
    start = int.from_bytes(page[40:48], "little")
    length = int.from_bytes(page[48:56], "little")
    if start + length <= PAGE:
        page[56:60] = lvm._crc(bytes(page[start : start + length])).to_bytes(4, "little")
    page[:4] = lvm._crc(bytes(page[4:512])).to_bytes(4, "little")


_SEALS: dict[str, Seal] = {"btrfs": _btrfs_seal, "xfs": _xfs_seal, "lvm": _lvm_seal}


@cache
def _seeds() -> tuple[Seed, ...]:
    return tuple(_seed(name) for name in names())


def _seed(name: str) -> Seed:
    content = guest(name)
    pages = sorted(content.pages)[:_MOST_AREAS]
    areas = tuple(Area(f"page {number}", number * PAGE, PAGE, rows=_WORDS) for number in pages)
    return Seed(name, content, areas, (0, 0))


def corpus() -> Iterator[bytes]:
    """Each disk as it is."""
    for number in range(len(_seeds())):
        yield packed(number)


def mutated(data: bytes, chance: Random) -> bytes:
    """A case that differs in one step."""
    return mutate.mutated(data, chance, _seeds())


def run(data: bytes) -> None:
    """Look at the disk that the bytes say, first quickly and then at everything."""
    case = unpack(data)
    seed = _seeds()[case.seed % len(_seeds())]
    content, touched = written(seed, case)
    content.resize(min(content.size, seed.content.size))
    if not case.broken & 1:
        _seal(seed, content, touched)
    storage = Meter(content, "disk.raw")
    found = detect(storage.read, content.size)
    if found is None:
        return
    quick = examine_found(found, content.size, agree=False)
    assert list(quick.free_ranges()) == []
    full = examine_found(found, content.size)
    _check(full.file_system.free, list(full.free_ranges()), content.size)
    assert (full.file_system.free is None) == bool(full.file_system.reasons)
    hibernated(full.file_system.kind, storage.read, content.size) if full.file_system.free else None
    assert storage.bytes_read <= MOST_BYTES, f"{storage.bytes_read} bytes read"


def _seal(seed: Seed, content: Content, touched: set[int]) -> None:
    """Make the checksums of the pages that were changed fit."""
    seal = _SEALS.get(seed.name)
    if seal is None:
        return
    for number in touched:
        offset = seed.areas[number].offset
        if offset + PAGE <= content.size:
            page = bytearray(content.read(PAGE, offset))
            seal(page, offset)
            content.write(bytes(page), offset)


def _check(free: int | None, ranges: list[tuple[int, int]], size: int) -> None:
    """Free ranges are inside, ascending, apart, and as many bytes as said."""
    end = 0
    for offset, length in ranges:
        assert end <= offset < offset + length <= size
        end = offset + length
    assert sum(length for _, length in ranges) == (free or 0)
