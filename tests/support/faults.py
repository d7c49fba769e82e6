"""A host that fails: one chosen system call on the files of a folder gives an error, or does half its work.

Reads, writes, flushes, resizes and space requests are numbered in the order in which they are made.
"""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

CALLS = (
    (os, "pread"),
    (os, "preadv"),
    (os, "pwrite"),
    (os, "ftruncate"),
    (os, "fdatasync"),
    (fcntl, "ioctl"),
)
Really = Callable[..., Any]


class Call(NamedTuple):
    """One system call: its name and its arguments."""

    name: str
    arguments: tuple[Any, ...]


Fault = Callable[[Really, Call], Any]
"""What happens instead of a call; it may make the call after all."""


def fails_with(number: int) -> Fault:
    """The call does nothing and gives this error."""

    def fault(really: Really, call: Call) -> Any:
        raise OSError(number, os.strerror(number))

    return fault


def raises_before(error: type[BaseException]) -> Fault:
    """An exception arrives before the call is made."""

    def fault(really: Really, call: Call) -> Any:
        raise error

    return fault


def raises_after(error: type[BaseException]) -> Fault:
    """An exception arrives when the call has done its work."""

    def fault(really: Really, call: Call) -> Any:
        really(*call.arguments)
        raise error

    return fault


def does_half(really: Really, call: Call) -> Any:
    """A read or write moves half its bytes and says so; other calls do what they should."""
    if call.name not in ("pwrite", "pread", "preadv"):
        return really(*call.arguments)
    descriptor, what, *rest = call.arguments
    if call.name == "pwrite" and len(what) > 1:
        return really(descriptor, memoryview(what).cast("B")[: len(what) // 2], *rest)
    if call.name == "pread" and what > 1:
        return really(descriptor, what // 2, *rest)
    if call.name == "preadv" and len(what[0]) > 1:
        return really(descriptor, [memoryview(what[0])[: len(what[0]) // 2]], *rest)
    return really(*call.arguments)


def fails_after_half(really: Really, call: Call) -> Any:
    """A write moves half its sectors and then finds the disk full; other calls find it full at once."""
    if call.name == "pwrite":
        descriptor, data, file_offset = call.arguments
        border = (file_offset + len(data) // 2) // 512 * 512
        if border > file_offset:
            really(descriptor, memoryview(data).cast("B")[: border - file_offset], file_offset)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Host:
    """The calls that are made on the files of a folder, or on one file, and the fault that awaits one."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self.calls: list[Call] = []
        self.at: int | None = None
        self.fault: Fault | None = None
        self.struck: Call | None = None
        """The call that failed, None as long as none has."""

    def strike(self, at: int, fault: Fault) -> None:
        """Let call number ``at`` fail, counted from now on."""
        self.calls.clear()
        self.at, self.fault, self.struck = at, fault, None

    def pause(self) -> None:
        """Let nothing fail any more; what was struck stays known."""
        self.at = None

    def made(self, really: Really, call: Call) -> Any:
        """Make a call, or let it fail."""
        if not os.readlink(f"/proc/self/fd/{call.arguments[0]}").startswith(self._folder):
            return really(*call.arguments)
        self.calls.append(call)
        if self.fault is None or len(self.calls) - 1 != self.at:
            return really(*call.arguments)
        self.struck = call
        return self.fault(really, call)


@contextmanager
def failing_host(folder: Path) -> Iterator[Host]:
    """Let every call on files of the folder pass through a `Host`."""
    host = Host(folder)
    with pytest.MonkeyPatch.context() as patch:
        for module, name in CALLS:
            patch.setattr(module, name, _passing(host, name, getattr(module, name)))
        yield host


def _passing(host: Host, name: str, really: Really) -> Really:
    return lambda *arguments: host.made(really, Call(name, arguments))
