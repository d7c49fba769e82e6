"""What a partition table says: the values that its readers make and everybody else uses."""

from __future__ import annotations

from vhdx.text import brief
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Literal, TypeAlias

    from vhdx.partitions.gpt import Gpt
    from vhdx.partitions.mbr import Mbr

Kind: TypeAlias = "Literal['none', 'mbr', 'gpt', 'hybrid']"


@brief("number", "offset", "length", "type")
class Partition(NamedTuple):
    """One partition. ``offset`` and ``length`` are bytes of the virtual disk.

    ``number`` is Linux's: logical partitions of an MBR count from 5. ``type`` is an MBR code (``"0x83"``) or
    a GUID, ``type_name`` what it means where that is known. ``unique_id`` is what Linux calls PARTUUID.
    ``name`` stands in a GPT only and may hold any character.
    """

    number: int
    offset: int
    length: int
    type: str
    type_name: str | None
    name: str | None
    unique_id: str
    bootable: bool

    @property
    def end(self) -> int:
        """The disk offset just behind the partition."""
        return self.offset + self.length


@brief("kind", "partitions", "findings")
class PartitionTable(NamedTuple):
    """The partitions of a disk and what is unusual about their table.

    ``kind`` is ``"hybrid"`` where an MBR lists partitions beside a GPT; listed are those of the GPT.
    ``sector_size`` is the unit in which the table counts, ``disk_id`` its own identity. ``mbr`` and ``gpt``
    are what was read, for whoever rewrites it.
    """

    kind: Kind
    sector_size: int
    disk_id: str | None
    partitions: tuple[Partition, ...]
    findings: tuple[str, ...]
    mbr: Mbr | None = None
    gpt: Gpt | None = None

    def partition(self, number: int) -> Partition:
        """The partition of this number. Raises ValueError if there is none."""
        for partition in self.partitions:
            if partition.number == number:
                return partition
        there = ", ".join(str(partition.number) for partition in self.partitions)
        raise ValueError(f"there is no partition {number}; the disk has {there or 'none'}")

    @property
    def end_of_last(self) -> int:
        """The disk offset just behind the last partition, 0 if there is none."""
        return max((partition.end for partition in self.partitions), default=0)
