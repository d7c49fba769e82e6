"""What comes back for requests: each reply goes to the one that asked, and only what it asked for.

Contents are received to where they are wanted. Whatever does not fit raises ProtocolError: nothing that
comes behind it could be told apart.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from vhdx import wire
from vhdx.storage.base import fill_zeros
from vhdx.storage.runs import Runs
from vhdx.wire import CHUNK_DONE, Chunk, Command, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vhdx.client.handshake import Agreed

_OFFSET = struct.Struct(">Q")
_HOLE = struct.Struct(">QI")
_ERROR = struct.Struct(">IH")
_CONTEXT = struct.Struct(">I")
RUN = struct.Struct(">II")
_REST_OF_CHUNK = wire.CHUNK.size - wire.SIMPLE_REPLY.size
_LONGEST_ERROR = _ERROR.size + wire.MAXIMUM_STRING + _OFFSET.size
_LONGEST_STATUS = _CONTEXT.size + RUN.size * (1 << 20)
_FIRST_ERROR = 0x8000
_MOST_ERRORS = 256
"""Parts of one reply that tell of errors."""


class Request:
    """What was asked: ``view`` gets what is read, ``runs`` the raw pairs of a block status."""

    def __init__(self, kind: Command, offset: int, length: int, view: memoryview | None = None) -> None:
        self.kind = kind
        self.offset = offset
        self.length = length
        self.view = view
        self.runs = b""
        self.error: tuple[int, str] | None = None
        """Its number on the wire, and the server's words."""
        self.errors = 0
        self.is_done = False
        self.covered = Runs()

    @property
    def end(self) -> int:
        """The offset just behind it."""
        return self.offset + self.length

    def place(self, offset: int, length: int) -> memoryview:
        """Where bytes of the answer belong, once. Raises ProtocolError for others than were asked for."""
        end = offset + length
        if self.view is None or length <= 0 or offset < self.offset or end > self.end:
            raise ProtocolError(f"it answers with {length} bytes at {offset}, which nobody asked for")
        if self.covered.meets(offset, end):
            raise ProtocolError(f"it answers twice with the bytes at {offset}")
        self.covered.add(offset, end)
        return self.view[offset - self.offset : end - self.offset]

    def finish(self) -> None:
        """Raises ProtocolError for a read of which something is missing."""
        whole = [(self.offset, self.end)] if self.length else []
        if self.kind is Command.READ and self.error is None and list(self.covered) != whole:
            raise ProtocolError(f"it answers with less than the {self.length} bytes at {self.offset}")
        self.is_done = True


class Replies:
    """Receives replies to the requests in ``pending``, by their cookies."""

    def __init__(
        self,
        agreed: Agreed,
        pending: Mapping[int, Request],
        receive_into: Callable[[memoryview], None],
    ) -> None:
        self._agreed = agreed
        self._pending = pending
        self._receive_into = receive_into
        self._by_type: dict[int, Callable[[Request, int], None]] = {
            Chunk.NONE: self._nothing,
            Chunk.DATA: self._data,
            Chunk.HOLE: self._hole,
            Chunk.BLOCK_STATUS: self._status,
        }

    def _receive(self, length: int) -> bytes:
        buffer = bytearray(length)
        self._receive_into(memoryview(buffer))
        return bytes(buffer)

    def take(self) -> tuple[int, Request]:
        """The next reply or part of one: the cookie and the request, which may be done."""
        frame = self._receive(wire.SIMPLE_REPLY.size)
        magic = int.from_bytes(frame[:4], "big")
        if magic == wire.SIMPLE_REPLY_MAGIC:
            return self._simple(frame)
        if magic != wire.CHUNK_MAGIC or not self._agreed.structured:
            raise ProtocolError(f"its reply begins with {magic:#x}")
        _, flags, kind, cookie, length = wire.CHUNK.unpack(frame + self._receive(_REST_OF_CHUNK))
        request = self._asked(cookie)
        handler = self._error if kind >= _FIRST_ERROR else self._by_type.get(kind)
        if handler is None or (kind == Chunk.NONE and not flags & CHUNK_DONE):
            raise ProtocolError(f"its reply has a part of type {kind}")
        handler(request, length)
        if flags & CHUNK_DONE:
            request.finish()
        return cookie, request

    def _asked(self, cookie: int) -> Request:
        request = self._pending.get(cookie)
        if request is None:
            raise ProtocolError("it replies to what nobody asked")
        return request

    def _simple(self, frame: bytes) -> tuple[int, Request]:
        _, error, cookie = wire.SIMPLE_REPLY.unpack(frame)
        request = self._asked(cookie)
        if error:
            request.error = error, ""
        elif request.kind is Command.READ:
            if self._agreed.structured:
                raise ProtocolError("its reply to a read has no parts, as was agreed")
            self._receive_into(request.place(request.offset, request.length))
        request.finish()
        return cookie, request

    def _nothing(self, request: Request, length: int) -> None:  # noqa: ARG002  all handlers look alike
        _expect(length == 0)

    def _data(self, request: Request, length: int) -> None:
        _expect(length > _OFFSET.size)
        (offset,) = _OFFSET.unpack(self._receive(_OFFSET.size))
        self._receive_into(request.place(offset, length - _OFFSET.size))

    def _hole(self, request: Request, length: int) -> None:
        _expect(length == _HOLE.size)
        fill_zeros(request.place(*_HOLE.unpack(self._receive(length))))

    def _status(self, request: Request, length: int) -> None:
        runs = length - _CONTEXT.size
        _expect(
            request.kind is Command.BLOCK_STATUS
            and not request.runs
            and 0 < runs <= _LONGEST_STATUS
            and runs % RUN.size == 0
        )
        (context,) = _CONTEXT.unpack(self._receive(_CONTEXT.size))
        _expect(context == self._agreed.context)
        request.runs = self._receive(runs)

    def _error(self, request: Request, length: int) -> None:
        _expect(_ERROR.size <= length <= _LONGEST_ERROR)
        payload = self._receive(length)
        number, count = _ERROR.unpack_from(payload)
        request.errors += 1
        _expect(number != 0 and request.errors <= _MOST_ERRORS)
        text = payload[_ERROR.size : _ERROR.size + count].decode(errors="replace")
        request.error = request.error or (number, text)


def _expect(is_so: bool) -> None:
    if not is_so:
        raise ProtocolError("a part of its reply has a length or a value that cannot be")
