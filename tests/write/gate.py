"""A storage whose calls can be stopped at chosen moments: how a test makes threads meet where it wants."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vhdx.disk.chain import VhdxDisk
from vhdx.disk.open import writable_disk
from vhdx.storage.file import open_for_writing

from .tasks import reached

Chosen = Callable[[str, tuple[Any, ...]], bool]
"""Whether a call, by its name and arguments, is the one to be stopped."""


class Stop:
    """A call that is stopped: before it does anything, or when it has done everything."""

    def __init__(self, chosen: Chosen, *, after: bool) -> None:
        self._chosen = chosen
        self._after = after
        self._here, self._on = threading.Event(), threading.Event()
        self._lock = threading.Lock()

    def wait_until_there(self) -> None:
        """Return when a call has been stopped."""
        reached(self._here)

    def let_go(self) -> None:
        """Let the call go on; later calls are not stopped."""
        self._on.set()

    def passed(self, name: str, arguments: tuple[Any, ...], *, after: bool) -> None:
        """Called at both ends of each call."""
        if after != self._after or self._on.is_set() or not self._chosen(name, arguments):
            return
        with self._lock:
            first = not self._here.is_set()
            self._here.set()
        if first:
            reached(self._on)


class Gate:
    """A storage in front of another; keeps a record of the names of all calls."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self._stops: list[Stop] = []
        self.record: list[str] = []

    def stop(self, chosen: Chosen, *, after: bool = False) -> Stop:
        """Stop the next call that is chosen."""
        stop = Stop(chosen, after=after)
        self._stops.append(stop)
        return stop

    def __getattr__(self, name: str) -> Any:
        really = getattr(self._storage, name)
        if not callable(really):
            return really

        def call(*arguments: Any) -> Any:
            self.record.append(name)
            for stop in list(self._stops):
                stop.passed(name, arguments, after=False)
            result = really(*arguments)
            for stop in list(self._stops):
                stop.passed(name, arguments, after=True)
            return result

        return call


def gated(path: Path) -> tuple[Gate, VhdxDisk]:
    """An image opened for writing through a gate, which looks like a storage at run time only."""
    gate = Gate(open_for_writing(str(path)))
    return gate, writable_disk(gate)


def named(name: str, file_offset: int, end: int | None = None) -> Chosen:
    """Calls of that name on a file offset, or between two."""

    def chosen(called: str, arguments: tuple[Any, ...]) -> bool:
        return called == name and file_offset <= arguments[1] < (file_offset + 1 if end is None else end)

    return chosen
