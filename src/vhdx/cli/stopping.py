"""Signals that end a server, from the first moment to the last of its closing."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.nbd.server import Server


class Signals:
    """The signals that end a server and are no failure; nor do they break off its closing."""

    def __init__(self) -> None:
        self._came = False
        self._server: Server | None = None

    def __call__(self, *_: object) -> None:
        self._came = True
        if self._server is not None:
            self._server.stop()

    def stop(self, server: Server) -> None:
        """Stop this server when a signal comes, or at once if one came."""
        self._server = server
        if self._came:
            server.stop()


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[Signals]:
    signals = Signals()
    # Who closes a terminal often sends SIGHUP twice, once by the shell and once by the host.
    every = ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK")
    known = [getattr(signal, name) for name in every if hasattr(signal, name)]
    numbers = [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]  # as nohup does
    before = [signal.signal(number, signals) for number in numbers]
    try:
        yield signals
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
