"""What every open disk can do, whatever it is made of: the public face of disks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module

from vhdx.closing import ClosedAtEnd
from vhdx.typed import TYPE_CHECKING, Protocol, overload

if TYPE_CHECKING:
    import io
    import os
    from collections.abc import Iterator
    from typing import Any, Literal
    from uuid import UUID

    from vhdx.disk.base import Buffer, Contexts, Format
    from vhdx.disk.stream import DiskStream
    from vhdx.disk.volumes import FileSystemOn
    from vhdx.extents import Doubt, Extent
    from vhdx.partitions.table import Partition, PartitionTable


class GuestVolume(Protocol):
    """A volume whose files can be read; what it is in full, `vhdx.files` says."""

    @property
    def summary(self) -> FileSystemOn:
        """What it says of itself: where it stands, kind, label, UUID, size, state."""

    @property
    def title(self) -> str:
        """It in a few words: ``partition 2 (ext4, label root)``."""

    @property
    def disk(self) -> Disk:
        """Its bytes."""

    @overload
    def open(self, path: str, mode: Literal["rb"] = "rb") -> io.BufferedReader: ...
    @overload
    def open(self, path: str, mode: Literal["r"], encoding: str | None = None) -> io.TextIOWrapper: ...
    def open(
        self, path: str, mode: str = "rb", encoding: str | None = None
    ) -> io.BufferedReader | io.TextIOWrapper:
        """A file of the guest as a file object, in binary unless ``mode`` is ``"r"``."""

    def walk(self, path: str = "/") -> Iterator[tuple[str, list[str], list[str]]]:
        """As `os.walk`."""

    def glob(self, pattern: str) -> Iterator[str]:
        """The paths that match."""


def _parts() -> Any:
    """What makes parts, which are disks themselves: by name, as they are built on this."""
    return import_module("vhdx.disk.parts")


class Disk(ClosedAtEnd, ABC):
    """The disk in a VHDX, a VHD or a raw file, or a part of one; what ``vhdx.open`` returns.

    Offsets and lengths are bytes of the disk. Safe to use from several threads. Reads of a path run in
    parallel, and so do writes into blocks that are present. Raises CorruptImageError for a range whose bytes
    the file cannot give, ImageFailedError after a failure that could not be undone, of a VHDX also in a child
    process after a fork. What changes something raises io.UnsupportedOperation on a disk that is `read_only`.

    A thread that is inside a call of a VHDX may read once more, in a signal handler or finaliser. Every call
    that changes something, `flush` and `close` raise RuntimeError there.
    """

    # What it is ----------------------------------------------------------------------------------

    @property
    @abstractmethod
    def size(self) -> int:
        """The capacity in bytes."""

    @property
    @abstractmethod
    def format(self) -> Format:
        """``"vhdx"``, ``"vhd"`` or ``"raw"``."""

    @property
    @abstractmethod
    def disk_type(self) -> str:
        """``"fixed"``, ``"dynamic"`` or ``"differencing"``; raw disks are fixed."""

    @property
    @abstractmethod
    def block_size(self) -> int | None:
        """Bytes in a block of the image itself, its parents may have others; None where there are none."""

    @property
    @abstractmethod
    def disk_id(self) -> UUID | None:
        """The identity that a guest sees (SCSI page 83), of a VHD its unique id; a raw disk has none."""

    @property
    @abstractmethod
    def logical_sector_size(self) -> int:
        """The unit in which the disk is addressed: 512 or 4096 bytes, the same in all layers."""

    @property
    @abstractmethod
    def physical_sector_size(self) -> int:
        """The unit in which the disk says it is best written: 512 or 4096 bytes."""

    @property
    @abstractmethod
    def read_only(self) -> bool:
        """Whether nothing can be changed through this object."""

    @property
    @abstractmethod
    def chain(self) -> tuple[str, ...]:
        """The names of the files, from the image itself to its base."""

    @abstractmethod
    def files(self) -> tuple[tuple[int, int], ...]:
        """Device and inode of every file of the chain, as far as they are known."""

    # Its bytes -----------------------------------------------------------------------------------

    @abstractmethod
    def pread(self, length: int, offset: int) -> bytes:
        """Exactly ``length`` bytes of the disk from ``offset`` on.

        Raises ValueError for a range that is not wholly inside the disk; nothing is shortened.
        """

    @abstractmethod
    def preadinto(self, buffer: Buffer, offset: int) -> None:
        """Fill a writable, contiguous buffer with the bytes of the disk from ``offset`` on."""

    @abstractmethod
    def pwrite(self, data: Buffer, offset: int) -> None:
        """Write all of ``data`` at ``offset``, any byte offset and length inside the disk.

        Durable after the next `flush`. Raises ValueError for a range that is not wholly inside the disk.
        """

    @abstractmethod
    def zero(
        self, *, length: int, offset: int, keep_allocated: bool = False, fast_only: bool = False
    ) -> None:
        """Make a range read as zeros, exactly. Whole blocks give their space back, except on fixed images.

        ``keep_allocated`` keeps what space there is behind the zeros; ``fast_only`` raises OSError
        (ENOTSUP) at once, before anything changed, where zeros would have to be written.
        """

    @abstractmethod
    def trim(self, *, length: int, offset: int) -> None:
        """Say that nobody needs the contents of a range any more. Advisory.

        Whole blocks read as zeros afterwards and give their space back; of parts of blocks the host may
        take back what it can. Fixed images stay as they are.
        """

    @abstractmethod
    def flush(self) -> None:
        """Return when everything written before is durable. Costs nothing when nothing was written."""

    @abstractmethod
    def close(self) -> None:
        """Make everything durable, leave the image clean, and let go of all files.

        Reads and writes from then on raise ValueError. Closing twice does no harm. Raises ImageFailedError,
        once, after a failure that could not be undone: what was not flushed before it is lost.
        """

    def stream(self) -> DiskStream:
        """The disk as a file object with a cursor of its own."""
        from vhdx.disk.stream import DiskStream  # noqa: PLC0415  most uses of a disk need no cursor

        return DiskStream(self)

    # What it is made of --------------------------------------------------------------------------

    @abstractmethod
    def extents(self, *, offset: int = 0, length: int | None = None) -> Iterator[Extent]:
        """What a range is made of, in order, neighbours that continue each other made one.

        ``length`` None means up to the end of the disk. Bounded memory, whatever the disk's size.
        """

    @abstractmethod
    def data_ranges(self, *, offset: int = 0, length: int | None = None) -> Iterator[tuple[int, int]]:
        """The (offset, length) runs of a range, in order, that may hold something; all else is zeros.

        Finer than `extents`: holes of the host's files inside present blocks are left out.
        """

    def changed_extents(
        self,
        *,
        since: int | str | os.PathLike[str] | None = None,  # noqa: ARG002  for those that know
    ) -> Iterator[Extent]:
        """What a VHDX, or a run of layers from it downwards, changed: extents of data and of zeros.

        ``since`` is the layer that is looked at from: its depth (2 is the parent, which None means, too) or
        its file. Sector-exact, in order, from the tables and bitmaps alone: no contents are read. Space
        behind the end of that layer that nobody wrote to is not a change.
        Raises ValueError if the chain has no such layer under the image, and for what is no VHDX.
        """
        raise ValueError(
            f"{self.chain[0]} is no differencing VHDX, whose tables tell what changed; vhdx compare compares "
            "any two disks"
        )

    @property
    @abstractmethod
    def contexts(self) -> Contexts:
        """What else can be told of an extent: a name as NBD forms it, and the number for an extent."""

    @property
    @abstractmethod
    def doubts(self) -> Iterator[Doubt]:
        """What may read wrong of a disk that was opened with ``salvage``, from its tables alone; may overlap.

        Of any other disk nothing: what it cannot read right raises. Bounded memory, whatever the damage.
        """

    # What stands on it ---------------------------------------------------------------------------

    def partition_table(self) -> PartitionTable:
        """The partitions of the disk and what is unusual about their table."""
        from vhdx.disk.partitions import partition_table  # noqa: PLC0415  most uses of a disk need no tables

        return partition_table(self)

    def partitions(self) -> tuple[Partition, ...]:
        """The partitions of the disk; none where there is no table."""
        return self.partition_table().partitions

    def partition(self, number: int) -> Disk:
        """The partition of this number as a disk, which lives as long as this one; closing it flushes.

        Raises ValueError unless it is there and wholly inside the disk.
        """
        part: Disk = _parts().one_partition(self, number, owns=False)
        return part

    def filesystems(self, *, quick: bool = False) -> tuple[FileSystemOn, ...]:
        """What stands on the disk, in its partitions and in logical volumes, and how much of it is free.

        Reads all that the file systems keep of their space, nothing of files. With ``quick`` only a few
        sectors of each: the numbers are then what it says of itself, and damage may not be seen.
        """
        from vhdx.disk.volumes import file_systems  # noqa: PLC0415  most uses of a disk need none

        return file_systems(self, quick=quick)

    def volume(self, name: str) -> Disk:
        """A volume in which a file system was recognised, as a disk, which lives as long as this one.

        ``name`` is a name of `filesystems` (``"partition 2"``, ``"group/volume"`` or ``"volume"``), a label
        or a UUID. Raises ValueError unless exactly one is called so.
        """
        part: Disk = _parts().one_volume(self, name)
        return part

    def volumes(self) -> tuple[GuestVolume, ...]:
        """The volumes whose files can be read, as `vhdx.files.volumes` gives them."""
        # By name, too: files stand on disks.
        found: tuple[GuestVolume, ...] = import_module("vhdx.files").volumes(self)
        return found

    def __dir__(self) -> list[str]:
        return [name for name in dir(Disk) if not name.startswith("_") or name.startswith("__")]

    def __repr__(self) -> str:
        return f"<vhdx.Disk {self.chain[0]!r}, {self.disk_type} {self.format}, {self.size} bytes>"
