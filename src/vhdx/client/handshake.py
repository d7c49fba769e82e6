"""The client's half of the handshake: which export, how answers look, which blocks; every answer bounded."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple, Protocol

from vhdx import wire
from vhdx.wire import ExportFlag, HandshakeFlag, Info, Option, OptionReply, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_REPLIES = 64
_LONGEST_REPLY = 64 * 1024
_LARGEST_SIZE = 1 << 63
_LARGEST_MINIMUM = 64 * 1024
_COUNT = struct.Struct(">I")
_INFO = struct.Struct(">H")
_EXPORT = struct.Struct(">HQH")
_BLOCK_SIZE = struct.Struct(">HIII")
_ENCRYPTED = "the server speaks to nobody without TLS, which is not spoken here: nbdcopy does, into a pipe"


class Stream(Protocol):
    """What the handshake needs of a socket."""

    def receive(self, length: int) -> bytes:
        """Exactly so many bytes."""

    def send(self, data: bytes) -> None:
        """All of them."""


class Agreed(NamedTuple):
    """An export, and how it is spoken of. ``context`` is the number of base:allocation, None without it."""

    size: int
    flags: int
    structured: bool
    context: int | None
    minimum: int
    """Requests begin and end at multiples of so many bytes."""
    maximum: int
    """Bytes of the longest READ and WRITE."""


class RefusedError(Exception):
    """The server refuses an option, in its own words."""

    def __init__(self, kind: int, text: str) -> None:
        super().__init__(_ENCRYPTED if kind == OptionReply.ERR_TLS_REQD else text)
        self.kind = kind


def agree(stream: Stream, export: str) -> Agreed:
    """Come to an agreement over an export.

    Raises RefusedError where the server does not have it, ProtocolError for what is no NBD.
    """
    flags = _greeting(stream)
    structured = _asked(stream, Option.STRUCTURED_REPLY)
    context = _allocation_context(stream, export) if structured else None
    name = export.encode()
    try:
        infos = list(_infos(stream, _counted(name) + struct.pack(">HH", 1, Info.BLOCK_SIZE)))
    except RefusedError as error:
        if error.kind != OptionReply.ERR_UNSUP:
            raise
        infos = [_by_name(stream, name, has_padding=not flags & HandshakeFlag.NO_ZEROES)]
    return _agreed(infos, context, structured=structured)


def _greeting(stream: Stream) -> int:
    magic, option, flags = wire.GREETING.unpack(stream.receive(wire.GREETING.size))
    if magic != wire.NBD_MAGIC:
        raise ProtocolError("it is no NBD server")
    if option != wire.OPTION_MAGIC or not flags & HandshakeFlag.FIXED_NEWSTYLE:
        raise ProtocolError("it speaks an NBD that is too old (newstyle with fixed options is needed)")
    flags &= HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES
    stream.send(wire.CLIENT_FLAGS.pack(flags))
    return int(flags)


def _replies(stream: Stream, option: Option, data: bytes = b"") -> Iterator[tuple[int, bytes]]:
    """All replies to an option up to the last. Raises RefusedError."""
    stream.send(wire.OPTION.pack(wire.OPTION_MAGIC, option, len(data)) + data)
    for _ in range(_MOST_REPLIES):
        magic, echoed, kind, length = wire.OPTION_REPLY.unpack(stream.receive(wire.OPTION_REPLY.size))
        if magic != wire.OPTION_REPLY_MAGIC or echoed != option or length > _LONGEST_REPLY:
            raise ProtocolError(f"its reply to option {option.name} is none")
        payload = stream.receive(length)
        if kind == OptionReply.ACK:
            return
        if kind >= OptionReply.ERR_UNSUP - 1:
            raise RefusedError(kind, payload.decode(errors="replace")[:200] or f"error {kind & 0xFFFF}")
        yield kind, payload
    raise ProtocolError(f"it replies to option {option.name} without an end")


def _asked(stream: Stream, option: Option) -> bool:
    """Whether the server takes an option up."""
    try:
        for _ in _replies(stream, option):
            pass
    except RefusedError as error:
        if error.kind == OptionReply.ERR_TLS_REQD:
            raise
        return False
    return True


def _allocation_context(stream: Stream, export: str) -> int | None:
    query = _counted(export.encode()) + _COUNT.pack(1) + _counted(wire.BASE_ALLOCATION.encode())
    found = None
    try:
        for kind, data in _replies(stream, Option.SET_META_CONTEXT, query):
            if kind == OptionReply.META_CONTEXT and data[_COUNT.size :] == wire.BASE_ALLOCATION.encode():
                (found,) = _COUNT.unpack_from(data)
    except RefusedError:
        return None
    return found


def _infos(stream: Stream, data: bytes) -> Iterator[bytes]:
    return (payload for kind, payload in _replies(stream, Option.GO, data) if kind == OptionReply.INFO)


def _by_name(stream: Stream, name: bytes, *, has_padding: bool) -> bytes:
    """What servers without GO say of an export, as GO would have said it."""
    stream.send(wire.OPTION.pack(wire.OPTION_MAGIC, Option.EXPORT_NAME, len(name)) + name)
    answer = wire.EXPORT_ANSWER.unpack(stream.receive(wire.EXPORT_ANSWER.size))
    if has_padding:
        stream.receive(len(wire.EXPORT_PADDING))
    return _EXPORT.pack(Info.EXPORT, *answer)


def _agreed(infos: list[bytes], context: int | None, *, structured: bool) -> Agreed:
    """Put together what was said. Raises ProtocolError for numbers that cannot be."""
    size, flags, minimum, maximum = -1, 0, 1, wire.MAXIMUM_PAYLOAD
    for info in infos:
        kind = _INFO.unpack_from(info)[0] if len(info) >= _INFO.size else None
        if kind == Info.EXPORT and len(info) == _EXPORT.size:
            _, size, flags = _EXPORT.unpack(info)
        elif kind == Info.BLOCK_SIZE and len(info) == _BLOCK_SIZE.size:
            _, smallest, _, largest = _BLOCK_SIZE.unpack(info)
            if smallest.bit_count() == 1 and smallest <= min(_LARGEST_MINIMUM, largest):
                minimum, maximum = smallest, min(maximum, largest // smallest * smallest)
    if not 0 <= size < _LARGEST_SIZE or not flags & ExportFlag.HAS_FLAGS:
        raise ProtocolError("it does not say how large the export is and what it can do")
    if size % minimum:
        raise ProtocolError(f"the export has {size} bytes, and may only be asked for multiples of {minimum}")
    return Agreed(size, flags, structured, context, minimum, maximum)


def _counted(text: bytes) -> bytes:
    return _COUNT.pack(len(text)) + text
