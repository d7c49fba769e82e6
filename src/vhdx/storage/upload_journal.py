"""The journal of an upload: which one it is, and the parts that the store has; a line of JSON each.

The first line appears whole or not at all. A later one that was not finished, as a crash may leave it, is no
part: that goes again.
"""

from __future__ import annotations

import contextlib
import json
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from vhdx.storage.file import open_for_writing
from vhdx.storage.multipart import MAXIMUM_PART, MAXIMUM_PARTS, Part
from vhdx.storage.publish import new_file, remove_file
from vhdx.units import MIB

if TYPE_CHECKING:
    from typing import Self


_VERSION = 1
_LONGEST = 4 * MIB
"""Bytes that are read of a journal: 50000 parts have less than three quarters of them."""


class UploadIdentity(NamedTuple):
    """What must be the same for an upload to be gone on with."""

    target: str
    endpoint: str
    made: list[Any]
    """What is made: format, type, sizes."""
    source: list[Any]
    """The files that are read: names, sizes, times."""


class Journal:
    """An open journal, held as a writer holds an image."""

    def __init__(self, path: str, upload_id: str, part_size: int, parts: dict[int, Part]) -> None:
        self.path = path
        self.upload_id = upload_id
        self.part_size = part_size
        self.parts = parts
        self._storage = open_for_writing(path)
        self._lock = threading.Lock()

    @classmethod
    def begin(cls, path: str, identity: UploadIdentity, upload_id: str, part_size: int) -> Self:
        """A new journal, durable before the first part goes. Raises FileExistsError, OSError."""
        first = {"vhdx-upload": _VERSION, "upload": upload_id, "part_size": part_size, **identity._asdict()}
        with new_file(path, overwrite=False) as file:
            file.write_at(json.dumps(first).encode() + b"\n", 0)
        return cls(path, upload_id, part_size, {})

    @classmethod
    def load(cls, path: str, identity: UploadIdentity) -> Self:
        """The journal that is there. Raises ValueError for one of another upload, and for what is none."""
        with open(path, "rb") as file:
            first, *lines = file.read(_LONGEST).split(b"\n")
        told = _object(first)
        if told.get("vhdx-upload") != _VERSION:
            raise ValueError(f"{path} is no journal of an upload that this version began")
        for name, wanted in identity._asdict().items():
            if told.get(name) != json.loads(json.dumps(wanted)):
                raise ValueError(
                    f"{path} is the journal of another upload, with another {name}: name another file for "
                    "this one"
                )
        upload_id, part_size = told.get("upload"), told.get("part_size")
        if not isinstance(upload_id, str) or not _is_count(part_size, MAXIMUM_PART):
            raise ValueError(f"{path} is damaged: remove it to begin anew")
        journal = cls(path, upload_id, part_size, dict(filter(None, map(_part, lines[:-1]))))
        if lines and lines[-1]:
            journal.end_line()
        return journal

    def add(self, number: int, part: Part) -> None:
        """Note a part that the store has."""
        self._append(json.dumps([number, *part]).encode() + b"\n")

    def end_line(self) -> None:
        """What comes stands in lines of its own, whatever stands before it."""
        self._append(b"\n")

    def _append(self, line: bytes) -> None:
        with self._lock:
            self._storage.write_at(line, self._storage.size())

    def close(self) -> None:
        """Let go of the file, which stays."""
        self._storage.close()

    def remove(self) -> None:
        """Remove it: the object is there."""
        remove_file(self.path, self._storage)


def _object(line: bytes) -> dict[str, Any]:
    found = None
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(line)
    return found if isinstance(found, dict) else {}


def _part(line: bytes) -> tuple[int, Part] | None:
    """A part that a line tells of; None for a line that is torn."""
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        number, length, digest, tag = json.loads(line)
        if (
            _is_count(number, MAXIMUM_PARTS)
            and _is_count(length, MAXIMUM_PART)
            and isinstance(digest, str)
            and isinstance(tag, str)
        ):
            return number, Part(length, digest, tag)
    return None


def _is_count(value: object, most: int) -> TypeGuard[int]:
    return type(value) is int and 0 < value <= most
