"""Logical partitions of an MBR: a chain of records inside the extended partition, walked with a bound."""

from __future__ import annotations

from vhdx.partitions import mbr
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdx.partitions.mbr import MbrEntry

FIRST_NUMBER = 5
MAXIMUM_RECORDS = 256
"""Linux has no more partitions on one disk."""


class Link(NamedTuple):
    """A record of the chain and the sector it stands in."""

    sector: int
    record: bytes
    entries: tuple[MbrEntry, ...]


class Chain(NamedTuple):
    """The records in their order, and why the chain ends where it should not, if it does."""

    links: tuple[Link, ...]
    damage: str | None


class Logical(NamedTuple):
    """A logical partition as (first sector, sectors) of the disk."""

    first_sector: int
    sector_count: int
    entry: MbrEntry


def walk(read: Callable[[int, int], bytes], disk_size: int, sector_size: int, extended: MbrEntry) -> Chain:
    """The chain inside an extended partition. ``read(length, offset)`` gives bytes of the disk."""
    links: list[Link] = []
    seen: set[int] = set()
    sector: int | None = extended.first_sector
    while sector is not None:
        trouble = _trouble(sector, seen, extended, disk_size // sector_size)
        record = b"" if trouble else read(mbr.RECORD_SIZE, sector * sector_size)
        found = mbr.unpack(record)
        if found is None:
            return Chain(tuple(links), trouble or f"sector {sector} is no record of a logical partition")
        seen.add(sector)
        links.append(Link(sector, record, found.entries))
        following = mbr.extended_of(found)
        sector = None if following is None else extended.first_sector + following.first_sector
    return Chain(tuple(links), None)


def _trouble(sector: int, seen: set[int], extended: MbrEntry, disk_sectors: int) -> str | None:
    if sector in seen:
        return f"the chain of logical partitions comes back to sector {sector}"
    if len(seen) >= MAXIMUM_RECORDS:
        return f"the chain of logical partitions has more than {MAXIMUM_RECORDS} records"
    inside = extended.first_sector <= sector < extended.first_sector + extended.sector_count
    if not (inside and sector < disk_sectors):
        return f"the chain of logical partitions leads to sector {sector}, out of the extended partition"
    return None


def partitions_of(chain: Chain, extended: MbrEntry) -> list[Logical]:
    """The logical partitions in the order in which Linux numbers them.

    A record should name one partition, in its first two entries; what stands in the other two counts only
    if it lies inside the extended partition.
    """
    end = extended.first_sector + extended.sector_count
    found = []
    for link in chain.links:
        for index, entry in enumerate(link.entries):
            first = link.sector + entry.first_sector
            if not entry.is_used or entry.is_extended:
                continue
            if index < 2 or (first >= extended.first_sector and first + entry.sector_count <= end):
                found.append(Logical(first, entry.sector_count, entry))
    return found
