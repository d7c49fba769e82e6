"""Whether a block table may have lost entries: what speaks for it, and how much.

Space that nobody claims and that is not zeros is weak evidence: a crash leaves some. It is strong where there
is much of it, or a part of the table is empty as a sector is that a host has lost, or something of the disk
has no entry that its partition table or a file system always has.
"""

from __future__ import annotations

from itertools import islice

import numpy as np

from vhdx.examine.absence import absence
from vhdx.examine.contents import Contents
from vhdx.examine.copies import MOST_COPIES, find_copies
from vhdx.examine.entries import say_nothing
from vhdx.examine.slots import Slots
from vhdx.extents import Doubt
from vhdx.filesystems.detect import detect
from vhdx.image.bat import WINDOW
from vhdx.image.claims import claims_by_mib
from vhdx.image.state_masks import are_in
from vhdx.image.states import MAY_OWN_SPACE
from vhdx.image.unowned import Look, find_unowned, unclaimed_runs
from vhdx.journal.replay import known_end
from vhdx.typed import TYPE_CHECKING, NamedTuple
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.examine.absence import Absence
    from vhdx.examine.contents import Volume
    from vhdx.geometry import Geometry
    from vhdx.image.image import Image
    from vhdx.image.unowned import Unowned
    from vhdx.storage.base import ReadableStorage

_MANY_PLACES = 8
_FEW_PLACES = 2
_MBR_SIGNATURE = b"\x55\xaa"
_GPT_SIGNATURE = b"EFI PART"


def is_strong(
    look: Look,
    unowned: Unowned,
    absent: Absence,
    bat_offset: int,
    geometry: Geometry,
    *,
    used: bytes | bytearray,
    end: int,
) -> bool:
    """Whether what nobody claims is likely to be blocks whose entries are lost.

    As many places as a crash rarely leaves, copies of blocks not counted; fewer, where a whole sector of the
    table is empty, too; a single one, where it begins as a disk does and the disk's first block has no entry,
    or as a volume does whose first block has none, or where bookkeeping of a volume has none, or where an
    entry names it that is NOT_PRESENT, as if its state were damaged. ``used`` is the map of the file, ``end``
    the MiB up to which it was looked at.
    """
    if not absent.blocks or not unowned.places:
        return False
    storage = look.storage
    needed = _FEW_PLACES if absent.has_empty_sector else _MANY_PLACES
    if unowned.places >= needed and _without_copies(look, used, geometry, end).places >= needed:
        return True
    if absent.lacks_first and any(_begins_a_disk(storage, place) for place in unowned.first):
        return True
    if any(_is_filled(storage, used, place) for place in absent.named):
        return True
    if geometry.differencing:
        return False  # what the child has no entry for its parent has
    contents = Contents(storage, bat_offset, geometry)
    return contents.lacks_bookkeeping() or any(
        _begins_a_volume(storage, place, volume)
        for volume in contents.volumes()
        if contents.lacks(volume.offset)
        for place in unowned.first
    )


def _filled(look: Look, used: bytes | bytearray, end: int) -> Iterator[int]:
    """The MiB that nobody claims and that are not zeros."""
    for first, stop in unclaimed_runs(used, 0, end):
        for window in range(first, stop, WINDOW):
            filled = look.filled(window, min(stop, window + WINDOW))
            yield from (window + index for index, is_filled in enumerate(filled) if is_filled)


def _without_copies(look: Look, used: bytes | bytearray, geometry: Geometry, end: int) -> Unowned:
    """What nobody claims and is not what a claimed MiB holds as well."""
    filled = list(islice(_filled(look, used, end), MOST_COPIES + 1))
    without = bytearray(used)
    for mib in find_copies(look.storage, used, filled, end=end, advance=look.advance):
        without[mib] = 1
    return find_unowned(look, without, geometry.block_size, end=end)


def _is_filled(storage: ReadableStorage, used: bytes | bytearray, place: int) -> bool:
    """Whether anything stands at the beginning of a place that nobody claims."""
    is_free = used[place // MIB : place // MIB + 1] == b"\0"
    return is_free and any(storage.read(max(0, min(MIB, storage.size() - place)), place))


def _begins_a_disk(storage: ReadableStorage, place: int) -> bool:
    """Whether a partition table or a boot sector stands at a place."""
    if place + 2 * 4096 > storage.size():
        return False
    head = storage.read(2 * 4096, place)
    is_gpt = _GPT_SIGNATURE in (head[512:520], head[4096:4104])
    return is_gpt or head[510:512] == _MBR_SIGNATURE


def _begins_a_volume(storage: ReadableStorage, place: int, volume: Volume) -> bool:
    """Whether a file system stands at a place as it would in the first block of a volume."""
    start = place + volume.offset % MIB
    size = min(volume.size, storage.size() - start)
    return size > 0 and detect(lambda length, offset: storage.read(length, start + offset), size) is not None


class Evidence(NamedTuple):
    """What of an image's file nobody claims, and whether it is likely to be lost blocks."""

    unowned: Unowned
    is_strong: bool


def evidence(image: Image, used: bytes | bytearray, look: Look) -> Evidence:
    """Judge an opened image. ``used`` is the map of its file: 0 for each MiB that nobody claims."""
    storage, geometry = image.storage, image.geometry
    end = _explained_from(image, used)
    unowned = find_unowned(look, used, geometry.block_size, end=end)
    absent = absence(Slots(storage, image.regions.bat, geometry), geometry)
    fixed = image.metadata.disk_type == "fixed"
    bat_offset = image.regions.bat.file_offset
    lost = is_strong(look, unowned, absent, bat_offset, geometry, used=used, end=end)
    return Evidence(unowned, bool(fixed and absent.blocks) or lost)


def _explained_from(image: Image, used: bytes | bytearray) -> int:
    """The MiB from which on a crash left what there is: behind the end by the log and all that is claimed."""
    end = None if image.sequence is None else known_end(image.sequence)
    return len(used) if end is None else max(-(-end // MIB), len(used.rstrip(b"\0")))


def has_lost_entries(image: Image) -> bool:
    """Whether an opened image holds what is likely to be blocks whose entries were lost."""
    look = Look(image.storage, image.reader.file_size, unreadable=image.unreadable)
    return evidence(image, used_map(image), look).is_strong


def lost_block_doubts(image: Image) -> Iterator[Doubt]:
    """Of an image that may be damaged: the blocks without an entry, if entries are likely to be lost."""
    if not has_lost_entries(image):
        return
    geometry = image.geometry
    read = "the parent is" if geometry.differencing else "zeros are"
    reason = f"it has no entry, and the table may have lost entries; {read} read"
    for first, stop in absent_runs(image):
        start = first * geometry.block_size
        yield Doubt(start, min(stop * geometry.block_size, geometry.disk_size) - start, reason)


def absent_runs(image: Image) -> Iterator[tuple[int, int]]:
    """(first, behind the last) of each run of blocks whose entries say nothing."""
    count = image.geometry.block_count
    for block in range(0, count, WINDOW):
        entries = np.frombuffer(image.bat.payloads(block, min(WINDOW, count - block)), dtype=np.uint64)
        borders = np.flatnonzero(np.diff(say_nothing(entries), prepend=False, append=False)) + block
        yield from zip(borders[::2].tolist(), borders[1::2].tolist(), strict=True)


def used_map(image: Image) -> bytearray:
    """What of the file anything claims, rightly or not."""
    size = image.reader.file_size
    used = (claims_by_mib(image.bat, image.geometry, size) > 0).astype(np.uint8)
    for area in image.regions.areas:
        used[area.start // MIB : -(-area.end // MIB)] = 1
    for block in range(0, image.geometry.block_count, WINDOW):
        count = min(WINDOW, image.geometry.block_count - block)
        entries = np.frombuffer(image.bat.payloads(block, count), dtype=np.uint64)
        owners = are_in(entries, MAY_OWN_SPACE)
        firsts = (entries[owners] >> np.uint64(MIB.bit_length() - 1)).astype(np.int64)
        for offset in range(image.geometry.block_size // MIB):
            inside = (firsts > 0) & (firsts + offset < len(used))
            used[firsts[inside] + offset] = 1
    return bytearray(used.tobytes())
