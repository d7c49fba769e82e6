"""Finding the active sequence of a log [MS-VHDX 2.3.2, 2.3.3]. Pure: bytes and a GUID in, positions out.

The specification walks the ring from every sector on and may look at an entry as often as there are
entries. Here each entry is looked at once, because of two facts. A sector that belongs to a valid entry
begins with ``loge`` only if it is the entry's first, so valid entries never share a sector. Sequence
numbers grow by one from entry to entry, so a run never meets itself. Hence the entries fall apart into
runs that share nothing, each with one head, and a run counts if its head's tail is an entry of it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left

from vhdx.format import checksum, log
from vhdx.format.log import SECTOR_SIZE, EntryHeader
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.journal.ring import Ring

_NONE = -1


class ActiveSequence(NamedTuple):
    """The entries to be replayed: their positions in the ring, tail first, and the newest one's header."""

    positions: tuple[int, ...]
    first_sequence_number: int
    head: EntryHeader
    is_newest: bool
    """Whether nothing whole in the log is newer: where something is, an entry before it was damaged."""


def active_sequence(ring: Ring, log_guid: bytes) -> ActiveSequence | None:
    """The newest complete sequence of entries that carry ``log_guid``; None if there is none."""
    positions, sequences, tails, ends = array("Q"), array("Q"), array("Q"), array("Q")
    for position, header in valid_entries(ring, log_guid):
        positions.append(position)
        sequences.append(header.sequence_number)
        tails.append(header.tail)
        ends.append((position + header.entry_length) % ring.length)
    before, heads = _links(positions, sequences, ends)
    for head in sorted(heads, key=sequences.__getitem__, reverse=True):
        run = _back_to_tail(head, tails[head], positions, before)
        if run:
            header = log.unpack_entry_header(ring.sector(positions[head]))
            is_newest = sequences[head] == max(sequences)
            return ActiveSequence(tuple(positions[i] for i in run), sequences[run[0]], header, is_newest)
    return None


def _links(positions: array[int], sequences: array[int], ends: array[int]) -> tuple[array[int], list[int]]:
    """For each entry the one before it in its run, and the entries that nothing follows."""
    before = array("q", [_NONE]) * len(positions)
    heads = []
    for entry, end in enumerate(ends):
        after = bisect_left(positions, end)
        if after < len(positions) and positions[after] == end and sequences[after] == sequences[entry] + 1:
            before[after] = entry
        else:
            heads.append(entry)
    return before, heads


def _back_to_tail(head: int, tail: int, positions: array[int], before: array[int]) -> list[int]:
    """The run from the entry at position ``tail`` to ``head``; empty if the run has no such entry."""
    run, entry = [], head
    while entry != _NONE:
        run.append(entry)
        if positions[entry] == tail:
            return run[::-1]
        entry = before[entry]
    return []


def valid_entries(ring: Ring, log_guid: bytes) -> Iterator[tuple[int, EntryHeader]]:
    """Every valid entry of the ring that carries ``log_guid``, with its position, in order of position."""
    for position, header in entry_headers(ring):
        if header.log_guid == log_guid and entry_fault(ring, position, header) is None:
            yield position, header


def entry_headers(ring: Ring) -> Iterator[tuple[int, EntryHeader]]:
    """The position and the header of everything that begins like an entry, valid or not."""
    for position in ring.positions_of(log.ENTRY_SIGNATURE):
        yield position, log.unpack_entry_header(ring.sector(position))


def entry_fault(ring: Ring, position: int, header: EntryHeader) -> str | None:
    """Why there is no valid entry at a position, whatever its GUID; None if there is one."""
    descriptor_sectors = log.descriptor_sector_count(header.descriptor_count)
    if header.entry_length % SECTOR_SIZE or header.entry_length > ring.length:
        return f"a length of {header.entry_length} bytes is no whole number of sectors of this log"
    if descriptor_sectors * SECTOR_SIZE > header.entry_length:
        return f"{header.descriptor_count} descriptors do not fit into {header.entry_length} bytes"
    if header.tail % SECTOR_SIZE or header.tail >= ring.length:
        return f"its tail {header.tail} is no sector of this log"
    if header.sequence_number == 0:
        return "its sequence number is 0"
    return _body_fault(ring, position, header, descriptor_sectors)


def _body_fault(ring: Ring, position: int, header: EntryHeader, descriptor_sectors: int) -> str | None:
    """Sector by sector, stopping at the first that does not fit: so a hostile log costs one pass."""
    computed = data_sectors = 0
    for index in range(header.entry_length // SECTOR_SIZE):
        sector = ring.sector(position + index * SECTOR_SIZE)
        computed = checksum.crc32c(sector if index else sector[:4] + bytes(4) + sector[8:], computed)
        if index < descriptor_sectors:
            count = _data_descriptors_in(ring, sector, index, header)
            if count is None:
                return f"sector {index} has a descriptor that is damaged or may not be there"
            data_sectors += count
        elif index >= descriptor_sectors + data_sectors:
            return f"it has more sectors than its {data_sectors} data descriptors need"
        elif log.data_sector_sequence(sector) != header.sequence_number:
            return f"torn: sector {index} is no data sector with its sequence number"
    if (descriptor_sectors + data_sectors) * SECTOR_SIZE != header.entry_length:
        return f"it has fewer sectors than its {data_sectors} data descriptors need"
    if computed != header.checksum:
        return f"checksum is {header.checksum:#010x}, its bytes give {computed:#010x}"
    return None


def _data_descriptors_in(ring: Ring, sector: bytes, index: int, header: EntryHeader) -> int | None:
    """How many data descriptors a descriptor sector holds; None if a descriptor breaks a rule."""
    count = 0
    for descriptor in log.unpack_descriptors(descriptor_bytes(sector, index, header.descriptor_count)):
        if descriptor is None or descriptor.sequence_number != header.sequence_number:
            return None
        is_data = isinstance(descriptor, log.DataDescriptor)
        length = SECTOR_SIZE if isinstance(descriptor, log.DataDescriptor) else descriptor.length
        if not _may_be_target(ring, descriptor.file_offset, length):
            return None
        count += is_data
    return count


def descriptor_bytes(sector: bytes, index: int, descriptor_count: int) -> bytes:
    """The part of the ``index``-th descriptor sector of an entry that its descriptors fill."""
    start = log.ENTRY_HEADER_SIZE if index == 0 else 0
    used = log.ENTRY_HEADER_SIZE + descriptor_count * log.DESCRIPTOR_SIZE - index * SECTOR_SIZE
    return sector[start : min(used, SECTOR_SIZE)]


def readable_targets(ring: Ring, position: int, header: EntryHeader) -> Iterator[tuple[int, int, bool]]:
    """(file offset, length, whether zeros) of what an entry changes, up to its first damaged descriptor.

    The entry itself need not be valid.
    """
    sectors = min(log.descriptor_sector_count(header.descriptor_count), ring.length // SECTOR_SIZE)
    for index in range(sectors):
        sector = ring.sector(position + index * SECTOR_SIZE)
        for descriptor in log.unpack_descriptors(descriptor_bytes(sector, index, header.descriptor_count)):
            if descriptor is None or descriptor.sequence_number != header.sequence_number:
                return
            if isinstance(descriptor, log.ZeroDescriptor):
                yield descriptor.file_offset, descriptor.length, True
            else:
                yield descriptor.file_offset, SECTOR_SIZE, False


def _may_be_target(ring: Ring, file_offset: int, length: int) -> bool:
    """Identifier, headers and the log itself are never changed through the log; all is whole sectors."""
    return (
        file_offset % SECTOR_SIZE == 0
        and length % SECTOR_SIZE == 0
        and file_offset >= log.FIRST_TARGET
        and file_offset + length < 1 << 64
        and not ring.overlaps(file_offset, length)
    )
