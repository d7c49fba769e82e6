"""Putting an active sequence into effect [MS-VHDX 2.3.3]: as changes, or as an overlay in memory."""

from __future__ import annotations

from vhdx.format import log
from vhdx.format.header import FILE_OFFSET_LIMIT
from vhdx.format.log import LOG_ALIGNMENT, SECTOR_SIZE
from vhdx.journal.scan import descriptor_bytes
from vhdx.storage.overlay import Overlay
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.journal.ring import Ring
    from vhdx.journal.scan import ActiveSequence
    from vhdx.storage.base import ReadableStorage, Storage

OVERLAY_LIMIT = 64 * 1024
"""Sectors, and runs of zeros, that a replay in memory may hold: 256 MiB of sectors."""


class Change(NamedTuple):
    """What one descriptor does to the file: ``sector`` is None for a run of zeros. Offsets in bytes."""

    file_offset: int
    length: int
    sector: bytes | None


class GrowthError(Exception):
    """Replay would make a file too long; the argument says how long, in bytes."""


def final_size(sequence: ActiveSequence) -> int:
    """How long the file must be at least after replay; QEMU writes lengths that are no whole MiB."""
    return -(-sequence.head.last_file_offset // LOG_ALIGNMENT) * LOG_ALIGNMENT


def known_end(sequence: ActiveSequence) -> int | None:
    """The file offset from which on bytes are newer than the last entry, so that nothing can name them.

    None where that cannot be told, because entries were lost.
    """
    return final_size(sequence) if sequence.is_newest else None


def changes(ring: Ring, sequence: ActiveSequence, *, newest_first: bool = False) -> Iterator[Change]:
    """Every change of the sequence, in the order in which they were made or the other way round."""
    positions = sequence.positions
    for position in reversed(positions) if newest_first else positions:
        yield from _entry_changes(ring, position, step=-1 if newest_first else 1)


def _entry_changes(ring: Ring, position: int, *, step: int) -> Iterator[Change]:
    """The changes of one entry, front to back (``step`` 1) or back to front (-1), one sector in memory."""
    header = log.unpack_entry_header(ring.sector(position))
    descriptor_sectors = log.descriptor_sector_count(header.descriptor_count)
    data_sectors = header.entry_length // SECTOR_SIZE - descriptor_sectors
    data_index = descriptor_sectors + (0 if step > 0 else data_sectors - 1)
    for index in range(descriptor_sectors)[::step]:
        sector = ring.sector(position + index * SECTOR_SIZE)
        packed = descriptor_bytes(sector, index, header.descriptor_count)
        for descriptor in [*log.unpack_descriptors(packed)][::step]:
            if isinstance(descriptor, log.DataDescriptor):
                data = log.restored_sector(descriptor, ring.sector(position + data_index * SECTOR_SIZE))
                data_index += step
                yield Change(descriptor.file_offset, SECTOR_SIZE, data)
            elif descriptor is not None:
                yield Change(descriptor.file_offset, descriptor.length, None)


def replay(storage: Storage, ring: Ring, sequence: ActiveSequence) -> None:
    """Put the changes of a sequence in their places. The caller flushes.

    Doing it again after a crash in the middle ends alike, as long as the log stands untouched.
    """
    for change in changes(ring, sequence):
        size = storage.size()
        if size < change.file_offset + change.length:
            storage.resize(change.file_offset + change.length)
        if change.sector is not None:
            storage.write_at(change.sector, change.file_offset)
        elif change.file_offset < size:
            storage.zero(change.file_offset, min(change.length, size - change.file_offset))
    if storage.size() < final_size(sequence):
        storage.resize(final_size(sequence))


def replayed_overlay(base: ReadableStorage, ring: Ring, sequence: ActiveSequence) -> Overlay:
    """The file as it will be after replay, without changing it.

    Raises OverlayFullError if the sequence changes more than OVERLAY_LIMIT sectors or runs of zeros, and
    GrowthError if it would make the file more than 256 TiB long.
    """
    overlay = Overlay(base, OVERLAY_LIMIT)
    last = final_size(sequence)
    for change in changes(ring, sequence, newest_first=True):
        last = max(last, change.file_offset + change.length)
        if change.sector is None:
            overlay.put_zeros(change.file_offset, change.length)
        else:
            overlay.put_sector(change.file_offset, change.sector)
    if last > FILE_OFFSET_LIMIT:
        raise GrowthError(last)
    overlay.extend(last)
    overlay.seal()
    return overlay
