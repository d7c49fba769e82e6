"""The log of a run that changes images: a line before each is touched, a line with what became of it."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from vhdx.fleet.columns import text_of

if TYPE_CHECKING:
    from vhdx.fleet.columns import Row
    from vhdx.fleet.task import Task


class ChangeLog:
    """A file that is only added to, by each run; every line is in it before anything else is done."""

    def __init__(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
        self._descriptor = os.open(path, flags, 0o666)

    def begun(self, task: Task) -> None:
        """An image is given to a worker."""
        options = {name: value for name, value in task.options._asdict().items() if name != "parents"}
        self._add({"event": "begun", "verb": task.verb, "path": text_of(task.image.path), "options": options})

    def done(self, row: Row) -> None:
        """A worker has told what became of it."""
        self._add({"event": "done", **row})

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _add(self, event: Row) -> None:
        os.write(self._descriptor, (json.dumps({"at_ns": time.time_ns(), **event}) + "\n").encode())
