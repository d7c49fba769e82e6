"""A plain NBD client that says exactly what a test wants, right or wrong. Shares no code with the server."""

import contextlib
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple, Self

OPTION_MAGIC = 0x49484156454F5054
READ, WRITE, DISCONNECT, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS = range(8)
FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO, PAYLOAD_LEN = (1 << bit for bit in range(6))
EXPORT_NAME, ABORT, LIST, _, STARTTLS, INFO, GO, STRUCTURED, LIST_META, SET_META, EXTENDED = range(1, 12)
ACK = 1
UNSUP, POLICY, INVALID, PLATFORM, TLS_REQD, UNKNOWN, SHUTDOWN, _, TOO_BIG, EXT_HEADER_REQD = (
    0x80000000 + number for number in range(1, 11)
)
EPERM, EIO, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP, ESHUTDOWN = 1, 5, 22, 28, 75, 95, 108


Address = str | tuple[str, int]
"""The path of a Unix socket, or host and port."""


def kind_of(address: Address) -> int:
    return socket.AF_UNIX if isinstance(address, str) else socket.AF_INET


class Reply(NamedTuple):
    """The answer to one request, its chunks put together."""

    cookie: int
    error: int
    data: bytes
    chunks: tuple[tuple[int, bytes], ...]


class Client:
    """One connection; ``structured`` and ``extended`` say how answers look once `go` was called."""

    def __init__(self, address: Address, timeout: float = 20.0) -> None:
        self.socket = socket.socket(kind_of(address))
        self.socket.connect(address)  # without a timeout: then it waits while the host's queue is full
        self.socket.settimeout(timeout)
        self.structured = self.extended = False
        self.size = self.flags = 0
        self.contexts: dict[str, int] = {}
        self._cookie = 0
        self._lengths: dict[int, tuple[int, int]] = {}
        self._reading: set[int] = set()

    @classmethod
    def opened(cls, address: Address, name: str = "", mode: str = "structured") -> Self:
        """A connection that may send requests; ``mode`` is simple, structured or extended."""
        client = cls(address)
        client.greet()
        if mode != "simple":
            assert client.option(EXTENDED if mode == "extended" else STRUCTURED) == [(ACK, b"")]
            client.structured, client.extended = True, mode == "extended"
            for kind, data in client.option(SET_META, meta(name, "base:allocation", "x-vhdx:state")):
                if kind != ACK:
                    assert kind == 4, data
                    client.contexts[data[4:].decode()] = int.from_bytes(data[:4], "big")
        client.go(name)
        return client

    def greet(self, flags: int = 3) -> None:
        magic, option, offered = struct.unpack(">8sQH", self.exactly(18))
        assert (magic, option, offered) == (b"NBDMAGIC", OPTION_MAGIC, 3)
        self.socket.sendall(struct.pack(">I", flags))

    def option(self, number: int, data: bytes = b"") -> list[tuple[int, bytes]]:
        """All replies to an option."""
        self.socket.sendall(struct.pack(">QII", OPTION_MAGIC, number, len(data)) + data)
        return self.option_replies(number)

    def option_replies(self, number: int) -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        while not found or (found[-1][0] != ACK and found[-1][0] < 0x80000000):
            magic, option, kind, length = struct.unpack(">QIII", self.exactly(20))
            assert (magic, option) == (0x0003E889045565A9, number)
            found.append((kind, self.exactly(length)))
        return found

    def go(self, name: str = "", infos: tuple[int, ...] = ()) -> list[tuple[int, bytes]]:
        replies = self.option(GO, go(name, *infos))
        assert replies[-1] == (ACK, b""), replies
        for kind, data in replies:
            if kind == 3 and data[:2] == b"\0\0":
                self.size, self.flags = struct.unpack(">QH", data[2:])
        return replies

    def send(self, kind: int, offset: int = 0, length: int = 0, payload: bytes = b"", flags: int = 0) -> int:
        """Send a request; its cookie."""
        self._cookie += 1
        self._lengths[self._cookie] = offset, length
        if kind == READ:
            self._reading.add(self._cookie)
        self.socket.sendall(self.packed(kind, offset, length, flags, self._cookie) + payload)
        return self._cookie

    def packed(self, kind: int, offset: int, length: int, flags: int = 0, cookie: int = 0) -> bytes:
        if self.extended:
            return struct.pack(">IHHQQQ", 0x21E41C71, flags, kind, cookie, offset, length)
        return struct.pack(">IHHQQI", 0x25609513, flags, kind, cookie, offset, length)

    def reply(self) -> Reply:
        """The next whole answer; chunks of several requests at once are not expected."""
        chunks: list[tuple[int, bytes]] = []
        while True:
            (magic,) = struct.unpack(">I", self.exactly(4))
            if magic == 0x67446698:
                assert not self.extended
                error, cookie = struct.unpack(">IQ", self.exactly(12))
                offset, length = self._lengths.pop(cookie)
                data = self.exactly(length) if cookie in self._reading and not error else b""
                return Reply(cookie, error, data, ())
            if self.extended:
                assert magic == 0x6E8A278C
                done, kind, cookie, offset, count = struct.unpack(">HHQQQ", self.exactly(28))
                assert offset == self._lengths[cookie][0]
            else:
                assert magic == 0x668E33EF
                assert self.structured
                done, kind, cookie, count = struct.unpack(">HHQI", self.exactly(16))
            chunks.append((kind, self.exactly(count)))
            if done:
                return self._joined(cookie, chunks)

    def _joined(self, cookie: int, chunks: list[tuple[int, bytes]]) -> Reply:
        offset, length = self._lengths.pop(cookie)
        data, covered, error = bytearray(length if cookie in self._reading else 0), 0, 0
        for kind, payload in chunks:
            if kind == 0x8001:
                error, count = struct.unpack(">IH", payload[:6])
                assert len(payload) == 6 + count
            elif kind == 1:
                start = int.from_bytes(payload[:8], "big") - offset
                assert start == covered
                assert len(payload) > 8
                data[start : start + len(payload) - 8] = payload[8:]
                covered += len(payload) - 8
            elif kind == 2:
                start, count = struct.unpack(">QI", payload)
                assert start - offset == covered
                assert count
                covered += count
        if cookie in self._reading and not error:
            assert covered == length == len(data)
        return Reply(cookie, error, bytes(data), tuple(chunks))

    def ask(self, kind: int, offset: int = 0, length: int = 0, payload: bytes = b"", flags: int = 0) -> Reply:
        """Send a request and wait for its answer."""
        cookie = self.send(kind, offset, length, payload, flags)
        reply = self.reply()
        assert reply.cookie == cookie
        return reply

    def read(self, offset: int, length: int, flags: int = 0) -> bytes:
        reply = self.ask(READ, offset, length, flags=flags)
        assert not reply.error
        return reply.data

    def write(self, offset: int, data: bytes, flags: int = 0) -> None:
        assert not self.ask(WRITE, offset, len(data), data, flags).error

    def status(self, offset: int, length: int, flags: int = 0) -> dict[int, list[tuple[int, int]]]:
        """Runs (length, value) by context."""
        found = {}
        for kind, payload in self.ask(BLOCK_STATUS, offset, length, flags=flags).chunks:
            assert kind == (6 if self.extended else 5), payload
            head, form = (8, ">QQ") if self.extended else (4, ">II")
            found[int.from_bytes(payload[:4], "big")] = list(struct.iter_unpack(form, payload[head:]))
        return found

    def exactly(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            piece = self.socket.recv(length - len(data))
            if not piece:
                raise EOFError(f"the server closed after {len(data)} of {length} bytes")
            data += piece
        return bytes(data)

    def is_closed(self) -> bool:
        """Whether the server ends the connection, after whatever it still says."""
        with contextlib.suppress(ConnectionError):
            while self.socket.recv(65536):
                pass
        return True

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def counted(text: str | bytes) -> bytes:
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack(">I", len(data)) + data


def go(name: str | bytes, *infos: int) -> bytes:
    return counted(name) + struct.pack(f">H{len(infos)}H", len(infos), *infos)


def meta(name: str, *queries: str) -> bytes:
    return counted(name) + struct.pack(">I", len(queries)) + b"".join(map(counted, queries))


@contextlib.contextmanager
def many(address: Address, count: int) -> Iterator[list[socket.socket]]:
    """So many connections that say nothing."""
    with contextlib.ExitStack() as held:
        sockets = []
        for _ in range(count):
            sockets.append(held.enter_context(socket.socket(kind_of(address))))
            sockets[-1].connect(address)
            sockets[-1].settimeout(5)
        yield sockets
