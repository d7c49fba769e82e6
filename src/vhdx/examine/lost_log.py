"""The log of an image that lost both headers: where it is, and whether it holds what the file lacks.

The GUID of a session stands in each of its entries. A sequence whose changes all stand in the file already
is of a log that was emptied; one that changes the file is to be replayed. Entries of several sessions are
what a log looks like that was begun anew: the newest is the one whose first entry stands at the log's
beginning, where it replaced those of the others. Where that does not tell, nothing is replayed.
"""

from __future__ import annotations

import uuid
from itertools import islice

from vhdx.format import guids, log
from vhdx.format.header import HEADER_SECTION_SIZE, LOG_VERSION, VERSION, Header
from vhdx.format.log import SECTOR_SIZE
from vhdx.journal.replay import Change, changes
from vhdx.journal.ring import Ring
from vhdx.journal.scan import ActiveSequence, active_sequence, entry_fault
from vhdx.pieces import pieces
from vhdx.typed import TYPE_CHECKING, NamedTuple
from vhdx.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vhdx.format.region import RegionEntry
    from vhdx.storage.base import ReadableStorage

_LONGEST = 4 * GIB
_SESSIONS = 16
_RINGS = 256
"""How many places are tried for the log of one session: only logs of many MiB have more."""
_FIRST_SEQUENCE_NUMBER = 1


class LostLog(NamedTuple):
    """A header for what was found, in words what that is, and why the disk is doubtful if it is."""

    header: Header
    found: str
    doubt: str | None


def lost_log(file: ReadableStorage, regions: Sequence[RegionEntry], *, may_be_wiped: bool = False) -> LostLog:
    """What can be told of the log in the space before the first of the regions that are known.

    ``may_be_wiped``: zeros are no log that was never used, if what took other structures behind the header
    section may have made them.
    """
    end = min([file.size() // MIB * MIB, *(entry.file_offset for entry in regions)])
    end = min(end, HEADER_SECTION_SIZE + _LONGEST - MIB)
    if end <= HEADER_SECTION_SIZE:
        doubt = "no header is valid, and it is not known where the log is or whether it holds missing changes"
        return LostLog(_header(guids.NIL, 0, 0), "no log was found", doubt)
    whole = Ring(HEADER_SECTION_SIZE, end - HEADER_SECTION_SIZE, file.read)
    entries = [(whole.place(at), whole.sector(at)) for at in _first_and_last(whole)]
    if not entries:
        header = _header(guids.NIL, whole.file_offset, MIB)  # as long as everybody makes it
        if may_be_wiped or _holds_anything(file, whole):
            doubt = "no header is valid, and no log is left: whether it held missing changes is not known"
            return LostLog(header, "no log was found", doubt)
        return LostLog(header, f"the log at {whole.file_offset} is empty", None)
    sessions = _sessions(whole)
    first, last = entries[0][0], entries[-1][0]
    found = [each for guid in sessions if (each := _active(file, guid, whole, first, last)) is not None]
    return _judged(file, whole, last, len(sessions), found)


class _Session(NamedTuple):
    """The newest sequence of one session, and the log in which it is one."""

    guid: bytes
    ring: Ring
    sequence: ActiveSequence


def _header(log_guid: uuid.UUID, offset: int, length: int) -> Header:
    identities = uuid.uuid4(), uuid.uuid4()
    return Header(_FIRST_SEQUENCE_NUMBER, *identities, log_guid, LOG_VERSION, VERSION, length, offset)


def _holds_anything(file: ReadableStorage, whole: Ring) -> bool:
    """Whether anything but zeros stands in a space."""
    return any(
        file.read(length, at).strip(b"\0")
        for start, count in file.data_ranges(whole.file_offset, whole.length)
        for at, length in pieces(start, count, MIB)
    )


def _first_and_last(whole: Ring) -> list[int]:
    """The positions of the first and the last sector that begins like an entry."""
    first = last = None
    for position in whole.positions_of(log.ENTRY_SIGNATURE):
        first, last = position if first is None else first, position
    return [] if first is None or last is None else [first, last]


def _sessions(whole: Ring) -> list[bytes]:
    """The GUIDs that stand in entries, one more than _SESSIONS at most."""
    sectors = (whole.sector(position) for position in whole.positions_of(log.ENTRY_SIGNATURE))
    every = dict.fromkeys(log.unpack_entry_header(sector).log_guid for sector in sectors)
    return list(islice(every, _SESSIONS + 1))


def _rings(file: ReadableStorage, whole: Ring, first: int, last: int) -> Iterator[Ring]:
    """The places that a log with these entries may have: the shortest of each beginning first."""
    for start in range(first // MIB * MIB, whole.file_offset - MIB, -MIB):
        shortest = last // MIB * MIB + MIB - start
        for length in range(shortest, whole.end - start + MIB, MIB):
            yield Ring(start, length, file.read)


def _active(file: ReadableStorage, guid: bytes, whole: Ring, first: int, last: int) -> _Session | None:
    """The newest sequence of one session, and the log in which it is one."""
    for ring in islice(_rings(file, whole, first, last), _RINGS):
        sequence = active_sequence(ring, guid)
        if sequence is not None:
            return _Session(guid, ring, sequence)
    return None


def _judged(
    file: ReadableStorage, whole: Ring, last: int, session_count: int, found: list[_Session]
) -> LostLog:
    newest = _newest(session_count, found)
    ring = newest.ring if newest is not None else whole._replace(length=_spanned(whole, last))
    clean = _header(guids.NIL, ring.file_offset, ring.length)
    if (newest is None and any(_changes_anything(file, each) for each in found)) or not found:
        why = (
            f"entries of {session_count} sessions" if session_count > 1 else "no complete sequence of entries"
        )
        doubt = f"no header is valid, and the log has {why}: what it would change is not known"
        return LostLog(clean, "the log was not replayed", doubt)
    if newest is None or not _changes_anything(file, newest):
        return LostLog(clean, f"what the log at {ring.file_offset} says stands in the file already", None)
    numbers = f"{newest.sequence.first_sequence_number} to {newest.sequence.head.sequence_number}"
    told = f"entries {numbers} of the log at {ring.file_offset}, which are to be replayed"
    dirty = _header(uuid.UUID(bytes_le=newest.guid), ring.file_offset, ring.length)
    doubt = f"no header is valid; the log has entries of {session_count} sessions, the newest by their places"
    return LostLog(dirty, told, doubt if session_count > 1 else None)


def _spanned(whole: Ring, last: int) -> int:
    """How long a log is at least that begins with the space and has an entry at ``last``."""
    return last // MIB * MIB + MIB - whole.file_offset


def _newest(session_count: int, found: list[_Session]) -> _Session | None:
    """The only session, or the one that begins where the log does; None if that does not tell."""
    if session_count == 1:
        return found[0] if found else None
    return next((each for each in found if _begins_the_log(each)), None)


def _begins_the_log(session: _Session) -> bool:
    first = log.unpack_entry_header(session.ring.sector(0))
    named = first.signature == log.ENTRY_SIGNATURE and first.log_guid == session.guid
    begins = named and first.sequence_number == _FIRST_SEQUENCE_NUMBER
    return begins and entry_fault(session.ring, 0, first) is None


def _changes_anything(file: ReadableStorage, session: _Session) -> bool:
    """Whether a replay leaves other bytes than there are: what later entries change again does not count."""
    newest: dict[int, Change] = {}
    for change in changes(session.ring, session.sequence):
        newest[change.file_offset] = change
    size = file.size()
    return any(_differs(file, size, change) for change in newest.values())


def _differs(file: ReadableStorage, size: int, change: Change) -> bool:
    end = change.file_offset + change.length
    if end > size:
        return True
    if change.sector is not None:
        return file.read(SECTOR_SIZE, change.file_offset) != change.sector
    pieces = range(change.file_offset, end, MIB)
    return any(file.read(min(MIB, end - at), at).strip(b"\0") for at in pieces)
