"""Accepting clients, as many as may be, until the server is told to stop. A thread for each client."""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING

from vhdx.nbd.connection import Connection
from vhdx.waiting import LONGEST_WAIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vhdx.nbd.connection import ServerState

MAXIMUM_CONNECTIONS = 100
GRACE = 10.0
"""Seconds that clients get to take their answers when the server stops."""
_PAUSE = 0.5
"""Seconds to wait where the host has no descriptors or threads left, or trouble with its network."""
_NO_LISTENER = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP})
"""All other failures pass: Linux also tells here what went wrong with a client that waited."""


class Server:
    """Serves the exports of a server on sockets that listen already. The caller closes both at the end.

    ``once`` ends it when the last client has left, ``timeout`` if none has come after so many seconds.
    """

    def __init__(
        self,
        state: ServerState,
        listeners: Sequence[socket.socket],
        *,
        maximum_connections: int = MAXIMUM_CONNECTIONS,
        once: bool = False,
        timeout: float | None = None,
        grace: float = GRACE,
    ) -> None:
        self._state = state
        self._listeners = tuple(listeners)
        self._maximum = maximum_connections
        self._once = once
        self._timeout = timeout
        self._grace = grace
        self._lock = threading.RLock()  # a signal's handler may find its own thread inside
        self._connections: dict[Connection, threading.Thread] = {}
        self._ending = 0
        self._served = 0
        self.nobody_came = False
        """Whether it ended because no client came in time."""
        self._stopping = False
        self._over = False
        """Whether the pair is closed."""
        self._awake, self._wake = socket.socketpair()  # Windows waits for sockets, not for pipes
        self._wake.setblocking(False)

    def stop(self) -> None:
        """Let what is in flight finish, take nothing more, end. From any thread, and from signal handlers."""
        self._stopping = True
        self._nudge()

    def _nudge(self) -> None:
        with self._lock, contextlib.suppress(BlockingIOError):  # it is awake already
            if not self._over:
                self._wake.send(b"!")

    def serve(self) -> None:
        """Accept and serve until `stop`, or until the last client left if that is the end."""
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._awake, selectors.EVENT_READ)
                self._accept_all(selector)
        finally:
            self._end()
            with self._lock:
                self._over = True
                self._awake.close()
                self._wake.close()

    def _accept_all(self, selector: selectors.BaseSelector) -> None:
        listening = False
        until = None if self._timeout is None else time.monotonic() + self._timeout
        for listener in self._listeners:
            listener.setblocking(False)
        while not self._stopping and not (self._once and self._served and not self._connections):
            wanted = len(self._connections) < self._maximum
            if wanted is not listening:  # who comes when all places are taken waits in the host's queue
                for listener in self._listeners:
                    if wanted:
                        selector.register(listener, selectors.EVENT_READ)
                    else:
                        selector.unregister(listener)
                listening = wanted
            ready = selector.select(self._wait(until))
            if not ready and self._patience(until) == 0:
                self.nobody_came = True
                return
            for key, _ in ready:
                if key.fileobj is self._awake:
                    self._awake.recv(4096)
                elif isinstance(key.fileobj, socket.socket) and len(self._connections) < self._maximum:
                    self._accept(key.fileobj)

    def _patience(self, until: float | None) -> float | None:
        """Seconds that the first client may take to come; None once it has, or where it has all the time."""
        return None if until is None or self._served else max(0.0, until - time.monotonic())

    def _wait(self, until: float | None) -> float | None:
        """Seconds to wait for the next client."""
        given = [seconds for seconds in (self._patience(until), LONGEST_WAIT) if seconds is not None]
        return min(given, default=None)

    def _accept(self, listener: socket.socket) -> None:
        try:
            accepted, address = listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # the client has thought better of it
        except OSError as error:
            if error.errno in _NO_LISTENER:
                raise
            self._state.log(f"no client is accepted for a moment: {error.strerror}")
            time.sleep(_PAUSE)
            return
        try:
            accepted.setblocking(True)
            if accepted.family in (socket.AF_INET, socket.AF_INET6):
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            accepted.close()  # macOS says so of a client that has gone already
            return
        self._start(Connection(accepted, _peer(address), self._state), accepted)

    def _start(self, connection: Connection, accepted: socket.socket) -> None:
        thread = threading.Thread(target=self._run, args=(connection,), name="nbd-client", daemon=True)
        with self._lock:
            self._connections[connection] = thread
        self._served += 1
        try:
            thread.start()
        except RuntimeError:
            with self._lock:
                del self._connections[connection]
            accepted.close()
            self._state.log("a client was turned away: the host gives no more threads")
            time.sleep(_PAUSE)

    def _run(self, connection: Connection) -> None:
        try:
            connection.run()
        finally:
            with self._lock:
                self._ending += 1
                last = self._ending == len(self._connections)
            if last:
                self._flush()
            with self._lock:
                self._ending -= 1
                del self._connections[connection]
            self._nudge()

    def _flush(self) -> None:
        """Nobody is left who could ask for it."""
        for export in self._state.exports.values():
            try:
                export.flush()
            except Exception as error:  # noqa: BLE001  any way it failed, this is where it is told
                self._state.log(f"export {export.offer.name}: {error}")

    def _end(self) -> None:
        for export in self._state.exports.values():
            export.stopping.set()
        self._for_all(Connection.stop)
        self._join(self._grace)
        self._for_all(Connection.cut)
        self._join(self._grace / 10)

    def _for_all(self, what: Callable[[Connection], None]) -> None:
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            what(connection)

    def _join(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        with self._lock:
            threads = list(self._connections.values())
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def _peer(address: object) -> str:
    """What the log calls a client."""
    if isinstance(address, tuple):
        return f"client {address[0]} port {address[1]}"
    return "a client"
