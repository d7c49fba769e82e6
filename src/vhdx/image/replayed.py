"""What a file says once its log is replayed, in memory [MS-VHDX 2.3.3]."""

from __future__ import annotations

from vhdx import rules
from vhdx.format import guids
from vhdx.journal.replay import OVERLAY_LIMIT, GrowthError, replayed_overlay
from vhdx.journal.ring import Ring
from vhdx.journal.scan import active_sequence
from vhdx.rules import Finding, Place
from vhdx.storage.overlay import OverlayFullError
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from vhdx.format.header import Header
    from vhdx.journal.scan import ActiveSequence
    from vhdx.rules import Report
    from vhdx.storage.base import ReadableStorage


def load(
    file: ReadableStorage, header: Header, report: Report
) -> tuple[ActiveSequence | None, ReadableStorage]:
    """The active sequence of a dirty log, and the file as it is once that is replayed.

    The file as it is after reporting that the log cannot be replayed.
    """
    if header.log_guid == guids.NIL:
        return None, file
    ring = Ring(header.log_offset, header.log_length, file.read)
    place = Place("log", header.log_offset)
    sequence = active_sequence(ring, header.log_guid.bytes_le)
    if sequence is None:
        detail = f"the log is not empty, but has no complete sequence of entries of {header.log_guid}"
        report(Finding(rules.LOG_NO_SEQUENCE, place, detail))
        return None, file
    flushed = sequence.head.flushed_file_offset
    if file.size() < flushed:
        detail = (
            f"the file was cut: it has {file.size()} bytes, and had at least {flushed} when it was written"
        )
        report(Finding(rules.LOG_FILE_TRUNCATED, place, detail))
    try:
        return sequence, replayed_overlay(file, ring, sequence)
    except GrowthError as error:
        detail = f"replay would make the file {error} bytes long; files of over 256 TiB are refused"
        report(Finding(rules.LOG_GROWTH, place, detail))
    except OverlayFullError:
        detail = f"the log changes more than {OVERLAY_LIMIT} sectors, too many to replay in memory"
        report(Finding(rules.LOG_TOO_LARGE, place, detail))
    return sequence, file
