"""A trip wire over the system calls by which files are made: the n-th of them fails, or is interrupted."""

import errno
import os
from collections.abc import Callable
from typing import Any, Literal

import pytest

Kind = Literal["ENOSPC", "EIO", "interrupt before", "interrupt after"]
KINDS: tuple[Kind, ...] = ("ENOSPC", "EIO", "interrupt before", "interrupt after")

CALLS = ("open", "pwrite", "ftruncate", "fdatasync", "fsync", "link", "replace")


class TripWire:
    """Counts the calls that change a file system; lets the one numbered ``at`` (from 0) go wrong.

    Opening counts only where it creates something. Nothing that cleans up (close, unlink) is counted.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self._at: int | None = None
        self._kind: Kind = "EIO"
        for name in CALLS:
            monkeypatch.setattr(os, name, self._wrapped(name, getattr(os, name)))
        import fcntl  # noqa: PLC0415  absent on Windows

        monkeypatch.setattr(fcntl, "ioctl", self._wrapped("ioctl", fcntl.ioctl))

    def arm(self, at: int | None, kind: Kind = "EIO") -> None:
        """Begin to count anew."""
        self.calls, self._at, self._kind = [], at, kind

    @property
    def tripped(self) -> bool:
        """Whether the call came that went wrong."""
        return self._at is not None and len(self.calls) > self._at

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if name == "open" and not (len(arguments) > 1 and arguments[1] & os.O_CREAT):
                return real(*arguments, **named)
            self.calls.append(name)
            mine = self._at == len(self.calls) - 1
            if mine and self._kind != "interrupt after":
                raise self._trouble()
            result = real(*arguments, **named)
            if mine:
                raise self._trouble()
            return result

        return call

    def _trouble(self) -> BaseException:
        if self._kind in ("ENOSPC", "EIO"):
            number = getattr(errno, self._kind)
            return OSError(number, os.strerror(number))
        return KeyboardInterrupt()
