"""The words that inserting is told in: steps, what becomes a file, what stands in a directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Run = tuple[int, int]
    """(first cluster, how many)."""

FIRST_CLUSTER = 2
SLOT = 32
"""Bytes of what a directory is made of, in FAT and exFAT."""
ATOM = 512
"""Bytes that reach a disk together or not at all, whatever its sectors are."""
AT_ONCE = 1 << 20
"""Bytes of tables that are written together."""
ADVICE = "run chkdsk or fsck on it"


class Write(NamedTuple):
    """Bytes for a place in the volume."""

    offset: int
    data: bytes


BARRIER = None
"""A step: everything written before is to be durable before anything else is written."""
Step = Write | None


class Details(NamedTuple):
    """What is kept of a file beside its contents; times in nanoseconds since 1970."""

    modified: int
    accessed: int
    is_read_only: bool = False


class Old(NamedTuple):
    """A file or directory that is there: its set of slots, and where its bytes stand.

    ``main`` is the first slot that says where: of FAT the last one of the set.
    """

    slot: int
    length: int
    main: int
    is_directory: bool
    first: int
    size: int
    in_one_piece: bool = False


class Place(NamedTuple):
    """Where the bytes of a file stand, and how many there are."""

    runs: list[Run]
    size: int

    @property
    def first(self) -> int:
        """Its first cluster; 0 where it has none."""
        return self.runs[0][0] if self.runs else 0


class New:
    """A file or directory to be; ``runs`` are given to it once all is known to fit."""

    def __init__(self, name: str, size: int, details: Details, directory: Directory | None = None) -> None:
        self.name, self.size, self.details, self.directory = name, size, details, directory
        self.replaces: Old | None = None
        self.runs: list[Run] = []

    @property
    def first(self) -> int:
        """Its first cluster; 0 where it has none."""
        return self.runs[0][0] if self.runs else 0


class Directory:
    """A directory: its slots as they stand, by folded name what is in it, and what is to be added.

    ``places`` are the (offset, length) of its slots in the volume, none where it is new. ``runs`` are its
    clusters, none for the root of FAT12 and FAT16. ``own`` is what its parent says of it, None of the root
    and of new ones.
    """

    def __init__(
        self,
        slots: bytes = b"",
        *,
        runs: Iterable[Run] = (),
        places: Iterable[tuple[int, int]] = (),
        parent: Directory | None = None,
        own: Old | None = None,
        details: Details | None = None,
    ) -> None:
        self.slots = bytearray(slots)
        self.runs, self.places = list(runs), list(places)
        self.parent, self.own = parent, own
        self.details = details or Details(0, 0)
        self.old: dict[str, Old] = {}
        self.below: dict[str, Directory] = {}
        """The directories in it that were looked into."""
        self.added: dict[str, New] = {}
        self.shorts: set[bytes] = set()
        """The short names that are taken, of FAT."""

    def offset_of(self, slot: int) -> int:
        """Where a slot stands in the volume."""
        left = slot * SLOT
        for offset, length in self.places:
            if left < length:
                return offset + left
            left -= length
        raise IndexError(slot)

    @property
    def is_new(self) -> bool:
        """Whether nothing leads to it yet."""
        return not self.places

    @property
    def first(self) -> int:
        """Its first cluster; 0 for the root of FAT12 and FAT16."""
        return self.runs[0][0] if self.runs else 0


class Layout(Protocol):
    """What FAT and exFAT do differently. Numbers of runs are clusters, everything else is in bytes."""

    cluster_size: int
    largest_file: int
    largest_directory: int

    def cluster_offset(self, cluster: int) -> int:
        """Where a cluster stands in the volume."""

    def folded(self, name: str) -> str:
        """The same for all names that are one."""

    def root(self) -> Directory:
        """The root directory."""

    def opened(self, parent: Directory, own: Old) -> Directory:
        """A directory that is there."""

    def slots_of(self, name: str) -> int:
        """How many slots a name takes."""

    def slot_is_free(self, kind: int) -> bool:
        """Whether a slot that begins with this byte, which is not the end, may be used again."""

    def main_of(self, count: int) -> int:
        """Which slot of a set makes it valid: nothing is there as long as this one is not."""

    def beginning(self, directory: Directory) -> bytes:
        """The slots with which a new directory begins."""

    def packed(self, directory: Directory, new: New) -> bytes:
        """The set of slots of something new; remembers the short name that it got."""

    def changed(self, directory: Directory, old: Old, place: Place, details: Details | None) -> bytes:
        """The set of something old, with another place, and other times where there are any."""

    def changes(self, old: Old) -> tuple[int, int]:
        """Which slots `changed` changes: the first one, and the one behind the last."""

    def freed(self, kind: int) -> int:
        """The first byte of a slot that is in use no more, which began with this one."""

    def length_in_parent(self, directory: Directory) -> int | None:
        """What its parent says of its length; None where it says nothing."""

    def clean(self, *, is_clean: bool) -> Iterator[Step]:
        """Mark the volume as in use, or as unmounted."""

    def chained(self, runs: list[Run]) -> Iterator[Step]:
        """Make clusters, which nothing leads to yet, one chain."""

    def linked(self, directory: Directory, runs: list[Run]) -> Iterator[Step]:
        """Append clusters, which are a chain already, to a directory that is there."""

    def fits_behind(self, directory: Directory, cluster: int) -> bool:
        """Whether a directory can be made to go on with this cluster in one write that cannot be torn."""

    def released(self, old: Old) -> Iterator[Step]:
        """Give the clusters of a file back to which nothing leads any more."""

    def counted(self, free_clusters: int) -> Iterator[Step]:
        """Write down how much is free."""

    def clusters_of(self, old: Old) -> list[Run]:
        """The clusters of what is there."""
