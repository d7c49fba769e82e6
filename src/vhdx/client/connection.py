"""One connection to an NBD server, with many requests under way; a thread takes what comes back."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
import threading
import time
from typing import TYPE_CHECKING

from vhdx import wire
from vhdx.client.handshake import RefusedError, agree
from vhdx.client.replies import Replies, Request
from vhdx.waiting import LONGEST_WAIT, wait_for
from vhdx.wire import Command, Error, ProtocolError

if TYPE_CHECKING:
    from vhdx.client.address import ExportAddress

HANDSHAKE_SECONDS = 30.0
PATIENCE_SECONDS = 600.0
"""How long a server may be silent while something is asked of it."""
MOST_UNDER_WAY = 32
_JOINED = 64 * 1024
"""Bytes up to which a request and its payload are copied into one."""
_NO_ANSWER = "the server does not answer"
_GONE = "the server has closed the connection"
_NUMBERS: dict[int, int] = {
    int(error): getattr(errno, error.name) for error in Error if error is not Error.NONE
}


class Connection:
    """Asks, and hands out answers in whatever order they come. For several threads."""

    def __init__(self, address: ExportAddress) -> None:
        """Raises OSError where nobody listens, or no such export is there, or no NBD is spoken."""
        self.name = address.name
        self._socket = _connected(address)
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._pending: dict[int, Request] = {}
        self._cookies = itertools.count(1)
        self._failure: OSError | None = None
        self._asked = 0.0
        self._process = os.getpid()
        try:
            self.agreed = agree(_Handshake(self._socket, self.name), address.export)
        except (ProtocolError, RefusedError) as error:
            self._socket.close()
            number = errno.ENOENT if isinstance(error, RefusedError) else errno.EIO
            raise OSError(number, f"the NBD server is of no use: {error}", self.name) from None
        except BaseException:
            self._socket.close()
            raise
        self._socket.settimeout(_at_most(PATIENCE_SECONDS))
        self._replies = Replies(self.agreed, self._pending, self._receive_into)
        self._thread = threading.Thread(target=self._take_replies, name="NBD replies", daemon=True)
        self._thread.start()

    def begin(self, request: Request, payload: memoryview | None = None, flags: int = 0) -> Request:
        """Ask, without waiting for the answer; waits while too much is under way."""
        self._refuse_child()
        with self._changed:
            wait_for(self._changed, lambda: len(self._pending) < MOST_UNDER_WAY or self._failure is not None)
            self._check()
            cookie = next(self._cookies)
            self._pending[cookie] = request
            self._asked = time.monotonic()
        frame = wire.REQUEST.pack(
            wire.REQUEST_MAGIC, flags, request.kind, cookie, request.offset, request.length
        )
        try:
            with self._sending:
                self._send(frame, payload)
        except OSError as error:
            self._fail(error)
            self._check()
        except BaseException:  # half a request may be on its way
            self.abort()
            raise
        return request

    def _send(self, frame: bytes, payload: memoryview | None) -> None:
        if payload is not None and len(payload) <= _JOINED:
            frame, payload = frame + payload, None
        self._send_all(memoryview(frame))
        if payload is not None:
            self._send_all(payload)

    def _send_all(self, data: memoryview) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while data:
            try:
                data = data[self._socket.send(data) :]
            except TimeoutError:
                if self._failure is not None or time.monotonic() >= until:
                    raise

    def wait(self, request: Request) -> None:
        """Return when it is answered. Raises OSError where the answer is an error, or none comes."""
        self._refuse_child()
        try:
            with self._changed:
                wait_for(self._changed, lambda: request.is_done or self._failure is not None)
        except BaseException:  # what is read would still come, into a buffer of which nobody knows
            self.abort()
            raise
        if not request.is_done:
            self._check()
        if request.error is not None:
            raise self._told(request, *request.error)

    def _told(self, request: Request, number: int, text: str) -> OSError:
        """The server's error as one of this host."""
        found = _NUMBERS.get(number, errno.EINVAL)
        where = f", of the {request.length} bytes at {request.offset}" if request.length else ""
        return OSError(found, f"the NBD server says: {text[:200] or os.strerror(found)}{where}", self.name)

    def _refuse_child(self) -> None:
        """A fork has no thread that takes replies, and would ask between the requests of who forked."""
        if os.getpid() != self._process:
            raise OSError(
                errno.EBADF, "the connection belongs to the process that forked: open it anew", self.name
            )

    def _check(self) -> None:
        if self._failure is not None:
            raise OSError(self._failure.errno, self._failure.strerror, self.name) from None

    def _fail(self, error: OSError) -> None:
        """Nothing more can be asked; whoever waits is told."""
        with self._changed:
            if self._failure is None:
                text = _NO_ANSWER if isinstance(error, TimeoutError) else error.strerror or str(error)
                self._failure = OSError(error.errno or errno.EIO, text, self.name)
            self._changed.notify_all()

    def _take_replies(self) -> None:
        try:
            while True:
                cookie, request = self._replies.take()
                if request.is_done:
                    with self._changed:
                        del self._pending[cookie]
                        self._changed.notify_all()
        except ProtocolError as error:
            self._fail(OSError(errno.EIO, f"the NBD server breaks the protocol: {error}"))
        except MemoryError:
            self._fail(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)))
        except OSError as error:
            self._fail(error)
        finally:
            self._shut()  # whoever sends to a server that takes nothing waits no longer

    def _shut(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _receive_into(self, view: memoryview) -> None:
        heard = time.monotonic()
        while view:
            try:
                count = self._socket.recv_into(view)
            except TimeoutError:  # the silence may have begun long before anything was asked
                silent = time.monotonic() - max(self._asked, heard)
                if self._failure is not None or (self._pending and silent >= PATIENCE_SECONDS):
                    raise
                continue
            if not count:
                raise ConnectionResetError(errno.ECONNRESET, _GONE)
            view = view[count:]
            heard = time.monotonic()

    def abort(self) -> None:
        """Break off whatever is under way; nobody writes into a buffer of it afterwards."""
        self._fail(OSError(errno.ESHUTDOWN, "the connection was broken off"))
        self._shut()
        self._thread.join()

    def close(self) -> None:
        """End the session, which is not a fork's to end. Closing twice does no harm."""
        if os.getpid() != self._process:
            self._socket.close()
            return
        if self._failure is None and not self._pending:
            with contextlib.suppress(OSError):
                self._socket.sendall(wire.REQUEST.pack(wire.REQUEST_MAGIC, 0, Command.DISCONNECT, 0, 0, 0))
        self.abort()
        self._socket.close()


class _Handshake:
    """The socket as long as the handshake lasts, all of which has one deadline."""

    def __init__(self, connection: socket.socket, name: str) -> None:
        self._socket = connection
        self._name = name
        self._deadline = time.monotonic() + HANDSHAKE_SECONDS

    def receive(self, length: int) -> bytes:
        """Exactly so many bytes."""
        found = bytearray()
        while len(found) < length:
            left = self._deadline - time.monotonic()
            self._socket.settimeout(_at_most(max(0.001, left)))
            try:
                piece = self._socket.recv(length - len(found))
            except OSError as error:
                if isinstance(error, TimeoutError) and time.monotonic() < self._deadline:
                    continue
                raise self._named(error) from None
            if not piece:
                raise OSError(errno.ECONNRESET, _GONE, self._name)
            found += piece
        return bytes(found)

    def send(self, data: bytes) -> None:
        """All of them."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._named(error) from None

    def _named(self, error: OSError) -> OSError:
        text = _NO_ANSWER if isinstance(error, TimeoutError) else error.strerror
        return OSError(error.errno or errno.ETIMEDOUT, text, self._name)


def _at_most(seconds: float) -> float:
    """How long one call may wait: on Windows nobody wakes it, neither a signal nor who shuts the socket."""
    return seconds if LONGEST_WAIT is None else min(seconds, LONGEST_WAIT)


def _connected(address: ExportAddress) -> socket.socket:
    try:
        if not address.socket:
            connection = socket.create_connection((address.host, address.port), HANDSHAKE_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return connection
        if not hasattr(socket, "AF_UNIX"):
            raise ValueError(f"{address.name}: this Python has no Unix sockets; nbd://HOST:PORT/EXPORT")
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(HANDSHAKE_SECONDS)
            connection.connect(address.socket)
        except BaseException:
            connection.close()
            raise
    except OSError as error:
        number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno or errno.EIO
        raise OSError(number, f"no NBD server answers: {error.strerror or error}", address.name) from None
    return connection
