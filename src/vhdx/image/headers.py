"""The two headers: which one is current, and what it must say [MS-VHDX 2.2.2]."""

from __future__ import annotations

from vhdx import rules
from vhdx.format import guids, header, identifier, region
from vhdx.format.header import Header
from vhdx.format.log import LOG_ALIGNMENT
from vhdx.rules import Finding, Place
from vhdx.storage.base import UNREADABLE, read_copy
from vhdx.typed import TYPE_CHECKING, NamedTuple
from vhdx.units import format_size

if TYPE_CHECKING:
    from typing import Any
    from uuid import UUID

    from vhdx.rules import Report
    from vhdx.storage.base import ReadableStorage, Storage


class Headers(NamedTuple):
    """The current header and the slot (0 or 1) it stands in."""

    current: Header
    slot: int


RESERVED_RANGES = (
    ("file identifier", identifier.CREATOR_END, header.HEADER_OFFSETS[0]),
    ("header 1", header.HEADER_OFFSETS[0] + header.HEADER_SIZE, header.HEADER_OFFSETS[1]),
    ("header 2", header.HEADER_OFFSETS[1] + header.HEADER_SIZE, region.TABLE_OFFSETS[0]),
    ("region tables", region.TABLE_OFFSETS[1] + region.TABLE_SIZE, header.HEADER_SECTION_SIZE),
)
"""What of the header section is reserved: behind what, from where to where in the file."""


class HeaderPair:
    """Both header slots of a file that is written to: changes them by the two-slot protocol [2.2.2.1]."""

    def __init__(self, storage: Storage, headers: Headers) -> None:
        self._storage = storage
        self._current = headers.current
        self._slot = headers.slot

    @property
    def current(self) -> Header:
        """The header that is in force."""
        return self._current

    def update(self, changes: dict[str, UUID]) -> None:
        """Put a header with changed fields into force, durably.

        The slot that is not in force is overwritten first, so one good header stands at every instant;
        then the other follows, so that both say the same. Two writes, each flushed.
        """
        for _ in header.HEADER_OFFSETS:
            fields: dict[str, Any] = {**self._current._asdict(), **changes, "log_version": header.LOG_VERSION}
            fields["sequence_number"] += 1
            following = Header(**fields)
            slot = 1 - self._slot
            self._storage.write_at(following.pack(), header.HEADER_OFFSETS[slot])
            self._storage.flush()
            self._current, self._slot = following, slot


def check_identifier(storage: ReadableStorage, report: Report) -> str:
    """Report a file that is no VHDX; the creator's name otherwise.

    Raises UnsupportedImageError for a file that is longer than any disk can need.
    """
    if storage.size() > header.FILE_OFFSET_LIMIT:
        length = format_size(storage.size())
        detail = (
            f"the file is {length} long, and files of over 256 TiB are refused: cut off what made it so long"
        )
        raise Finding(rules.FILE_TOO_LONG, Place("file", 0), detail).error(storage.name)
    data = storage.read(min(identifier.IDENTIFIER_SIZE, storage.size()), identifier.IDENTIFIER_OFFSET)
    if not data.startswith(identifier.SIGNATURE):
        place = Place("file identifier", identifier.IDENTIFIER_OFFSET)
        detail = f"this is no VHDX file: {_what_else(data)}"
        report(Finding(rules.IDENTIFIER_SIGNATURE, place, detail))
    return identifier.creator(data)


def has_identifier(storage: ReadableStorage) -> bool:
    """Whether the file begins as every VHDX does."""
    length = min(len(identifier.SIGNATURE), storage.size())
    return storage.read(length, identifier.IDENTIFIER_OFFSET) == identifier.SIGNATURE


def _what_else(data: bytes) -> str:
    """What a file that begins so is."""
    from vhdx.format.foreign import PREFIX_SIZE, foreign_to_images  # noqa: PLC0415  a VHDX need not wait for it
    from vhdx.format.vhd import FOOTER_COOKIE  # noqa: PLC0415

    if not data:
        return "it is empty"
    if data.startswith(FOOTER_COOKIE):
        return "it is a VHD, the older format; vhdx convert makes a VHDX of it"
    other = foreign_to_images(data[:PREFIX_SIZE])
    if other is not None:
        return f"it is {other.kind}; {other.advice}"
    return f"it does not begin with {identifier.SIGNATURE.decode()!r}"


def load(storage: ReadableStorage, report: Report) -> Headers | None:
    """Find the current header and check its fields; None after reporting that there is none."""
    size = storage.size()
    slots = [read_slot(storage, size, slot) for slot in (0, 1)]
    damages = [_damage(data, size, slot) for slot, data in enumerate(slots)]
    valid = [slot for slot in (0, 1) if damages[slot] is None]
    for slot in (0, 1):
        if damages[slot] is not None and valid:
            report(Finding(rules.HEADER_DAMAGED, _place(slot), f"{damages[slot]}; the other header is used"))
    if not valid:
        detail = f"neither header is valid: header 1: {damages[0]}; header 2: {damages[1]}"
        report(Finding(rules.HEADER_NONE, _place(0), detail))
        return None
    found = {slot: header.unpack(slots[slot]) for slot in valid}
    current = max(valid, key=lambda slot: (found[slot].sequence_number, -slot))
    if len(valid) == 2 and found[0].sequence_number == found[1].sequence_number:
        _report_tie(slots, report)
    headers = Headers(found[current], current)
    check_fields(headers, size, report)
    return headers


def read_slot(storage: ReadableStorage, size: int, slot: int) -> bytes:
    """The bytes of a header, fewer where a file of ``size`` bytes ends in it."""
    offset = header.HEADER_OFFSETS[slot]
    return read_copy(storage, max(0, min(header.HEADER_SIZE, size - offset)), offset)


def _damage(data: bytes, size: int, slot: int) -> str | None:
    unreadable = not data and size > header.HEADER_OFFSETS[slot]
    return UNREADABLE if unreadable else header.damage(data)


def _place(slot: int) -> Place:
    return Place(f"header {slot + 1}", header.HEADER_OFFSETS[slot])


def _report_tie(slots: list[bytes], report: Report) -> None:
    # By the letter no header is current then; Disk2vhd writes two identical ones, which leaves no doubt.
    if slots[0] == slots[1]:
        detail = "both headers are identical, sequence number included, as Disk2vhd writes them"
        report(Finding(rules.HEADER_TWINS, _place(0), detail))
    else:
        detail = "both headers have the same sequence number but say different things"
        report(Finding(rules.HEADER_TIE, _place(0), detail))


def check_fields(headers: Headers, size: int, report: Report) -> None:
    """Report what the header in a slot must not say."""
    current, place = headers.current, _place(headers.slot)
    if current.version != header.VERSION:
        report(Finding(rules.HEADER_VERSION, place, f"version is {current.version}, only 1 is known"))
    if current.log_version != header.LOG_VERSION and current.log_guid != guids.NIL:
        detail = f"the log is not empty and has version {current.log_version}, only 0 is known"
        report(Finding(rules.HEADER_LOG_VERSION, place, detail))
    _check_log_place(current, size, place, report)


def _check_log_place(current: Header, size: int, place: Place, report: Report) -> None:
    offset, length = current.log_offset, current.log_length
    if offset % LOG_ALIGNMENT or length % LOG_ALIGNMENT:
        detail = f"the log ({length} bytes at {offset}) is not aligned to 1 MiB"
        report(Finding(rules.HEADER_LOG_PLACE, place, detail))
    elif length and offset < header.HEADER_SECTION_SIZE:
        detail = f"the log at {offset} would overlap the header section"
        report(Finding(rules.HEADER_LOG_PLACE, place, detail))
    elif length and offset + length > size:
        detail = f"the log ends at {offset + length}, behind the end of the file at {size}"
        report(Finding(rules.HEADER_LOG_PLACE, place, detail))
    elif length == 0 and current.log_guid != guids.NIL:
        report(Finding(rules.HEADER_LOG_PLACE, place, "the log is not empty but has no length"))
