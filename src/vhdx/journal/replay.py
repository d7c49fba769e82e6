"""Putting an active sequence into effect [MS-VHDX 2.3.3]: as changes, or as an overlay in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vhdx.format import log
from vhdx.format.log import SECTOR_SIZE
from vhdx.journal.scan import descriptor_bytes
from vhdx.storage.overlay import Overlay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.journal.ring import Ring
    from vhdx.journal.scan import ActiveSequence
    from vhdx.storage.base import ReadableStorage

OVERLAY_LIMIT = 64 * 1024
"""Sectors, and runs of zeros, that a replay in memory may hold: 256 MiB of sectors."""


class Change(NamedTuple):
    """What one descriptor does to the file: ``sector`` is None for a run of zeros. Offsets in bytes."""

    file_offset: int
    length: int
    sector: bytes | None


def changes_newest_first(ring: Ring, sequence: ActiveSequence) -> Iterator[Change]:
    """Every change of the sequence, last one first."""
    for position in reversed(sequence.positions):
        header = log.unpack_entry_header(ring.sector(position))
        data_position = position + header.entry_length
        for index in reversed(range(log.descriptor_sector_count(header.descriptor_count))):
            sector = ring.sector(position + index * SECTOR_SIZE)
            packed = descriptor_bytes(sector, index, header.descriptor_count)
            for descriptor in reversed([*log.unpack_descriptors(packed)]):
                if isinstance(descriptor, log.DataDescriptor):
                    data_position -= SECTOR_SIZE
                    data = log.restored_sector(descriptor, ring.sector(data_position))
                    yield Change(descriptor.file_offset, SECTOR_SIZE, data)
                elif descriptor is not None:
                    yield Change(descriptor.file_offset, descriptor.length, None)


def replayed_overlay(base: ReadableStorage, ring: Ring, sequence: ActiveSequence) -> Overlay:
    """The file as it will be after replay, without changing it.

    Raises OverlayFullError if the sequence changes more than OVERLAY_LIMIT sectors or runs of zeros.
    """
    overlay = Overlay(base, OVERLAY_LIMIT)
    for change in changes_newest_first(ring, sequence):
        if change.sector is None:
            overlay.put_zeros(change.file_offset, change.length)
        else:
            overlay.put_sector(change.file_offset, change.sector)
    overlay.extend(sequence.head.last_file_offset)
    overlay.seal()
    return overlay
