"""A command that runs while a server serves, and ends it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PATIENCE = 10.0
"""Seconds that a command gets to end when the server does."""


class Address(NamedTuple):
    """Where a server can be reached: the words that the command finds in its environment."""

    uri: str
    nbd: str
    """As QEMU once wanted it."""
    port: str
    unixsocket: str


def address_of(listener: socket.socket, uri: str) -> Address:
    """The address of a socket that listens; ``uri`` is that of the export."""
    if listener.family == getattr(socket, "AF_UNIX", None):
        path = os.path.abspath(os.fsdecode(listener.getsockname()))
        return Address(uri, f"nbd:unix:{path}", "", path)
    host, port = listener.getsockname()[:2]
    return Address(uri, f"nbd:{f'[{host}]' if ':' in host else host}:{port}", str(port), "")


class Beside:
    """The command once it runs; its exit code when it has ended, 128 and more where a signal ended it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def code(self) -> int:
        """As a shell tells it."""
        code = self._process.wait()
        return 128 - code if code < 0 else code


@contextlib.contextmanager
def running(command: str, address: Address, ended: Callable[[], None]) -> Iterator[Beside]:
    """Run a command by the shell; ``ended`` is called, by another thread, when it has.

    Where the block ends first the command is told to end (TERM), and waited for.
    """
    process = subprocess.Popen(command, shell=True, env={**os.environ, **address._asdict()})  # noqa: S602
    threading.Thread(target=_tell_end, args=(process, ended), daemon=True).start()
    try:
        yield Beside(process)
    finally:
        process.terminate()  # nothing where it has ended
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _tell_end(process: subprocess.Popen[bytes], ended: Callable[[], None]) -> None:
    process.wait()
    ended()
