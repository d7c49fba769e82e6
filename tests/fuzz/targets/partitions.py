"""Partition tables: reading any table, and moving a GPT to another end of the disk."""

from collections.abc import Iterator
from functools import cache
from random import Random
from zlib import crc32

from tests.fuzz import mutate
from tests.fuzz.case import Area, Seed, packed, unpack, written
from tests.fuzz.oracle import Meter
from tests.partitions.tables import gpt_disk, mbr_record
from tests.support.layout import KIB, MIB, Layout
from tests.support.sparse import Content
from vhdx.errors import UnsupportedImageError
from vhdx.filesystems import sectors
from vhdx.ops import resize_gpt
from vhdx.partitions.read import read_table
from vhdx.partitions.relocate import free_behind, minimum_size
from vhdx.partitions.table import PartitionTable
from vhdx.text import quoted

__all__ = ["corpus", "mutated", "run"]

SIZE = 4 * MIB
MOST_READS = 300
"""256 records of logical partitions, and both copies of a GPT for both sector sizes."""
MOST_BYTES = 8 * MIB
_MOST_PARTITIONS = 8192 + 256 * 4
_MBR_ENTRY = Layout(
    ("flag", 1, "int"),
    ("first", 3, "bytes"),
    ("type", 1, "int"),
    ("last", 3, "bytes"),
    ("sector", 4, "int"),
    ("count", 4, "int"),
)
_GPT_HEADER = Layout(
    ("signature", 8, "bytes"),
    *((name, 4, "int") for name in ("revision", "size", "checksum", "reserved")),
    *((name, 8, "int") for name in ("own", "other", "first usable", "last usable")),
    ("disk id", 16, "guid"),
    ("entries", 8, "int"),
    *((name, 4, "int") for name in ("count", "entry size", "entries checksum")),
)
_GPT_ENTRY = Layout(
    ("type", 16, "guid"),
    ("unique", 16, "guid"),
    ("first", 8, "int"),
    ("last", 8, "int"),
    ("attributes", 8, "int"),
    ("name", 72, "bytes"),
)


@cache
def _seeds() -> tuple[Seed, ...]:
    return (
        _gpt_seed("GPT", 512, [(34, 2047), (2048, 8000)]),
        _gpt_seed("GPT of 4096-byte sectors", 4096, [(6, 100), (200, 900)]),
        _mbr_seed(),
        Seed("nothing", Content(SIZE), (Area("start", 0, 8 * KIB),), (0, 0)),
    )


def _gpt_seed(name: str, unit: int, places: list[tuple[int, int]]) -> Seed:
    content = Content()
    content.write(bytes(gpt_disk(SIZE, places, unit, 16)), 0)
    backup = SIZE - unit - 16 * 128 // unit * unit if unit < 2048 else SIZE - 2 * unit
    areas = (
        Area("MBR", 0, 512, rows=_MBR_ENTRY, first_row=446),
        Area("primary header", unit, unit, _GPT_HEADER, sealed=True),
        Area("primary entries", 2 * unit, 16 * 128, rows=_GPT_ENTRY),
        Area("backup entries", backup, 16 * 128, rows=_GPT_ENTRY),
        Area("backup header", SIZE - unit, unit, _GPT_HEADER, sealed=True),
        Area("partition", 34 * 512, 512),
    )
    return Seed(name, content, areas, (0, 0))


def _mbr_seed() -> Seed:
    """Two primary partitions and an extended one with three logical partitions."""
    content = Content(SIZE)
    content.write(mbr_record({0: (7, 8, 100), 1: (0x83, 120, 80), 2: (5, 300, 4000)}), 0)
    for number, at in enumerate((300, 1000, 2000)):
        following = {} if number == 2 else {1: (5, 1000 * (number + 1) - 300, 500)}
        content.write(mbr_record({0: (0x83, 8, 200), **following}, 0), at * 512)
    areas = [Area("MBR", 0, 512, rows=_MBR_ENTRY, first_row=446)]
    areas += [Area(f"record {n}", n * 512, 512, rows=_MBR_ENTRY, first_row=446) for n in (300, 1000, 2000)]
    areas.append(Area("partition", 8 * 512, 512))
    return Seed("MBR", content, tuple(areas), (0, 0))


def corpus() -> Iterator[bytes]:
    """Each seed as it is, for both sector sizes."""
    for number in range(len(_seeds())):
        yield packed(number)
        yield packed(number, broken=0x80)


def mutated(data: bytes, chance: Random) -> bytes:
    """A case that differs in one step."""
    if chance.random() < 0.03:
        return data[:1] + bytes((data[1] ^ 0x80,)) + data[2:] if len(data) > 1 else data
    return mutate.mutated(data, chance, _seeds())


def run(data: bytes) -> None:
    """Read the table of the disk that the bytes say, and move its end if it has a GPT."""
    case = unpack(data)
    seed = _seeds()[case.seed % len(_seeds())]
    content, touched = written(seed, case)
    own_unit = 4096 if "4096" in seed.name else 512
    sector_size = own_unit if case.broken < 0x80 else 4608 - own_unit
    content.resize(content.size // sector_size * sector_size)
    if content.size == 0:
        return
    _seal(content, own_unit, touched, case.broken)
    storage = Meter(content, "disk.raw")
    table = read_table(storage.read, content.size, sector_size)
    assert storage.reads <= MOST_READS, f"{storage.reads} reads"
    assert storage.bytes_read <= MOST_BYTES, f"{storage.bytes_read} bytes read"
    _look_at(table, content)
    if table.gpt is not None and table.sector_size == sector_size:
        for size in _sizes(table, content.size):
            _move(table, content, size)


def _seal(content: Content, unit: int, touched: set[int], broken: int) -> None:
    """Make the checksums of both copies fit: first those of the entries, then those of the headers."""
    for bit, sector in enumerate((1, content.size // unit - 1)):
        at = sector * unit
        if not touched or at + unit > content.size or broken >> (2 * bit) & 3 == 3:
            continue
        header = bytearray(content.read(unit, at))
        start, length = _GPT_HEADER.number(bytes(header), "entries") * unit, _entries_length(header)
        if header[:8] != b"EFI PART":
            continue
        if not broken >> (2 * bit) & 1 and start + length <= content.size and length <= MIB:
            header[88:92] = crc32(content.read(length, start)).to_bytes(4, "little")
        size = max(92, min(_GPT_HEADER.number(bytes(header), "size"), unit))
        if not broken >> (2 * bit) & 2:
            header[16:20] = crc32(header[:16] + bytes(4) + header[20:size]).to_bytes(4, "little")
        content.write(bytes(header), at)


def _entries_length(header: bytes | bytearray) -> int:
    return _GPT_HEADER.number(bytes(header), "count") * _GPT_HEADER.number(bytes(header), "entry size")


def _look_at(table: PartitionTable, content: Content) -> None:
    assert len(table.partitions) <= _MOST_PARTITIONS
    assert len({partition.number for partition in table.partitions}) == len(table.partitions)
    for partition in table.partitions[:64]:
        assert partition.offset >= 0
        assert partition.length >= 0
        quoted(partition.name or "")
        if partition.offset < content.size:
            sectors.recognised(content.read(min(4096, content.size - partition.offset), partition.offset))
    assert free_behind(table, content.size) >= 0
    assert minimum_size(table) >= table.end_of_last


def _sizes(table: PartitionTable, size: int) -> Iterator[int]:
    least = minimum_size(table)
    unit = table.sector_size
    yield from (size, size + MIB, size + unit, max(unit, size - MIB), 3 << 40)
    if least < 1 << 46:
        yield from (least, least - unit)


def _move(table: PartitionTable, before: Content, size: int) -> None:
    """Give the disk another size as resizing does; at each step a sound copy of the table is there."""
    disk = _Flat(before, table)
    try:
        move = resize_gpt.planned(disk, table, size)  # type: ignore[arg-type]
    except UnsupportedImageError:
        return
    assert size >= minimum_size(table) or not move.steps, f"{table.end_of_last} would be cut at {size}"
    if not move.steps:
        return
    growing = size > before.size
    move.before(disk, growing=growing)  # type: ignore[arg-type]
    disk.resize(size)
    move.after(disk, growing=growing)  # type: ignore[arg-type]
    after = read_table(disk.pread, size, table.sector_size)
    assert after.partitions == table.partitions
    assert after.gpt is not None
    assert (after.gpt.primary_damage, after.gpt.backup_damage) == (None, None), after.gpt[3:]
    assert after.gpt.backup_sector == size // table.sector_size - 1


class _Flat:
    """A disk that lets nobody write into a partition, nor leave the table without a sound copy."""

    chain = ("disk.raw",)

    def __init__(self, before: Content, table: PartitionTable) -> None:
        self._content = before.copy()
        self._table = table
        self.logical_sector_size = table.sector_size

    @property
    def size(self) -> int:
        return self._content.size

    def pread(self, length: int, offset: int) -> bytes:
        return Meter(self._content).read(length, offset)

    def pwrite(self, data: bytes, offset: int) -> None:
        self._touch(offset, len(data))
        self._content.write(data, offset)
        self._look()

    def zero(self, *, length: int, offset: int) -> None:
        self._touch(offset, length)
        self._content.zero(offset, length)
        self._look()

    def flush(self) -> None:
        """Nothing is lost in memory."""

    def resize(self, size: int) -> None:
        self._content.resize(size)
        self._look()

    def _touch(self, offset: int, length: int) -> None:
        assert 0 <= offset <= offset + length <= self.size
        for partition in self._table.partitions:
            hit = partition.offset < offset + length and offset < partition.end
            assert not hit, f"{length} bytes at {offset} are written over partition {partition.number}"

    def _look(self) -> None:
        found = read_table(self.pread, self.size, self.logical_sector_size)
        assert found.partitions == self._table.partitions, "no sound copy of the table"
