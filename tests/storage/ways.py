"""The ways in which a new file gets its name, each of which can be forced, and others at any call of them."""

import errno
import os
import sys
from collections.abc import Callable
from typing import Any, Literal, get_args

import pytest

if sys.platform != "win32":
    from vhdx.storage import host

Way = Literal["link", "rename", "claim"]
WAYS: tuple[Way, ...] = get_args(Way)
WITHOUT_LINKS: tuple[Way, ...] = ("rename", "claim")


def force(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this host one on which files get their names in this way."""

    def link(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))  # as vfat says

    if way != "link":
        monkeypatch.setattr(os, "link", link)
    if way == "claim":
        monkeypatch.setattr(host, "rename_to_new", lambda *_: False)


class Interposed:
    """Counts the calls by which files are opened, locked, compared and named; at one of them others act.

    ``action`` is called once, before the call numbered ``at`` (from 0), or behind it.
    """

    CALLS = ("open", "stat", "lstat", "fstat", "pwrite", "fdatasync", "fsync", "link", "replace", "unlink")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.acted = False
        self._at: int | None = None
        self._behind = False
        self._action: Callable[[], None] = lambda: None
        self._is_inside = False
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self._wrapped(name, getattr(os, name)))
        import fcntl  # noqa: PLC0415  absent on Windows

        monkeypatch.setattr(fcntl, "fcntl", self._wrapped("fcntl", fcntl.fcntl))
        monkeypatch.setattr(host, "rename_to_new", self._wrapped("rename", host.rename_to_new))

    def arm(self, at: int, action: Callable[[], None] = lambda: None, *, behind: bool = False) -> None:
        """Begin to count anew."""
        self.calls, self.acted = [], False
        self._at, self._action, self._behind = at, action, behind

    def disarm(self) -> None:
        """Nothing is counted any more."""
        self._at = None

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if self._is_inside or self._at is None:
                return real(*arguments, **named)
            self.calls.append(name)
            mine = len(self.calls) - 1 == self._at
            if mine and not self._behind:
                self._act()
            try:
                return real(*arguments, **named)
            finally:
                if mine and self._behind:
                    self._act()

        return call

    def _act(self) -> None:
        self.acted = self._is_inside = True
        try:
            self._action()
        finally:
            self._is_inside = False
