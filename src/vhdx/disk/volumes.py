"""The volumes of a disk: all of it, its partitions, the logical volumes on them; what stands in each.

Nothing is called free before everything of the disk was looked at.
"""

from __future__ import annotations

from vhdx.disk.volume_map import VolumeMap
from vhdx.disk.volume_places import WHOLE_DISK, Place, places_of, reason_within
from vhdx.errors import UnsupportedImageError
from vhdx.filesystems.base import Examined, FileSystem, NotFreeError
from vhdx.filesystems.detect import detect, examine_found, hibernated
from vhdx.text import brief
from vhdx.typed import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vhdx.disk.base import VirtualDisk
    from vhdx.filesystems.base import Runs
    from vhdx.filesystems.detect import Found
    from vhdx.filesystems.lvm import TrustedPv

_MOST_NESTED = 3
"""Logical volumes that are physical volumes of others."""
_WINDOWS = frozenset(("NTFS", "exFAT", "FAT12", "FAT16", "FAT32"))
_SLEEPERS: dict[str, tuple[str, frozenset[str] | None]] = {
    "NTFS": ("a Windows that sleeps, or was not shut down, has another volume of this disk", _WINDOWS),
    "swap": ("a Linux is hibernated in a swap area of this disk: start it, then shut it down", None),
}
"""By the kind of volume that tells it: what is said of the others that it has in memory, and their kinds."""


@brief("name", "kind", "size", "free", "state")
class FileSystemOn(NamedTuple):
    """A file system, or what else stands in a volume, and in which one. Sizes in bytes.

    ``name`` is ``"whole disk"``, ``"partition 2"`` or ``"group/volume"``; ``offset`` is where on the disk it
    begins, None for logical volumes. ``kind`` is ``"ext4"``, ``"NTFS"``, ``"XFS"``, ``"LVM2 PV"`` and the
    like. ``state`` is ``"clean"``, ``"replayed"`` (it will be when it is mounted), ``"unclean"`` or
    ``"unknown"``. ``free`` may be discarded, ``used`` is the rest of ``size``; both are None where
    ``reasons`` say why nothing of it may be called free.
    """

    partition: int | None
    name: str
    offset: int | None
    kind: str
    label: str | None
    uuid: str | None
    size: int
    block_size: int
    used: int | None
    free: int | None
    state: str
    reasons: tuple[str, ...]


class Volume:
    """A volume in which something was recognised, and what is free of it, in offsets of the disk."""

    def __init__(self, place: Place, examined: Examined) -> None:
        self.partition = place.partition
        self.name = place.name
        self.map = place.map
        self.file_system = examined.file_system
        self._examined = examined

    @property
    def summary(self) -> FileSystemOn:
        """It in one value."""
        offset = self.map.segments[0].disk_offset if self.partition or self.name == WHOLE_DISK else None
        return FileSystemOn(self.partition, self.name, offset, *self.file_system)

    @property
    def title(self) -> str:
        """It in a few words: ``partition 2 (ext4, label root)``."""
        label = f", label {self.file_system.label}" if self.file_system.label else ""
        return f"{self.name} ({self.file_system.kind}{label})"

    def is_named(self, name: str) -> bool:
        """Whether it is called so: by its own name, the last part of it, its label or its UUID."""
        found = self.file_system
        return name in (self.name, self.name.rpartition("/")[2], found.label) or (
            found.uuid is not None and found.uuid.casefold() == name.casefold()
        )

    def free_runs(self) -> Iterator[Runs]:
        """Rows of (disk offset, length) of what is certainly free: ascending, disjoint, cut at segments.

        Nothing where in doubt, or where the volume was only looked at. It is read anew each time: raises
        UnsupportedImageError where that does not agree any more.
        """
        if self.file_system.reasons:
            return
        try:
            yield from self.map.on_disk(self._examined.free_runs)
        except NotFreeError as error:
            raise UnsupportedImageError(
                f"{self.name}: its {self.file_system.kind} is not what it was a moment ago, so somebody else "
                f"writes to the disk: {error.reason}"
            ) from None

    def free_ranges(self) -> Iterator[tuple[int, int]]:
        """The same one by one."""
        for runs in self.free_runs():
            yield from map(tuple, runs.tolist())


class _Look(NamedTuple):
    """What was found in a place."""

    place: Place
    found: Found
    examined: Examined

    @property
    def file_system(self) -> FileSystem:
        return self.examined.file_system

    def refused(self, reason: str) -> _Look:
        """The same with nothing free, for this reason."""
        state = "unknown" if self.file_system.state in ("clean", "replayed") else self.file_system.state
        reasons = (reason, *self.file_system.reasons)
        return self._replace(
            examined=Examined(self.file_system._replace(used=None, free=None, state=state, reasons=reasons))
        )


def file_systems(disk: VirtualDisk, *, quick: bool = False) -> tuple[FileSystemOn, ...]:
    """What stands on a disk, volume by volume; see `volumes`."""
    return tuple(volume.summary for volume in volumes(disk, agree=not quick))


def volumes(disk: VirtualDisk, *, agree: bool = True) -> tuple[Volume, ...]:
    """The volumes of a disk in which something is recognised: partitions in order, then logical volumes.

    With ``agree`` all bookkeeping of each is read, and what is free is known. Without it only a few sectors
    of each are, and its numbers are what it says of itself. Raises what reading the disk raises.
    """
    places = list(places_of(disk))
    looks: list[_Look] = []
    for _ in range(_MOST_NESTED):
        new = [look for place in places if (look := _look(place, agree=agree)) is not None]
        new = _one_state_of_each_group(new)
        looks += new
        places = list(_logical_places(disk, new))
    return tuple(Volume(look.place, look.examined) for look in _awake(looks))


def _look(place: Place, *, agree: bool) -> _Look | None:
    found = detect(place.map.read, place.map.size)
    if found is None:
        return None
    reason = place.reason or reason_within(place)
    look = _Look(place, found, examine_found(found, place.map.size, agree=agree and reason is None))
    return look if reason is None else look.refused(reason)


# Logical volumes ---------------------------------------------------------------------------------


def _trusted_pvs(looks: Iterable[_Look]) -> Iterator[tuple[int, TrustedPv, _Look]]:
    """The physical volumes that nothing speaks against, and which of the looks each is."""
    for index, look in enumerate(looks):
        if look.file_system.kind == "LVM2 PV" and not look.file_system.reasons:
            yield index, cast("TrustedPv", look.found.recognised.trusted()), look


def _one_state_of_each_group(looks: list[_Look]) -> list[_Look]:
    """The same, with physical volumes refused whose group is told in two ways, or that are there twice."""
    seen: dict[str, list[tuple[int, int, str]]] = {}
    for index, pv, _ in _trusted_pvs(looks):
        seen.setdefault(pv.group.uuid, []).append((index, pv.group.sequence, pv.place.uuid))
    result = list(looks)
    for members in seen.values():
        if len({sequence for _, sequence, _ in members}) > 1 or len({u for *_, u in members}) < len(members):
            for index, *_ in members:
                reason = "its volume group is on this disk in two states: two copies of it, or two ages"
                result[index] = result[index].refused(reason)
    return result


def _logical_places(disk: VirtualDisk, looks: list[_Look]) -> Iterator[Place]:
    """The logical volumes that stand wholly on these physical volumes, each once."""
    maps: dict[str, VolumeMap] = {}
    groups: dict[str, TrustedPv] = {}
    for _, pv, look in _trusted_pvs(looks):
        maps[pv.place.uuid] = look.place.map
        groups[pv.group.uuid] = pv
    for pv in groups.values():
        for volume in pv.logical_volumes():
            if all(piece.pv_uuid in maps for piece in volume.pieces):
                runs = [
                    run
                    for piece in volume.pieces
                    for run in maps[piece.pv_uuid].runs(piece.offset, piece.length)
                ]
                yield Place(None, volume.name, VolumeMap(disk, runs))


# Hibernation -------------------------------------------------------------------------------------


def _awake(looks: list[_Look]) -> Iterator[_Look]:
    """The same, with all refused that a machine has in memory which sleeps on one of them."""
    sleepers = [_SLEEPERS[look.file_system.kind] for look in looks if _is_hibernated(look)]
    for look in looks:
        kind, reasons = look.file_system.kind, look.file_system.reasons
        told = next((words for words, kinds in sleepers if kinds is None or kind in kinds), None)
        yield look if told is None or reasons else look.refused(told)


def _is_hibernated(look: _Look) -> bool:
    """Whether a machine sleeps on a volume; one that cannot be read that far is refused already."""
    try:
        return hibernated(look.file_system.kind, look.place.map.read, look.place.map.size)
    except NotFreeError:
        return False
