"""What the log says beside its active sequence [MS-VHDX 2.3]: a dirty, torn, careless or misdirected log."""

from __future__ import annotations

from vhdx import rules
from vhdx.format import log
from vhdx.format.log import LOG_ALIGNMENT
from vhdx.journal.replay import changes
from vhdx.journal.ring import Ring
from vhdx.journal.scan import valid_entries
from vhdx.rules import Finding, Place
from vhdx.storage.runs import Runs
from vhdx.typed import TYPE_CHECKING
from vhdx.units import MIB

if TYPE_CHECKING:
    from vhdx.format.header import Header
    from vhdx.journal.scan import ActiveSequence
    from vhdx.rules import Report
    from vhdx.storage.base import ReadableStorage


def check_log(
    file: ReadableStorage, current: Header, sequence: ActiveSequence | None, report: Report
) -> None:
    """Report on a log that is not empty."""
    if sequence is None:
        return
    ring = Ring(current.log_offset, current.log_length, file.read)
    count = len(sequence.positions)
    entries = f"{count} {'entry' if count == 1 else 'entries'}"
    detail = f"the log is not empty: {entries} to replay, which every opening does in memory, repair in place"
    report(Finding(rules.LOG_DIRTY, Place("log", current.log_offset), detail))
    for position in sequence.positions:
        entry = log.unpack_entry_header(ring.sector(position))
        place = Place(f"log entry {entry.sequence_number}", ring.file_offset + position)
        if entry.reserved:
            report(Finding(rules.LOG_RESERVED, place, "the reserved field is not zero"))
        sizes = (entry.flushed_file_offset, entry.last_file_offset)
        if any(size % LOG_ALIGNMENT for size in sizes):
            detail = f"the file sizes {sizes[0]} and {sizes[1]} are no whole MiB, as QEMU writes them"
            report(Finding(rules.LOG_UNALIGNED, place, detail))
    _check_end(ring, sequence, report)


def _check_end(ring: Ring, sequence: ActiveSequence, report: Report) -> None:
    """A crash in the middle of a write leaves an entry that is not whole behind the newest one.

    Whole entries behind that are another matter: they are newer than what is replayed.
    """
    head = sequence.head
    entries = valid_entries(ring, head.log_guid)
    number, position = max((header.sequence_number, position) for position, header in entries)
    if number > head.sequence_number:
        place = Place(f"log entry {number}", ring.place(position))
        detail = (
            f"the entry is whole, but one before it is not, so nothing behind entry {head.sequence_number} "
            "is replayed: the log is damaged, or the power failed while several entries were written"
        )
        report(Finding(rules.LOG_BROKEN, place, detail))
        return
    end = (sequence.positions[-1] + head.entry_length) % ring.length
    behind = log.unpack_entry_header(ring.sector(end))
    if (
        behind.signature == log.ENTRY_SIGNATURE
        and behind.log_guid == head.log_guid
        and behind.sequence_number == head.sequence_number + 1
    ):
        place = Place(f"log entry {behind.sequence_number}", ring.place(end))
        report(Finding(rules.LOG_TORN, place, "the last entry is not whole and is not replayed"))


def logged_runs(
    storage: ReadableStorage, current: Header | None, sequence: ActiveSequence | None
) -> tuple[tuple[int, int], ...]:
    """(start, end) of the runs of MiB in the file that a replay writes to, with data or with zeros."""
    if current is None or sequence is None:
        return ()
    ring = Ring(current.log_offset, current.log_length, storage.read)
    touched = {
        (change.file_offset // MIB, -(-(change.file_offset + change.length) // MIB))
        for change in changes(ring, sequence)
    }
    runs = Runs()
    for start, end in sorted(touched):
        runs.add(start, end)
    return tuple(runs.within(0, -(-storage.size() // MIB)))
