"""Requests and answers once the handshake is over: which request is in order, and how answers look. Pure.

An answer is a list of buffers, so that contents are sent from where they were read to. Three kinds of
answers exist, by what was agreed upon: simple ones, structured ones in chunks, and the same with extended
headers, whose offsets and lengths have 64 bits throughout.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple, Protocol

from vhdx import wire
from vhdx.wire import (
    BLOCK_STATUS,
    CHUNK_DONE,
    DATA,
    DF,
    FLUSH,
    FUA,
    PAYLOAD_LEN,
    READ,
    WRITE,
    Chunk,
    Command,
    CommandFlag,
    Error,
    ExportFlag,
    ProtocolError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from vhdx.nbd.negotiate import Agreement

    Buffers = list[bytes | bytearray | memoryview]
    Contents = bytes | bytearray
    Runs = Sequence[tuple[int, int]]

DRAIN_LIMIT = 2 * wire.MAXIMUM_PAYLOAD
"""Bytes of a payload that are taken in to be refused; whoever sends more is dropped."""
DF_LIMIT = 1024 * 1024
"""Bytes of a READ that may not be split; they are held in memory at once."""
HOLE_GRAIN = 32 * 1024
"""Bytes that must be zeros for a read to say so instead of sending them."""
_ZEROS = bytes(HOLE_GRAIN)
_TEXT_LIMIT = 200  # QEMU drops the connection over messages of more than 994 bytes

_DATA_CHUNK = struct.Struct(wire.CHUNK.format + "Q")  # the chunk and the offset of its data
_EXTENDED_DATA_CHUNK = struct.Struct(wire.EXTENDED_CHUNK.format + "Q")
_HOLE = struct.Struct(">QI")
_ERROR = struct.Struct(">IH")
_STATUS = struct.Struct(">I")
_STATUS_RUN = struct.Struct(">II")
_EXTENDED_STATUS = struct.Struct(">II")
_EXTENDED_STATUS_RUN = struct.Struct(">QQ")


class Request(NamedTuple):
    """What a client wants. ``offset`` and ``length`` are bytes of the export."""

    flags: int
    type: int
    cookie: int
    offset: int
    length: int


class _Rule(NamedTuple):
    """What a command may be: its flags beside FUA, whether it changes the disk, the error past the end."""

    flags: int = 0
    changes: bool = False
    past_end: Error = Error.EINVAL


_RULES: dict[int, _Rule] = {
    Command.READ: _Rule(CommandFlag.DF),
    Command.WRITE: _Rule(CommandFlag.PAYLOAD_LEN, changes=True, past_end=Error.ENOSPC),
    Command.FLUSH: _Rule(),
    Command.TRIM: _Rule(changes=True),
    Command.CACHE: _Rule(),
    Command.WRITE_ZEROES: _Rule(
        CommandFlag.NO_HOLE | CommandFlag.FAST_ZERO, changes=True, past_end=Error.ENOSPC
    ),
    Command.BLOCK_STATUS: _Rule(CommandFlag.REQ_ONE | CommandFlag.PAYLOAD_LEN),
}
_OFFERED_BY = {
    CommandFlag.DF: ExportFlag.SEND_DF,
    CommandFlag.FAST_ZERO: ExportFlag.SEND_FAST_ZERO,
}
"""Flags that a client may only use where the export said so."""


class Requests:
    """Takes requests apart and judges them by what was agreed upon."""

    def __init__(self, agreement: Agreement) -> None:
        self._size = agreement.offer.size
        self._read_only = bool(agreement.flags & ExportFlag.READ_ONLY)
        self._structured = agreement.structured or agreement.extended
        self._has_contexts = bool(agreement.contexts)
        self._frame = wire.EXTENDED_REQUEST if agreement.extended else wire.REQUEST
        self._magic = wire.EXTENDED_REQUEST_MAGIC if agreement.extended else wire.REQUEST_MAGIC
        self.frame_size = self._frame.size
        usable = FUA | int(CommandFlag.NO_HOLE | CommandFlag.REQ_ONE)
        self._payload = PAYLOAD_LEN if agreement.extended else 0  # elsewhere a flag that nobody knows
        usable |= self._payload
        usable |= sum(int(flag) for flag, needed in _OFFERED_BY.items() if agreement.flags & needed)
        self._unusable = {command: ~(usable & int(FUA | rule.flags)) for command, rule in _RULES.items()}

    def parse(self, buffer: bytes | bytearray | memoryview, start: int) -> Request:
        """The request that begins at ``start``. Raises ProtocolError where no request begins."""
        magic, flags, kind, cookie, offset, length = self._frame.unpack_from(buffer, start)
        if magic != self._magic:
            raise ProtocolError(f"a request with magic {magic:#x}")
        return Request(flags, kind, cookie, offset, length)

    def payload_length(self, request: Request) -> int:
        """Bytes that follow the request. Raises ProtocolError for more than is taken in to be refused.

        QEMU sends WRITE without PAYLOAD_LEN also where it belongs.
        """
        length = request.length if request.type == WRITE or request.flags & self._payload else 0
        limit = DRAIN_LIMIT if request.type == WRITE else wire.MAXIMUM_PAYLOAD
        if length > limit:
            raise ProtocolError(f"a request with {length} bytes of payload")
        return length

    def refusal(self, request: Request) -> Error:
        """Why a request is not carried out; NONE if it is in order. Its payload is taken in all the same."""
        rule = _RULES.get(request.type)
        if rule is None or request.flags & self._unusable[request.type]:
            return Error.EINVAL
        if rule.changes and self._read_only:
            return Error.EPERM
        if request.type == FLUSH:
            return Error.EINVAL if request.offset or request.length else Error.NONE
        if request.offset + request.length > self._size:
            return rule.past_end
        if request.type == READ:
            return self._refused_read(request)
        if request.type == WRITE and request.length > wire.MAXIMUM_PAYLOAD:
            return Error.EINVAL
        if request.type == BLOCK_STATUS and not (request.length and self._has_contexts):
            return Error.EINVAL
        return Error.NONE

    def _refused_read(self, request: Request) -> Error:
        limit = DF_LIMIT if request.flags & DF else wire.MAXIMUM_PAYLOAD
        if request.length <= limit:
            return Error.NONE
        return Error.EOVERFLOW if self._structured else Error.EINVAL

    def asked_contexts(
        self, request: Request, payload: bytes, known: Iterable[int]
    ) -> tuple[Request, list[int]] | None:
        """The range and the contexts that a BLOCK_STATUS with a payload asks for; None if that is invalid."""
        count, rest = divmod(len(payload) - 8, 4)
        if count < 1 or rest:  # of no context at all nothing could be said, not even that it was the last
            return None
        length, *asked = struct.unpack(f">Q{count}I", payload)
        if len(set(asked)) != count or not set(asked) <= set(known):
            return None
        return request._replace(length=length, flags=request.flags & ~PAYLOAD_LEN), asked


class Replies(Protocol):
    """How answers look."""

    def done(self, request: Request) -> Buffers:
        """That all went well, for everything that returns nothing."""

    def failed(self, request: Request, error: Error, text: str) -> Buffers:
        """That it did not, and why."""

    def read_begins(self, request: Request) -> Buffers:
        """What comes before the contents."""

    def contents(self, request: Request, data: Contents, length: int, offset: int, *, last: bool) -> Buffers:
        """``length`` bytes that stand at ``offset``; ``last`` if nothing can go wrong any more."""

    def status(self, request: Request, found: Sequence[tuple[int, Runs]]) -> Buffers:
        """Runs of (length, value) for each context, of which there is at least one."""


class SimpleReplies:
    """One header for each request. Contents follow it bare, so that nothing can be taken back."""

    def done(self, request: Request) -> Buffers:
        return [wire.SIMPLE_REPLY.pack(wire.SIMPLE_REPLY_MAGIC, 0, request.cookie)]

    def failed(self, request: Request, error: Error, text: str) -> Buffers:  # noqa: ARG002  no place for it
        return [wire.SIMPLE_REPLY.pack(wire.SIMPLE_REPLY_MAGIC, error, request.cookie)]

    read_begins = done

    def contents(
        self,
        request: Request,  # noqa: ARG002  contents follow their header bare
        data: Contents,
        length: int,
        offset: int,  # noqa: ARG002
        *,
        last: bool,  # noqa: ARG002
    ) -> Buffers:
        return [data if len(data) == length else memoryview(data)[:length]]

    def status(self, request: Request, found: Sequence[tuple[int, Runs]]) -> Buffers:  # noqa: ARG002
        return self.failed(request, Error.EINVAL, "")


class ChunkedReplies:
    """Answers in chunks, the last of which is marked. ``extended`` says which header they have."""

    def __init__(self, *, extended: bool) -> None:
        self._extended = extended

    def _chunk(self, request: Request, kind: Chunk, flags: int, payload: bytes = b"") -> bytes:
        if self._extended:
            frame = wire.EXTENDED_CHUNK.pack(
                wire.EXTENDED_CHUNK_MAGIC, flags, kind, request.cookie, request.offset, len(payload)
            )
        else:
            frame = wire.CHUNK.pack(wire.CHUNK_MAGIC, flags, kind, request.cookie, len(payload))
        return frame + payload

    def done(self, request: Request) -> Buffers:
        return [self._chunk(request, Chunk.NONE, CHUNK_DONE)]

    def failed(self, request: Request, error: Error, text: str) -> Buffers:
        message = text.encode()[:_TEXT_LIMIT].decode(errors="ignore").encode()
        payload = _ERROR.pack(error, len(message)) + message
        return [self._chunk(request, Chunk.ERROR, CHUNK_DONE, payload)]

    def read_begins(self, request: Request) -> Buffers:  # noqa: ARG002  chunks say themselves what they are
        return []

    def contents(self, request: Request, data: Contents, length: int, offset: int, *, last: bool) -> Buffers:
        flags = CHUNK_DONE if last else 0
        if not length:
            return [self._chunk(request, Chunk.NONE, CHUNK_DONE)] if last else []
        view = data if len(data) == length else memoryview(data)[:length]
        if length < HOLE_GRAIN or request.flags & DF:
            return [self._data_header(request, offset, length, flags), view]
        buffers: Buffers = []
        view = memoryview(view)
        for start, end, is_zero in zero_runs(data, length):
            flags = CHUNK_DONE if last and end == length else 0
            if is_zero:
                hole = _HOLE.pack(offset + start, end - start)
                buffers.append(self._chunk(request, Chunk.HOLE, flags, hole))
            else:
                buffers += (self._data_header(request, offset + start, end - start, flags), view[start:end])
        return buffers

    def _data_header(self, request: Request, offset: int, length: int, flags: int) -> bytes:
        if self._extended:
            return _EXTENDED_DATA_CHUNK.pack(
                wire.EXTENDED_CHUNK_MAGIC, flags, DATA, request.cookie, request.offset, length + 8, offset
            )
        return _DATA_CHUNK.pack(wire.CHUNK_MAGIC, flags, DATA, request.cookie, length + 8, offset)

    def status(self, request: Request, found: Sequence[tuple[int, Runs]]) -> Buffers:
        last = len(found) - 1
        return [
            self._status_chunk(request, number, runs, CHUNK_DONE if index == last else 0)
            for index, (number, runs) in enumerate(found)
        ]

    def _status_chunk(self, request: Request, number: int, runs: Runs, flags: int) -> bytes:
        if self._extended:
            payload = _EXTENDED_STATUS.pack(number, len(runs))
            payload += b"".join(_EXTENDED_STATUS_RUN.pack(*run) for run in runs)
            return self._chunk(request, Chunk.BLOCK_STATUS_EXTENDED, flags, payload)
        payload = _STATUS.pack(number) + b"".join(_STATUS_RUN.pack(*run) for run in runs)
        return self._chunk(request, Chunk.BLOCK_STATUS, flags, payload)


def replies_of(agreement: Agreement) -> Replies:
    """How answers look after this agreement."""
    if agreement.structured or agreement.extended:
        return ChunkedReplies(extended=agreement.extended)
    return SimpleReplies()


def zero_runs(data: bytes | bytearray, length: int) -> Iterator[tuple[int, int, bool]]:
    """(start, end, whether all zeros) of runs that tile the data; zeros are told in whole grains."""
    start, kind = 0, data.startswith(_ZEROS, 0, length)
    for place in range(HOLE_GRAIN, length, HOLE_GRAIN):
        is_zero = data.startswith(_ZEROS, place, length)
        if is_zero is not kind:
            yield start, place, kind
            start, kind = place, is_zero
    yield start, length, kind
