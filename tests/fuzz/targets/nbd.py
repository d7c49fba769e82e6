"""The server's half of NBD, from the first byte of a client to the last, over a disk in memory.

The input is what a client sends. What comes back is taken apart by the protocol's own tables, and what it
says is compared with a plain array of bytes.
"""

import re
import struct
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from tests.nbd.disks import MemoryDisk
from vhdx.nbd.answers import Answers
from vhdx.nbd.export import Export
from vhdx.nbd.negotiate import Agreement, Negotiation, Then
from vhdx.nbd.serving import Serving
from vhdx.wire import ProtocolError

__all__ = ["corpus", "mutated", "run"]

SIZE = (2 << 20) + 512
MOST_BYTES_OF_AN_OPTION_REPLY = 1 << 16
_OPTION, _REQUEST, _EXTENDED = b"IHAVEOPT", b"\x25\x60\x95\x13", b"\x21\xe4\x1c\x71"
_FRAMES = re.compile(b"(?=" + b"|".join(map(re.escape, (_OPTION, _REQUEST, _EXTENDED))) + b")")
_READ, _WRITE, _ZEROES, _STATUS, _DISCONNECT = 0, 1, 6, 7, 2
_PAYLOAD_FLAG = 32
_CONTEXTS = b"".join(struct.pack(">I", len(c)) + c for c in (b"base:allocation", b"x-vhdx:state"))
_OPTIONS = {
    "go": (7, struct.pack(">I1sH", 1, b"e", 0)),
    "go to the default": (7, struct.pack(">IHHHH", 0, 3, 0, 2, 3)),
    "info": (6, struct.pack(">IH", 0, 0)),
    "export name": (1, b"e"),
    "list": (3, b""),
    "structured": (8, b""),
    "extended": (11, b""),
    "contexts": (10, struct.pack(">I1sI", 1, b"e", 2) + _CONTEXTS),
    "list contexts": (9, struct.pack(">II", 0, 0)),
    "TLS": (5, b""),
    "abort": (2, b""),
}


class _Request(NamedTuple):
    kind: int
    flags: int
    cookie: int
    offset: int
    length: int
    payload: bytes


class _Reply(NamedTuple):
    """One whole answer: its error, and contents of a READ by their offsets (None for a simple one's)."""

    cookie: int
    error: int
    contents: list[tuple[int, bytes]]


def _option(name: str) -> bytes:
    number, data = _OPTIONS[name]
    return _OPTION + struct.pack(">II", number, len(data)) + data


def _request(
    kind: int, offset: int, length: int, *, flags: int = 0, extended: bool = False, data: bytes = b""
) -> bytes:
    form = struct.Struct(">4sHHQQQ" if extended else ">4sHHQQI")
    return form.pack(_EXTENDED if extended else _REQUEST, flags, kind, kind + 7, offset, length) + data


def _session(*options: str, extended: bool = False) -> bytes:
    """A client that does everything once."""
    requests = [
        _request(_WRITE, 4000, 700, extended=extended, data=b"w" * 700, flags=_PAYLOAD_FLAG * extended),
        _request(_READ, 3900, 9000, extended=extended),
        _request(_READ, 0, SIZE, extended=extended),
        _request(_ZEROES, 4096, 100_000, extended=extended, flags=3),
        _request(4, 0, 4096, extended=extended),
        _request(5, 0, SIZE, extended=extended),
        _request(3, 0, 0, extended=extended),
        _request(_STATUS, 0, SIZE, extended=extended),
        _request(_STATUS, 0, SIZE, extended=extended, flags=8),
        _request(_DISCONNECT, 0, 0, extended=extended),
    ]
    return struct.pack(">I", 3) + b"".join(map(_option, options)) + b"".join(requests)


def corpus() -> Iterator[bytes]:
    """A session of each kind, and one that only asks."""
    yield _session("go")
    yield _session("structured", "contexts", "go")
    yield _session("extended", "contexts", "go to the default", extended=True)
    yield _session("export name")
    yield _session("list", "info", "list contexts", "TLS", "structured", "list contexts", "abort")


def mutated(data: bytes, chance: Random) -> bytes:
    """One frame more, less, twice, or with another number in it."""
    frames = _FRAMES.split(data)
    at = chance.randrange(len(frames))
    step = chance.randrange(5)
    if step == 0:
        frames.insert(at + 1, _option(chance.choice(list(_OPTIONS))))
    elif step == 1:
        frames.insert(at + 1, _any_request(chance, extended=_EXTENDED in data))
    elif step == 2 and len(frames) > 1:
        del frames[at]
    elif step == 3:
        frames.insert(chance.randrange(len(frames)), frames[at])
    else:
        frame = bytearray(frames[at])
        field, size = chance.choice(((4, 2), (6, 2), (8, 4), (12, 4), (16, 8), (20, 8), (24, 4), (24, 8)))
        number = chance.choice(
            (0, 1, 3, 255, 4096, SIZE, SIZE - 1, 1 << 20, 1 << 25, (1 << 64) - 1, chance.randrange(64))
        )
        frame[field : field + size] = number.to_bytes(8, "big")[-size:]
        frames[at] = bytes(frame)
    return b"".join(frames)


def _any_request(chance: Random, *, extended: bool) -> bytes:
    kind, length = chance.randrange(9), chance.choice((0, 1, 512, 4096, 40_000, 1 << 20, SIZE))
    offset = chance.choice((0, 1, 4095, SIZE - 512, SIZE, chance.randrange(SIZE)))
    data = bytes((chance.randrange(256),)) * min(length, 900) if kind == _WRITE else b""
    length = len(data) if kind == _WRITE and chance.random() < 0.8 else length
    return _request(kind, offset, length, flags=1 << chance.randrange(7), extended=extended, data=data)


class _Wire:
    """What stands for a connection: the client's bytes in pieces, and all that was sent."""

    one_thread = True

    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.sent = data, 0, bytearray()

    def receive_into(self, view: memoryview) -> int:
        count = min(len(view), len(self.data) - self.at, 1 + self.at % 5000)
        view[:count] = self.data[self.at : self.at + count]
        self.at += count
        return count

    def take(self, length: int) -> bytes:
        piece = self.data[self.at : self.at + length]
        self.at += length
        return piece

    def send(self, buffers: list[bytes]) -> None:
        self.sent += b"".join(buffers)

    def stop_receiving(self) -> None:
        """Nobody asks for it here."""

    def shut(self) -> None:
        """The end."""


def run(data: bytes) -> None:
    """Serve the client that sends these bytes; the input's length says whether it may write."""
    disk = MemoryDisk(SIZE, read_only=len(data) % 7 == 3)
    disk.bytes[:8192] = bytes(range(256)) * 32
    disk.present |= {0, 1}
    export = Export("e", disk, "a disk in memory")
    wire = _Wire(data)
    model = bytearray(disk.bytes)
    try:
        agreement = _negotiated(export, wire)
        if agreement is None:
            return
        begin, failures = wire.at, list[Exception]()
        answers = Answers(export, agreement, failures.append)
        try:
            Serving(wire, answers, 60.0).run()  # type: ignore[arg-type]
        except ConnectionError:
            assert wire.at >= len(data), "the client was lost before its end"
    except ProtocolError as error:
        assert str(error)  # noqa: PT017  a client may be dropped at any point
        return
    assert not failures, failures
    _compare(data[begin:], bytes(wire.sent), agreement, model)
    assert model == disk.bytes, "what was answered is not what was done"


def _negotiated(export: Export, wire: _Wire) -> Agreement | None:
    negotiation = Negotiation({"e": export.offer}, "e", tls=False)
    assert len(negotiation.greeting()) == 18
    flags = wire.take(4)
    if len(flags) < 4:
        return None
    negotiation.client_flags(flags)
    while len(header := wire.take(16)) == 16:
        option, length = negotiation.header(header)
        data = wire.take(length)
        if len(data) < length:
            return None
        answer = negotiation.answer(option, data)
        if option == 1:
            assert len(answer.reply) in (10, 134)
        else:
            _check_option_reply(answer.reply, option)
        assert answer.then is not Then.TLS
        if answer.then is Then.CLOSE:
            return None
        if answer.then is Then.SERVE:
            assert negotiation.agreement is not None
            return negotiation.agreement
    return None


def _check_option_reply(reply: bytes, option: int) -> None:
    """Answers of the right form, the last of which, and only that, is an end."""
    assert len(reply) <= MOST_BYTES_OF_AN_OPTION_REPLY
    at = 0
    while at < len(reply):
        magic, answered, kind, length = struct.unpack_from(">QIII", reply, at)
        at += 20 + length
        assert (magic, answered) == (0x3E889045565A9, option)
        assert (kind == 1 or kind >= 1 << 31) == (at == len(reply))
    assert at == len(reply) > 0


def _compare(asked: bytes, sent: bytes, agreement: Agreement, model: bytearray) -> None:
    """Answers come in the order of requests here; each is what the model says."""
    chunked = agreement.structured or agreement.extended
    at = 0
    for request in _requests(asked, extended=agreement.extended):
        if at == len(sent):  # the connection ended before this one
            return
        reply, at = (_chunks if chunked else _simple)(sent, at, request, extended=agreement.extended)
        assert reply.cookie == request.cookie
        _apply(request, reply, model)
    assert at == len(sent), "more was answered than asked"


def _requests(data: bytes, *, extended: bool) -> Iterator[_Request]:
    form = struct.Struct(">4sHHQQQ" if extended else ">4sHHQQI")
    at = 0
    while at + form.size <= len(data):
        magic, flags, kind, cookie, offset, length = form.unpack_from(data, at)
        at += form.size
        if magic != (_EXTENDED if extended else _REQUEST) or kind == _DISCONNECT:
            return
        count = length if kind == _WRITE or (extended and flags & _PAYLOAD_FLAG) else 0
        if at + count > len(data):
            return
        yield _Request(kind, flags, cookie, offset, length, data[at : at + count])
        at += count


def _simple(sent: bytes, at: int, request: _Request, *, extended: bool) -> tuple[_Reply, int]:
    assert not extended
    magic, error, cookie = struct.unpack_from(">IIQ", sent, at)
    assert magic == 0x67446698
    at += 16
    length = request.length if request.kind == _READ and not error else 0
    return _Reply(cookie, error, [(request.offset, sent[at : at + length])] if length else []), at + length


def _chunks(sent: bytes, at: int, request: _Request, *, extended: bool) -> tuple[_Reply, int]:
    error, contents = 0, []
    while True:
        if extended:
            magic, flags, kind, cookie, offset, length = struct.unpack_from(">IHHQQQ", sent, at)
            assert (magic, offset) == (0x6E8A278C, request.offset)
            at += 32
        else:
            magic, flags, kind, cookie, length = struct.unpack_from(">IHHQI", sent, at)
            assert magic == 0x668E33EF
            at += 20
        payload = sent[at : at + length]
        assert len(payload) == length
        assert cookie == request.cookie
        at += length
        if kind == 1:
            contents.append((int.from_bytes(payload[:8], "big"), payload[8:]))
        elif kind == 2:
            contents.append((int.from_bytes(payload[:8], "big"), bytes(int.from_bytes(payload[8:], "big"))))
        elif kind == 0x8001:
            error = int.from_bytes(payload[:4], "big")
        else:
            assert kind == 0 or (kind in (5, 6) and request.kind == _STATUS), kind
        if flags & 1:
            return _Reply(cookie, error, contents), at


def _apply(request: _Request, reply: _Reply, model: bytearray) -> None:
    end = request.offset + request.length
    if reply.error:
        assert reply.error in (1, 22, 28, 75, 95), reply.error
        return
    assert request.kind == _STATUS or end <= SIZE, request[:5]
    if request.kind == _READ:
        at = request.offset
        for offset, data in reply.contents:
            assert offset == at
            assert data == model[at : at + len(data)], f"{len(data)} bytes at {at} are wrong"
            at += len(data)
        assert at == end
    elif request.kind == _WRITE:
        model[request.offset : end] = request.payload
    elif request.kind == _ZEROES:
        model[request.offset : end] = bytes(request.length)
