"""Finding and reading the partition table of a disk, whatever its state: reports, never refuses.

``read(length, offset)`` gives bytes of the disk; everything that the disk says is bounded before it is used.
"""

from __future__ import annotations

from zlib import crc32

from vhdx.filesystems import sectors
from vhdx.partitions import gpt, mbr
from vhdx.partitions.gpt import Gpt, GptHeader
from vhdx.partitions.table import Partition, PartitionTable
from vhdx.partitions.types import GPT_TYPES, MBR_TYPES
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdx.partitions.mbr import Mbr, MbrEntry
    from vhdx.partitions.table import Kind

    Read = Callable[[int, int], bytes]

_SECTOR_SIZES = (512, 4096)
_FRONT = 2 * max(_SECTOR_SIZES)
"""The first record and the place of the primary header for both sector sizes, in one read."""


class _Copy(NamedTuple):
    """One copy of a GPT: its header where that is sound, and what is wrong with the copy."""

    header: GptHeader | None
    entries: bytes
    damage: str | None


class _Disk(NamedTuple):
    """What is read from, and the unit in which it is addressed."""

    read: Read
    size: int
    sector_size: int

    @property
    def sectors(self) -> int:
        return self.size // self.sector_size


def read_table(read: Read, size: int, sector_size: int) -> PartitionTable:
    """The partition table of a disk of ``size`` bytes with these logical sectors.

    A GPT written for the other sector size is recognised, too: its ``sector_size`` tells.
    """
    disk = _Disk(read, size, sector_size)
    front = read(min(_FRONT, size), 0)
    record = mbr.unpack(front[: mbr.RECORD_SIZE])
    if record is not None and sectors.recognised(front[: mbr.RECORD_SIZE]) is not None:
        record = None  # the boot sector of a file system without partitions, which has the same signature
    found = _find_gpt(disk, front) if record is None or record.is_protective else None
    if found is not None:
        return _gpt_table(disk, record, found)
    if record is None:
        return PartitionTable("none", sector_size, None, (), ())
    if record.is_protective:
        return _lost_gpt(disk, record)
    return _mbr_table(disk, record, front)


def _find_gpt(disk: _Disk, front: bytes) -> Gpt | None:
    """The GPT for the disk's own sector size or else for the other one; None if neither is sound."""
    for size in sorted(_SECTOR_SIZES, key=lambda size: size != disk.sector_size):
        found = _gpt_in(disk._replace(sector_size=size), front)
        if found is not None:
            return found
    return None


def _gpt_in(disk: _Disk, front: bytes) -> Gpt | None:
    if disk.sectors < 4:
        return None
    size = disk.sector_size
    primary = _copy(disk, gpt.PRIMARY_SECTOR, front[size : 2 * size])
    backup_sector = disk.sectors - 1
    if primary.header is not None and 1 < primary.header.other_sector < disk.sectors:
        backup_sector = primary.header.other_sector
    backup = _copy(disk, backup_sector)
    best = primary if primary.damage is None else backup
    if best.damage is not None or best.header is None:
        return None
    header = best.header
    if best is backup:
        header = header._replace(
            own_sector=gpt.PRIMARY_SECTOR,
            other_sector=backup_sector,
            entries_sector=_entries_sector(primary, header, -(-header.entries_length // size)),
        )
    return Gpt(header, best.entries, size, primary.damage, backup.damage, backup_sector)


def _entries_sector(primary: _Copy, backup: GptHeader, count: int) -> int:
    """Where the entries of a damaged primary copy, ``count`` sectors, go back to.

    Where it says, if that can be; but not over a part of those of the backup, the only ones that are sound:
    where they are in the way both copies share them.
    """
    said = 0 if primary.header is None else primary.header.entries_sector
    place = said if gpt.PRIMARY_SECTOR < said < backup.first_usable else gpt.PRIMARY_SECTOR + 1
    own = backup.entries_sector
    return own if own < place + count and place < own + count else place


def _copy(disk: _Disk, sector: int, data: bytes | None = None) -> _Copy:
    """The copy whose header is in this sector."""
    data = disk.read(disk.sector_size, sector * disk.sector_size) if data is None else data
    damage = gpt.damage(data, sector)
    if damage is not None:
        return _Copy(None, b"", damage)
    header = gpt.unpack(data)
    start, length = header.entries_sector * disk.sector_size, header.entries_length
    if header.entries_sector < 2 or start + length > disk.size:
        return _Copy(header, b"", "its entries stand outside the disk")
    entries = disk.read(length, start)
    if crc32(entries) != header.entries_checksum:
        return _Copy(header, b"", "the checksum of its entries is wrong")
    return _Copy(header, entries, None)


def _gpt_table(disk: _Disk, record: Mbr | None, found: Gpt) -> PartitionTable:
    unit = found.sector_size
    partitions, bad = [], []
    for entry in found.used_entries():
        if entry.last_sector < entry.first_sector:
            bad.append(f"partition {entry.number} ends before it begins: it is left out")
            continue
        kind = str(entry.type)
        partitions.append(
            Partition(
                number=entry.number,
                offset=entry.first_sector * unit,
                length=(entry.last_sector + 1 - entry.first_sector) * unit,
                type=kind,
                type_name=GPT_TYPES.get(kind),
                name=entry.name,
                unique_id=str(entry.unique_id),
                bootable=entry.is_bootable,
            )
        )
    findings = (*_gpt_findings(disk, record, found), *bad, *_place_findings(disk, partitions))
    kind_of_table: Kind = "hybrid" if record is not None and record.is_hybrid else "gpt"
    return PartitionTable(
        kind_of_table, unit, str(found.header.disk_id), tuple(partitions), findings, record, found
    )


def _gpt_findings(disk: _Disk, record: Mbr | None, found: Gpt) -> Iterator[str]:
    if record is None:
        yield "the protective MBR is missing: other systems may not see the GPT"
    elif record.is_hybrid:
        yield "a hybrid table: partitions are listed from the GPT, the MBR lists some of its own"
    if found.sector_size != disk.sector_size:
        yield (
            f"the GPT is made for sectors of {found.sector_size} bytes, the disk has {disk.sector_size}: "
            "other systems do not see it"
        )
    if found.primary_damage is not None:
        yield f"the primary GPT is damaged ({found.primary_damage}): the backup is used"
    if found.backup_damage is not None:
        yield f"the backup GPT in sector {found.backup_sector} is damaged: {found.backup_damage}"
    elif found.backup_sector != disk.size // found.sector_size - 1:
        yield "the backup GPT does not stand at the end of the disk"
    else:
        yield from _difference(disk, found)


def _difference(disk: _Disk, found: Gpt) -> Iterator[str]:
    """A word if both copies are sound and do not say the same."""
    if found.primary_damage is not None:
        return
    unit = found.sector_size
    backup = gpt.unpack(disk.read(unit, found.backup_sector * unit))
    if (backup.disk_id, backup.entries_checksum) != (found.header.disk_id, found.header.entries_checksum):
        yield "the two copies of the GPT differ: the primary is used"


def _lost_gpt(disk: _Disk, record: Mbr) -> PartitionTable:
    finding = "the MBR announces a GPT, but neither of its copies is sound"
    return PartitionTable("gpt", disk.sector_size, None, (), (finding,), record)


def _mbr_table(disk: _Disk, record: Mbr, front: bytes) -> PartitionTable:
    partitions = [
        _mbr_partition(disk, record, number, entry.first_sector, entry)
        for number, entry in enumerate(record.entries, 1)
        if entry.is_used
    ]
    findings: list[str] = []
    extended = mbr.extended_of(record)
    if extended is not None:
        found, damage = _logical_partitions(disk, record, extended)
        partitions += found
        findings += [] if damage is None else [damage]
    if any(front[size : size + 8] == gpt.SIGNATURE for size in _SECTOR_SIZES):
        findings.append("a GPT that the MBR does not announce is there, too, and is not used")
    if not partitions and not record.disk_id:
        return PartitionTable("none", disk.sector_size, None, (), tuple(findings))
    findings += _place_findings(disk, partitions)
    identity = f"{record.disk_id:08x}"
    return PartitionTable("mbr", disk.sector_size, identity, tuple(partitions), tuple(findings), record)


def _logical_partitions(disk: _Disk, record: Mbr, extended: MbrEntry) -> tuple[list[Partition], str | None]:
    """The partitions of the chain, and what is wrong with it."""
    from vhdx.partitions import logical  # noqa: PLC0415  most disks have none, and `vhdx info` is to start quickly

    chain = logical.walk(disk.read, disk.size, disk.sector_size, extended)
    numbered = enumerate(logical.partitions_of(chain, extended), logical.FIRST_NUMBER)
    found = [_mbr_partition(disk, record, number, first, entry) for number, (first, _, entry) in numbered]
    return found, chain.damage


def _mbr_partition(disk: _Disk, record: Mbr, number: int, first: int, entry: MbrEntry) -> Partition:
    return Partition(
        number=number,
        offset=first * disk.sector_size,
        length=entry.sector_count * disk.sector_size,
        type=f"0x{entry.type:02x}",
        type_name=MBR_TYPES.get(entry.type),
        name=None,
        unique_id=f"{record.disk_id:08x}-{number:02x}",
        bootable=entry.boot_flag != 0,
    )


def _place_findings(disk: _Disk, partitions: list[Partition]) -> Iterator[str]:
    """What is wrong with where the partitions stand. An extended partition holds the logical ones."""
    for partition in partitions:
        if partition.end > disk.size:
            yield f"partition {partition.number} reaches behind the end of the disk"
    extended = {f"0x{kind:02x}" for kind in mbr.EXTENDED_TYPES}
    before: Partition | None = None
    for partition in sorted((p for p in partitions if p.type not in extended), key=lambda p: p.offset):
        if before is not None and partition.offset < before.end:
            yield f"partitions {before.number} and {partition.number} overlap"
        if before is None or partition.end > before.end:
            before = partition
