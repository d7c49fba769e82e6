"""Show the log of an image as it stands: what is active in it, what is left over, and what is torn."""

from __future__ import annotations

import contextlib
import os
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from vhdx.errors import CorruptImageError
from vhdx.examine.owners import Owners
from vhdx.examine.remains import Remains
from vhdx.format import guids
from vhdx.format.foreign import PREFIX_SIZE, foreign_to_images
from vhdx.image.other_formats import refuse_other_formats
from vhdx.journal.scan import active_sequence, entry_fault, entry_headers, readable_targets
from vhdx.ops.replay_changes import Change, replay_changes
from vhdx.storage.file import open_for_reading
from vhdx.text import command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.format.log import EntryHeader
    from vhdx.journal.ring import Ring
    from vhdx.journal.scan import ActiveSequence


class LogDescriptor(NamedTuple):
    """What an entry puts where: ``kind`` is data or zero, ``structure`` whose place that is."""

    kind: str
    file_offset: int
    length: int
    structure: str


class LogEntry(NamedTuple):
    """One entry; ``position`` and ``tail`` count from the log's start, everything is bytes.

    ``state`` is ``active`` (to be replayed), ``applied`` (of the session in force, before the tail),
    ``orphan`` (of the session in force, in no complete sequence with the head), ``stale`` (of another
    session) or ``damaged``; ``fault`` says why. ``descriptors`` are read while they are asked for.
    """

    position: int
    file_offset: int
    sequence_number: int
    state: str
    fault: str | None
    log_guid: UUID
    length: int
    tail: int
    flushed_file_offset: int
    last_file_offset: int
    descriptor_count: int
    descriptors: Iterator[LogDescriptor]


class LogReport(NamedTuple):
    """A log as its header tells it, and its entries in the order in which they stand.

    ``obstacle`` says why a log that is not empty cannot be replayed.
    """

    path: str
    format: str
    virtual_size: int | None
    """The size of the disk in bytes, where the image as it stands tells it."""
    state: str
    log_guid: UUID
    version: int
    file_offset: int
    length: int
    file_size: int
    active_entries: int
    first_sequence_number: int | None
    last_sequence_number: int | None
    obstacle: str | None
    entries: Iterator[LogEntry]


class DiffReport(NamedTuple):
    """What replay would change in the file."""

    path: str
    format: str
    virtual_size: int | None
    state: str
    changes: Iterator[Change]


@contextlib.contextmanager
def open_log(path: str | os.PathLike[str], *, lock: bool = True) -> Iterator[LogReport]:
    """The log of the image at ``path``, whether or not the image can be opened.

    Raises CorruptImageError if no valid header says where the log is.
    """
    with _remains_of(path, lock=lock) as remains:
        ring, guid = _ring_of(remains), _guid_of(remains)
        sequence = None if guid == guids.NIL else active_sequence(ring, guid.bytes_le)
        assert remains.headers is not None  # or there would be no ring
        yield LogReport(
            path=remains.name,
            format="vhdx",
            virtual_size=remains.disk_size,
            state=remains.headers.current.log_state,
            log_guid=guid,
            version=remains.headers.current.log_version,
            file_offset=ring.file_offset,
            length=ring.length,
            file_size=remains.size,
            active_entries=len(sequence.positions) if sequence else 0,
            first_sequence_number=sequence.first_sequence_number if sequence else None,
            last_sequence_number=sequence.head.sequence_number if sequence else None,
            obstacle=_obstacle(remains, sequence) if guid != guids.NIL else None,
            entries=_entries(ring, guid, sequence, Owners(remains)),
        )


@contextlib.contextmanager
def open_log_changes(path: str | os.PathLike[str], *, lock: bool = True) -> Iterator[DiffReport]:
    """What a replay of the log would change, structure by structure; nothing if the log is empty.

    Raises CorruptImageError if there is no active sequence, UnsupportedImageError if it changes more than
    a replay in memory can hold.
    """
    with _remains_of(path, lock=lock) as remains:
        ring, guid = _ring_of(remains), _guid_of(remains)
        if guid == guids.NIL:
            yield DiffReport(remains.name, "vhdx", remains.disk_size, "clean", iter(()))
            return
        sequence = active_sequence(ring, guid.bytes_le)
        if sequence is None:
            raise _no_log(remains, f"there is no complete sequence of entries of {guid} to replay", "log")
        changes = replay_changes(remains, ring, sequence)
        yield DiffReport(remains.name, "vhdx", remains.disk_size, "dirty", changes)


@contextlib.contextmanager
def _remains_of(path: str | os.PathLike[str], *, lock: bool) -> Iterator[Remains]:
    storage = open_for_reading(os.fspath(path), lock=lock)
    try:
        yield Remains(storage)
    finally:
        storage.close()


def _ring_of(remains: Remains) -> Ring:
    if remains.ring is None:
        if remains.headers is None:
            refuse_other_formats(remains.storage)
        prefix = remains.storage.read(min(PREFIX_SIZE, remains.size), 0)
        other = foreign_to_images(prefix)
        if other is not None and remains.headers is None:
            raise _no_log(remains, f"this is no VHDX file: it is {other.kind}; {other.advice}", "dump")
        details = "; ".join(finding.detail for finding in remains.findings)
        raise _no_log(remains, details or "the current header names no log", "dump")
    return remains.ring


def _guid_of(remains: Remains) -> UUID:
    return remains.headers.current.log_guid if remains.headers else guids.NIL


def _no_log(remains: Remains, detail: str, verb: str) -> CorruptImageError:
    advice = command(f"{verb} {{}}", remains.name)
    return CorruptImageError(detail, image=remains.name, structure="log", rule="2.3", next_command=advice)


def _obstacle(remains: Remains, sequence: ActiveSequence | None) -> str | None:
    if sequence is None:
        return "no complete sequence of entries carries the log GUID"
    flushed = sequence.head.flushed_file_offset
    if remains.size < flushed:
        return f"the file was cut: it has {remains.size} bytes, and had at least {flushed} once"
    findings = (finding.detail for finding in remains.findings if finding.rule.code.startswith("header.log"))
    return next(findings, None)


def _entries(ring: Ring, guid: UUID, sequence: ActiveSequence | None, owners: Owners) -> Iterator[LogEntry]:
    active = array("Q", sorted(sequence.positions) if sequence else ())
    oldest = sequence.first_sequence_number if sequence else 0
    for position, header in entry_headers(ring):
        fault = entry_fault(ring, position, header)
        index = bisect_left(active, position)
        if fault is not None:
            state = "damaged"
        elif header.log_guid != guid.bytes_le:
            state = "stale"
        elif index < len(active) and active[index] == position:
            state = "active"
        else:
            state = "applied" if header.sequence_number < oldest else "orphan"
        yield LogEntry(
            position,
            ring.place(position),
            header.sequence_number,
            state,
            fault,
            UUID(bytes_le=header.log_guid),
            header.entry_length,
            header.tail,
            header.flushed_file_offset,
            header.last_file_offset,
            header.descriptor_count,
            _descriptors(ring, position, header, owners),
        )


def _descriptors(ring: Ring, position: int, header: EntryHeader, owners: Owners) -> Iterator[LogDescriptor]:
    for file_offset, length, is_zero in readable_targets(ring, position, header):
        owner = owners.describe(file_offset, length)
        yield LogDescriptor("zero" if is_zero else "data", file_offset, length, owner)
