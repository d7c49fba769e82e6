"""Bytes to and from one client, in the clear or over TLS, with a deadline for every wait that needs one.

In transmission the kernel keeps the time (``SO_RCVTIMEO``, ``SO_SNDTIMEO``): Python's own timeouts cost a
second system call for each. Windows may lose bytes where its kernel keeps the time, cannot send several
buffers at once, and need not wake who waits when the socket is shut: there a wait is many short ones.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Protocol

from vhdx.nbd.eager import EagerReceiver

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    Sendable = bytes | bytearray | memoryview

_BUFFERS_AT_ONCE = 512  # half of what hosts take in one call
_SEND_BUFFER = 1024 * 1024
_SHORT_WAIT = 0.25
"""Seconds after which a wait looks whether it is over, where nobody would wake it."""
_JOINED = 64 * 1024
"""Bytes up to which it costs less to copy buffers into one than to send them as several."""


class TooSlowError(Exception):
    """The client took longer than it is given."""


class Transport(Protocol):
    """What a connection needs of its socket."""

    @property
    def one_thread(self) -> bool:
        """Whether only one thread may use it."""

    def receive_into(self, view: memoryview) -> int:
        """How many bytes came; 0 at the end. Raises TimeoutError if none came for the frame's time."""

    def send(self, buffers: Sequence[Sendable]) -> None:
        """Send all of it. Raises TooSlowError where the client does not take it, OSError where it is gone."""

    def stop_receiving(self) -> None:
        """Wake whoever receives: that is the end of what comes. From any thread."""

    def shut(self) -> None:
        """Wake everybody who waits, with an error. From any thread."""

    def close(self) -> None:
        """Let go of the socket. Nobody may be using it any more."""


def _receive_exactly(connection: socket.socket, length: int, deadline: float) -> bytes:
    """Exactly so many bytes, or b"" at an end before the first. Raises TooSlowError, ConnectionError."""
    pieces: list[bytes] = []
    missing = length
    while missing:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TooSlowError("the handshake took too long")
        connection.settimeout(min(left, _SHORT_WAIT))
        try:
            piece = connection.recv(min(missing, 65536))
        except TimeoutError:
            continue
        if not piece:
            if not pieces:
                return b""
            raise ConnectionError("the client ended in the middle of the handshake")
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


class HandshakeSocket:
    """The socket during the handshake, all of which has one deadline. Reads nothing ahead."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._socket = connection
        self._deadline = time.monotonic() + seconds
        self._secure = False

    def receive(self, length: int) -> bytes:
        """Exactly so many bytes, or b"" at an end before the first."""
        return _receive_exactly(self._socket, length, self._deadline) if length else b""

    def send(self, data: bytes) -> None:
        """Send all of it, within the deadline."""
        self._socket.settimeout(max(0.001, self._deadline - time.monotonic()))
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise TooSlowError("the handshake took too long") from None

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Do the handshake of TLS. Raises OSError where the client cannot show who it is."""
        self._socket.settimeout(max(0.001, self._deadline - time.monotonic()))
        try:
            # Ours before the handshake begins: whoever stops the server must be able to wake it.
            self._socket = secure = context.wrap_socket(
                self._socket, server_side=True, do_handshake_on_connect=False
            )
            secure.do_handshake()
        except TimeoutError:
            raise TooSlowError("the handshake took too long") from None
        self._secure = True

    def transport(self, seconds: float) -> Transport:
        """The same socket for requests; ``seconds`` is how long a frame may take."""
        return (SecureTransport if self._secure else _PLAIN)(self._socket, seconds)

    def shut(self) -> None:
        """Wake whoever waits. From any thread."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # under TLS, which is the other thread's

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()


class PlainTransport:
    """A socket in the clear, for several threads."""

    one_thread = False

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._socket = connection
        self._seconds = seconds
        connection.settimeout(None)
        timeval = struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if connection.family == getattr(socket, "AF_UNIX", None):  # TCP finds its size by itself
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._eager = EagerReceiver(connection)

    def receive_into(self, view: memoryview) -> int:
        """As `Transport`."""
        try:
            return self._eager.receive_into(view) or self._socket.recv_into(view)
        except BlockingIOError:
            raise TimeoutError from None

    def send(self, buffers: Sequence[Sendable]) -> None:
        """As `Transport`."""
        try:
            length = sum(map(len, buffers))
            if length <= _JOINED:
                done = self._socket.send(b"".join(buffers))
            else:
                done = self._socket.sendmsg(buffers[:_BUFFERS_AT_ONCE])
            if done != length:
                self._send_rest(buffers, done)
        except BlockingIOError:
            raise TooSlowError("it does not take its answers") from None

    def _send_rest(self, buffers: Sequence[Sendable], done: int) -> None:
        deadline = time.monotonic() + self._seconds
        waiting = [memoryview(buffer) for buffer in buffers]
        while True:
            while waiting and done >= len(waiting[0]):
                done -= len(waiting.pop(0))
            if not waiting:
                return
            if time.monotonic() > deadline:
                raise TooSlowError("it takes its answers too slowly")
            waiting[0] = waiting[0][done:]
            done = self._socket.sendmsg(waiting[:_BUFFERS_AT_ONCE])

    def stop_receiving(self) -> None:
        """As `Transport`."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def shut(self) -> None:
        """As `Transport`."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """As `Transport`."""
        self._eager.close()
        self._socket.close()


class PatientTransport:
    """A socket in the clear, for several threads, that needs nothing of its host but short waits."""

    one_thread = False

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._socket = connection
        self._seconds = seconds
        self._ended = False
        connection.settimeout(_SHORT_WAIT)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def receive_into(self, view: memoryview) -> int:
        """As `Transport`."""
        deadline = time.monotonic() + self._seconds
        while not self._ended:
            try:
                return self._socket.recv_into(view)
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise
        return 0

    def send(self, buffers: Sequence[Sendable]) -> None:
        """As `Transport`."""
        deadline = time.monotonic() + self._seconds
        waiting = [memoryview(buffer) for buffer in buffers if len(buffer)]
        waiting.reverse()
        while waiting:
            piece = _next_piece(waiting)
            while piece:
                try:
                    piece = piece[self._socket.send(piece) :]
                except TimeoutError:
                    if time.monotonic() > deadline:
                        raise TooSlowError("it does not take its answers") from None

    def stop_receiving(self) -> None:
        """As `Transport`."""
        self._ended = True

    def shut(self) -> None:
        """As `Transport`."""
        self._ended = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """As `Transport`."""
        self._socket.close()


def _next_piece(waiting: list[memoryview]) -> memoryview:
    """What is sent at once: several buffers where they are small. Takes them from the end of the list."""
    if len(waiting) == 1 or len(waiting[-1]) >= _JOINED:
        return waiting.pop()
    joined = bytearray()
    while waiting and len(joined) + len(waiting[-1]) <= _JOINED:
        joined += waiting.pop()
    return memoryview(joined)


_PLAIN = PatientTransport if sys.platform == "win32" else PlainTransport


class SecureTransport:
    """A socket under TLS: OpenSSL forbids that two threads use one at the same time."""

    one_thread = True

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._socket = connection
        connection.settimeout(seconds)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def receive_into(self, view: memoryview) -> int:
        """As `Transport`."""
        return self._socket.recv_into(view)

    def send(self, buffers: Sequence[Sendable]) -> None:
        """As `Transport`."""
        try:
            self._socket.sendall(b"".join(buffers))
        except TimeoutError:
            raise TooSlowError("it does not take its answers") from None

    def stop_receiving(self) -> None:
        """As `Transport`."""
        self._shutdown(socket.SHUT_RD)

    def shut(self) -> None:
        """As `Transport`."""
        self._shutdown(socket.SHUT_RDWR)

    def _shutdown(self, how: int) -> None:
        """Of the socket under TLS: TLS itself belongs to the other thread."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, how)

    def close(self) -> None:
        """As `Transport`."""
        self._socket.close()
