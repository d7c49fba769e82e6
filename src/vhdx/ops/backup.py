"""The bytes that a repair changes, saved before it changes them, and brought back.

A backup is one line of JSON, one with its SHA-256, and the bytes. The first line says ``format`` and
``version``, the image's name, its ``size_before`` and ``size_after``, the ``ranges`` [file offset, length]
whose bytes follow back to back, the SHA-256 of these bytes as they were and as the repair leaves them, and
for each sector of the headers that the repair changes its file offset and the SHA-256 of all that stands
there from its beginning to its end.

A line is appended when the repair is done. An undo appends a line and the headers that it found when it
begins, and another line when it is done. So a repair that was interrupted can be undone, and an undo that
was can be run again, but not if somebody changed the image in between: nobody does so without a new header.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from vhdx.errors import CorruptImageError
from vhdx.format.region import TABLE_OFFSETS
from vhdx.storage.cursor import reader_of
from vhdx.storage.file import open_for_writing, replaced_meanwhile
from vhdx.storage.publish import new_file
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vhdx.storage.base import ReadableStorage, Storage
    from vhdx.storage.file import FileStorage
    from vhdx.storage.staged import StagedChanges

_FORMAT, _VERSION = "vhdx repair backup", 1
_REPAIRED, _BEGUN, _DONE = b"\nrepaired\n", b"\nundo begun\n", b"\nundone\n"
_LONGEST_LINE = 64 * MIB
_HEADERS_END = TABLE_OFFSETS[0]
_SECTOR = 512
"""What is written as a whole or not at all."""

Range = tuple[int, int]


class Backup(NamedTuple):
    """What the first line of a backup says."""

    image: str
    size_before: int
    size_after: int
    ranges: tuple[Range, ...]
    sha256_before: str
    sha256_after: str
    headers: tuple[tuple[int, tuple[str, ...]], ...]

    @property
    def length(self) -> int:
        """How many bytes follow the line."""
        return sum(length for _, length in self.ranges)


@contextlib.contextmanager
def saved(path: str, image: ReadableStorage, staged: StagedChanges, *, lock: bool = True) -> Iterator[None]:
    """Write the backup of what a repair will change, durably; held while the ``with`` repairs.

    At its end the backup says that the repair is done: from then on the image is as that left it, or changed.
    Raises FileExistsError, ImageLockedError if others took the backup at once, OSError.
    """
    with (
        contextlib.closing(_save(path, image, staged)) as made,  # while it is open no other gets its identity
        contextlib.closing(open_for_writing(path, lock=lock)) as file,
    ):
        if file.identity() != made.identity():
            raise replaced_meanwhile(path)
        yield
        _append(file, file.size(), _REPAIRED)


def _save(path: str, image: ReadableStorage, staged: StagedChanges) -> FileStorage:
    ranges = tuple(staged.changed_ranges())
    backup = Backup(
        image=os.path.basename(image.name),
        size_before=image.size(),
        size_after=staged.size(),
        ranges=ranges,
        sha256_before=_digest(image, ranges),
        sha256_after=_digest(staged, ranges),
        headers=_header_sectors(staged),
    )
    line = json.dumps({"format": _FORMAT, "version": _VERSION, **backup._asdict()}).encode() + b"\n"
    if len(line) > _LONGEST_LINE:
        raise ValueError("this repair changes too many places for a backup: copy the image first")
    line += _line_of_digest(line)
    with new_file(path, overwrite=False) as file:
        file.write_at(line, 0)
        at = len(line)
        for piece in _pieces(image, ranges):
            file.write_at(piece, at)
            at += len(piece)
        return file.pinned()


def _header_sectors(staged: StagedChanges) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """The sectors of the headers that change: file offset, and digests of all that each ever holds."""
    states = list(staged.states_of(_HEADERS_END))
    found = []
    for at in range(0, _HEADERS_END, _SECTOR):
        held = {state[at : at + _SECTOR] for state in states}
        if len(held) > 1:
            found.append((at, tuple(sorted(hashlib.sha256(sector).hexdigest() for sector in held))))
    return tuple(found)


def _pieces(storage: ReadableStorage, ranges: Sequence[Range]) -> Iterator[bytes]:
    """The bytes of ranges, as far as the file has them."""
    size = storage.size()
    for start, length in ranges:
        end = min(start + length, size)
        for at in range(start, end, MIB):
            yield storage.read(min(MIB, end - at), at)


def _digest(storage: ReadableStorage, ranges: Sequence[Range]) -> str:
    digest = hashlib.sha256()
    for piece in _pieces(storage, ranges):
        digest.update(piece)
    return digest.hexdigest()


def restore(image: Storage, path: str, *, lock: bool = True) -> Backup:
    """Bring back what a backup saved; it is read whole and compared before the image is touched.

    Raises CorruptImageError unless the image is exactly as the repair left it, or as one that was interrupted
    or an interrupted undo did, and ValueError for a file that is no backup, or one that is damaged or was
    used before. OSError.
    """
    with contextlib.closing(open_for_writing(path, lock=lock)) as storage, reader_of(storage) as file:
        backup = _read_line(file, path)
        start = file.tell()
        _check_saved(file, backup, path)
        marks = file.read()
        is_repaired = marks.startswith(_REPAIRED)
        marks = marks.removeprefix(_REPAIRED)
        end = storage.size()
        if marks.endswith(_DONE):
            raise ValueError(f"{path} was used before; what it holds is in the image already")
        changed = (_changed_since if is_repaired else _changed_in_a_repair)(image, backup)
        found = marks[len(_BEGUN) : len(_BEGUN) + _HEADERS_END]
        if changed is None:  # no undo has changed anything yet: its mark, if there is one, is written again
            _append(storage, end - len(marks), _BEGUN + _headers(image))
        elif marks.startswith(_BEGUN) and len(found) == _HEADERS_END:
            file.seek(start)
            _check_half_undone(image, found, file, backup)
        else:
            raise CorruptImageError(changed, image=image.name)
        file.seek(start)
        _write_back(image, file, backup)
        _append(storage, storage.size(), _DONE)
    return backup


def _read_line(file: Any, path: str) -> Backup:
    line, digest = file.readline(_LONGEST_LINE), file.readline(_LONGEST_LINE)
    try:
        told = json.loads(line)
    except ValueError:
        told = None
    if not isinstance(told, dict) or (told.pop("format", 0), told.pop("version", 0)) != (_FORMAT, _VERSION):
        raise ValueError(f"{path} is no backup of a repair")
    if digest != _line_of_digest(line):
        raise ValueError(f"{path} is damaged: its first line is not the one that was written")
    ranges = tuple((start, length) for start, length in told.pop("ranges"))
    headers = tuple((at, tuple(held)) for at, held in told.pop("headers"))
    return Backup(**told, ranges=ranges, headers=headers)


def _line_of_digest(line: bytes) -> bytes:
    return hashlib.sha256(line).hexdigest().encode() + b"\n"


def _check_saved(file: Any, backup: Backup, path: str) -> None:
    digest = hashlib.sha256()
    left = backup.length
    while left:
        piece = file.read(min(MIB, left))
        if not piece:
            raise ValueError(f"{path} is too short")
        digest.update(piece)
        left -= len(piece)
    if digest.hexdigest() != backup.sha256_before:
        raise ValueError(f"{path} is damaged: its bytes are not those that were saved")


def _changed_since(image: Storage, backup: Backup) -> str | None:
    """What was changed since the repair was done; None if nothing."""
    was_not = "the image is not as the repair left it"
    if image.size() != backup.size_after:
        return f"{was_not}: it has {image.size()} bytes, the repair left {backup.size_after}"
    if _digest(image, backup.ranges) != backup.sha256_after:
        return f"{was_not}: what the repair changed was changed again since"
    return None


def _changed_in_a_repair(image: Storage, backup: Backup) -> str | None:
    """The same of a repair that was interrupted.

    Every sector of the headers must hold what it held before the repair or at some time in it.
    """
    now = _headers(image)
    for at, held in backup.headers:
        if hashlib.sha256(now[at : at + _SECTOR]).hexdigest() not in held:
            return "the image was changed after its repair was interrupted"
    return None


def _headers(image: ReadableStorage) -> bytes:
    """The identifier and the headers, and what is reserved around them."""
    return image.read(min(_HEADERS_END, image.size()), 0).ljust(_HEADERS_END, b"\0")


def _check_half_undone(image: Storage, found: bytes, saved: Any, backup: Backup) -> None:
    """Every sector of the headers must be as the repair left it or as it was before."""
    restored = bytearray(found)
    for start, length in backup.ranges:  # in order: those of the headers come first
        if start >= _HEADERS_END:
            break
        restored[start : min(start + length, _HEADERS_END)] = saved.read(min(length, _HEADERS_END - start))
    now = _headers(image)
    for at in range(0, _HEADERS_END, _SECTOR):
        sector = slice(at, at + _SECTOR)
        if now[sector] not in (found[sector], restored[sector]):
            detail = "the image was changed after an undo of its repair was interrupted"
            raise CorruptImageError(detail, image=image.name)


def _append(backup: Storage, end: int, mark: bytes) -> None:
    backup.write_at(mark, end)
    backup.flush()


def _write_back(image: Storage, file: Any, backup: Backup) -> None:
    if image.size() < backup.size_before:
        image.resize(backup.size_before)
    for start, length in backup.ranges:
        for at in range(start, start + length, MIB):
            image.write_at(file.read(min(MIB, start + length - at)), at)
    if image.size() > backup.size_before:
        image.resize(backup.size_before)
    image.flush()
