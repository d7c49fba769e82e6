"""The log of an NTFS ($LogFile): whether it was unmounted cleanly, or Windows still has it."""

from __future__ import annotations

import struct

from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.ntfs_record import damaged, fixed_up
from vhdx.filesystems.reading import power_of_two
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vhdx.filesystems.ntfs_volume import Stream

_MAGICS = (b"RSTR", b"CHKD")
_PAGE = struct.Struct("<IIHhh")  # at 16: sizes of system and log pages, restart area, version minor, major
_AREA = struct.Struct("<QHHHH")  # current LSN, clients, first free client, first client in use, flags
_VERSION, _KEPT = (1, 1), (2, 0)
_NO_CLIENT = 0xFFFF
_CLEAN = 2
_LONGEST = 4 << 30
_PIECE = 1 << 20
_UNREADABLE = "its log ($LogFile) is not understood"


class _Restart(NamedTuple):
    page_size: int
    version: tuple[int, int]
    lsn: int
    clean: bool


def must_be_clean(log: Stream) -> None:
    """Raises NotFreeError unless the volume was unmounted, and no Windows has kept it."""
    if log.length < 4 << 10 or log.length > _LONGEST:
        raise damaged(_UNREADABLE)
    start = log.read(512, 0)
    if start == b"\xff" * 512:
        return _must_be_empty(log)
    pages = _restarts(log)
    for page in pages:
        _must_be_known(page.version)
    latest = max(pages, key=lambda page: page.lsn)
    if not latest.clean:
        raise NotFreeError(
            "it was not unmounted cleanly: start Windows with it, or run chkdsk, and shut it down"
        )
    return None


def is_kept(log: Stream) -> bool:
    """Whether a Windows has the volume in use, or sleeps. Raises NotFreeError where the log is not sound."""
    return log.read(512, 0) != b"\xff" * 512 and _KEPT in {page.version for page in _restarts(log)}


def _restarts(log: Stream) -> tuple[_Restart, _Restart]:
    first = _restart(log, 0)
    return first, _restart(log, first.page_size)


def _must_be_known(version: tuple[int, int]) -> None:
    if version == _KEPT:
        raise NotFreeError(
            "Windows has it in use, is hibernated, or keeps it for fast startup (its log has version 2.0): "
            "shut Windows down with `shutdown /s /f /t 0`"
        )
    if version != _VERSION:
        raise NotFreeError(
            f"its log has version {version[0]}.{version[1]}, which is not known here", "unknown"
        )


def _must_be_empty(log: Stream) -> None:
    for offset in range(0, log.length, _PIECE):
        piece = log.read(min(_PIECE, log.length - offset), offset)
        if piece.count(0xFF) != len(piece):
            raise damaged(_UNREADABLE)


def _restart(log: Stream, offset: int) -> _Restart:
    magic, page_size = struct.unpack("<4s12xI", log.read(20, offset))
    fits = (
        power_of_two(page_size, 512, 65536) and offset in (0, page_size) and offset + page_size <= log.length
    )
    if magic not in _MAGICS or not fits:
        raise damaged(_UNREADABLE)
    page = fixed_up(log.read(page_size, offset), magic, "a restart page of its log")
    _, _, area, minor, major = _PAGE.unpack_from(page, 16)
    if area % 8 or area + _AREA.size > page_size:
        raise damaged(_UNREADABLE)
    lsn, _, _, in_use, flags = _AREA.unpack_from(page, area)
    return _Restart(page_size, (major, minor), lsn, in_use == _NO_CLIENT or bool(flags & _CLEAN))
