"""Which pieces of an upload are done, in a file that is written whole or not at all.

It belongs to one source as it was and to one blob, whose last page has the number of the upload: what was
begun of another one, or written over since, is never gone on with.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from vhdx.storage.publish import new_file
from vhdx.storage.runs import Runs

if TYPE_CHECKING:
    from collections.abc import Sequence

_KIND = "vhdx upload 1"
_LONGEST = 4 * 1024 * 1024
"""Bytes of a journal; pieces are sent in order, so that it has few runs."""


class Identity(NamedTuple):
    """What a journal is about, in words that are compared with what they were."""

    source: list[Any]
    """The format, the size of the disk, what of it is taken; of each file its size and times of change."""
    target: str
    size: int


class Journal:
    """Done pieces of one upload. For several threads at once."""

    def __init__(self, path: str, identity: Identity, upload: uuid.UUID, done: Runs, sent: int = 0) -> None:
        """``upload`` is the upload's own number, by which the blob is known again."""
        self._path, self._identity = path, identity
        self.upload, self.done, self.sent = upload, done, sent
        self._state, self._saving = threading.Lock(), threading.Lock()
        self._added = self._saved = 0

    def add(self, start: int, end: int, sent: int) -> None:
        """Return when the file says that this part of the disk is done, of which so many bytes were sent."""
        with self._state:
            self.done.add(start, end)
            self.sent += sent
            self._added += 1
            mine = self._added
        with self._saving:
            if self._saved < mine:  # else who waited for less has written it, too
                self.save()

    def save(self) -> None:
        """Write the file anew."""
        with self._state:
            added = self._added
            state = {"upload": self.upload.hex, "done": list(self.done), "sent": self.sent}
        body = json.dumps({"identity": self._identity, **state})
        told = {"kind": _KIND, "sum": _sum(body), "body": body}
        with new_file(self._path, overwrite=True) as file:
            file.write_at(json.dumps(told).encode(), 0)
        self._saved = added

    def remove(self) -> None:
        """It is not needed any more."""
        with contextlib.suppress(FileNotFoundError):  # the same command that runs twice
            os.unlink(self._path)


def journal_of(path: str, told: dict[str, Any] | None, identity: Identity) -> Journal:
    """The journal of this upload, of what one at ``path`` told, or a new one, which is not written yet.

    Raises ValueError for the journal of another upload.
    """
    if told is None:
        return Journal(path, identity, uuid.uuid4(), Runs())
    for word, was, now in zip(_WHAT, told["identity"], identity, strict=True):
        if was != _as_json(now):
            raise ValueError(
                f"{path} tells of an upload with another {word}: nothing was sent; remove it to begin anew"
            )
    done = Runs()
    for start, end in told["done"]:
        done.add(start, end)
    return Journal(path, identity, uuid.UUID(told["upload"]), done, told["sent"])


_WHAT = ("source, or the source was changed", "target", "size")


def read_journal(path: str) -> dict[str, Any] | None:
    """What a journal tells; None where no file is. Raises ValueError for a file that is none."""
    if not os.path.lexists(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            outer = json.loads(file.read(_LONGEST))
        body = str(outer["body"])
        if outer["kind"] != _KIND or outer["sum"] != _sum(body):
            raise ValueError
        told: dict[str, Any] = json.loads(body)
        size = told["identity"][-1]
        is_sound = len(told["identity"]) == len(_WHAT) and _are_runs(told["done"], size)
        uuid.UUID(told["upload"])
        if not is_sound or not 0 <= told["sent"] <= size:
            raise ValueError
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        raise ValueError(f"{path} is no journal of an upload, or not whole: it is left as it is") from None
    return told


def _are_runs(done: Sequence[Any], size: int) -> bool:
    return all(
        isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= size for start, end in done
    )


def _sum(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))
