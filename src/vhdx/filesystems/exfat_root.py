"""The root directory of an exFAT: where its bitmap and its table of upper case are, and its label."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice

from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.exfat_boot import FIRST_CLUSTER
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.base import Read
    from vhdx.filesystems.exfat_boot import Boot

_ENTRY_LENGTH = 32
_END, _BITMAP, _UPPER_CASE, _LABEL = 0x00, 0x81, 0x82, 0x83
LONGEST_DIRECTORY = 256 << 20
_LONGEST_UPPER_CASE = 128 << 10
_END_OF_CHAIN = 0xFFFFFFFF
_PAGE = 4096
_ADVICE = "run chkdsk or fsck.exfat on it"


class Area(NamedTuple):
    """Bytes in these clusters."""

    clusters: list[int]
    length: int


class Root(NamedTuple):
    """What is needed of the root directory."""

    clusters: list[int]
    bitmap: Area
    upper_case: Area
    label: str | None


class Clusters:
    """Follows chains and reads clusters."""

    def __init__(self, read: Read, boot: Boot) -> None:
        self._read, self._boot = read, boot
        self._page = lru_cache(maxsize=16)(self._read_page)

    def _read_page(self, number: int) -> bytes:
        offset = number * _PAGE
        length = min(_PAGE, (self._boot.clusters + FIRST_CLUSTER) * 4 - offset)
        return self._read(length, self._boot.fat_offset + offset)

    def chain(self, first: int) -> Iterator[int]:
        """The clusters of a chain. Raises NotFreeError where it leaves the volume; it may have no end."""
        cluster = first
        while cluster != _END_OF_CHAIN:
            if not FIRST_CLUSTER <= cluster < self._boot.clusters + FIRST_CLUSTER:
                raise NotFreeError(
                    f"a chain of its FAT leads to cluster {cluster}, which it does not have: {_ADVICE}"
                )
            yield cluster
            page, position = divmod(cluster * 4, _PAGE)
            cluster = int.from_bytes(self._page(page)[position : position + 4], "little")

    def area(self, first: int, length: int) -> Area:
        """A chain that must be as long as these bytes need."""
        return Area(self.first_of_chain(first, -(-length // self._boot.cluster_size)), length)

    def first_of_chain(self, first: int, count: int) -> list[int]:
        """So many clusters of a chain. Raises NotFreeError where it is shorter."""
        clusters = list(islice(self.chain(first), count))
        if len(clusters) < count:
            raise NotFreeError(f"a chain of its FAT is too short: {_ADVICE}")
        return clusters

    def read(self, area: Area, length: int, offset: int) -> bytes:
        """Bytes of an area."""
        boot, pieces = self._boot, []
        while length:
            number, inner = divmod(offset, boot.cluster_size)
            piece = min(length, boot.cluster_size - inner)
            start = boot.heap_offset + (area.clusters[number] - FIRST_CLUSTER) * boot.cluster_size
            pieces.append(self._read(piece, start + inner))
            offset += piece
            length -= piece
        return b"".join(pieces)


def root_directory(clusters: Clusters, boot: Boot) -> Root:
    """What the root directory says. Raises NotFreeError where something is missing."""
    chain = []
    found: dict[int, bytes] = {}
    for cluster in clusters.chain(boot.root_cluster):
        chain.append(cluster)
        if len(chain) * boot.cluster_size > LONGEST_DIRECTORY + boot.cluster_size:
            raise NotFreeError(f"its root directory has no end: {_ADVICE}")
        if _END not in found:
            data = clusters.read(Area([cluster], boot.cluster_size), boot.cluster_size, 0)
            _collect(data, found)
    if _BITMAP not in found or _UPPER_CASE not in found:
        raise NotFreeError(f"its root directory names no bitmap, or no table of upper case: {_ADVICE}")
    bitmap, upper_case = (_area(clusters, boot, found[kind]) for kind in (_BITMAP, _UPPER_CASE))
    return Root(chain, bitmap, upper_case, _label(found.get(_LABEL)))


def _collect(directory: bytes, found: dict[int, bytes]) -> None:
    """Keep the first entry of each kind."""
    for position in range(0, len(directory), _ENTRY_LENGTH):
        found.setdefault(directory[position], directory[position : position + _ENTRY_LENGTH])
        if directory[position] == _END:
            return


def _area(clusters: Clusters, boot: Boot, entry: bytes) -> Area:
    length = int.from_bytes(entry[24:32], "little")
    needed = -(-boot.clusters // 8) if entry[0] == _BITMAP else 1
    if (entry[0] == _BITMAP and entry[1] & 1) or length < needed:
        raise NotFreeError(
            f"its first bitmap, or its table of upper case, is missing or too short: {_ADVICE}"
        )
    if length > max(needed, _LONGEST_UPPER_CASE):
        raise NotFreeError(f"its bitmap or its table of upper case is longer than it can be: {_ADVICE}")
    return clusters.area(int.from_bytes(entry[20:24], "little"), length)


def _label(entry: bytes | None) -> str | None:
    if entry is None:
        return None
    return entry[2 : 2 + 2 * min(entry[1], 11)].decode("utf-16-le", "replace") or None
