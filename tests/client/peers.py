"""The other end of the NBD client: servers of others, a cable that can be cut, one that says anything."""

import contextlib
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

OPTION_REPLY = 0x0003E889045565A9
ACK, INFO, CONTEXT = 1, 3, 4
UNSUP, UNKNOWN, TLS_REQD = (0x80000000 + number for number in (1, 6, 5))
Answer = Callable[[socket.socket, int, int, int, int], None]
"""Answers a request, given its socket, type, cookie, offset and length."""


@contextlib.contextmanager
def nbdkit(folder: Path, *arguments: str | Path) -> Iterator[str]:
    """Serve with these arguments; the URI."""
    place = folder / f"{len(list(folder.iterdir()))}.sock"
    line = ["nbdkit", "-f", "-U", str(place), *map(str, arguments)]
    with _running(line, place):
        yield f"nbd+unix:///?socket={place}"


@contextlib.contextmanager
def qemu_nbd(folder: Path, *arguments: str | Path) -> Iterator[str]:
    """The same of QEMU."""
    place = folder / f"{len(list(folder.iterdir()))}.sock"
    line = ["qemu-nbd", "-t", "-e", "4", "-k", str(place), *map(str, arguments)]
    with _running(line, place):
        yield f"nbd+unix:///?socket={place}"


@contextlib.contextmanager
def _running(line: list[str], place: Path) -> Iterator[None]:
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    try:
        while not _listens(place):
            assert process.poll() is None, line
            time.sleep(0.005)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _listens(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(place)) == 0


@contextlib.contextmanager
def listening(folder: Path | None, serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve one client after the other by a function; the URI. By TCP without a folder, and on Windows."""
    if sys.platform == "win32":
        folder = None
    with socket.socket(socket.AF_INET if folder is None else socket.AF_UNIX) as listener:
        if folder is None:
            listener.bind(("127.0.0.1", 0))
            uri = f"nbd://127.0.0.1:{listener.getsockname()[1]}/disk"
        else:
            place = folder / f"{len(list(folder.iterdir()))}.sock"
            listener.bind(str(place))
            uri = f"nbd+unix:///disk?socket={place}"
        listener.listen()
        thread = threading.Thread(target=_accept, args=(listener, serve), daemon=True)
        thread.start()
        yield uri
        with contextlib.suppress(OSError):  # only a connected socket is shut on Windows, where closing wakes
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(20)


def _accept(listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client, contextlib.suppress(OSError, EOFError):
            serve(client)


@contextlib.contextmanager
def cable(folder: Path, uri: str, length: int) -> Iterator[str]:
    """Pass on what goes to a server, and what comes back up to ``length`` bytes; then cut."""

    def pass_on(client: socket.socket) -> None:
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(uri.partition("socket=")[2])
            there = threading.Thread(target=_forward, args=(client, server, 1 << 60))
            there.start()
            _forward(server, client, length)
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            there.join(20)

    with listening(folder, pass_on) as found:
        yield found.replace("/disk?", "/?")


def _forward(source: socket.socket, target: socket.socket, length: int) -> None:
    with contextlib.suppress(OSError):
        while length and (data := source.recv(min(length, 65536))):
            target.sendall(data)
            length -= len(data)


def exactly(connection: socket.socket, length: int) -> bytes:
    """So many bytes. Raises EOFError."""
    found = b""
    while len(found) < length:
        piece = connection.recv(length - len(found))
        if not piece:
            raise EOFError
        found += piece
    return found


class Scripted:
    """A server for one export, right but for what a test replaces."""

    def __init__(self, size: int = 1 << 20, **replaced: object) -> None:
        self.greeting = struct.pack(">8sQH", b"NBDMAGIC", 0x49484156454F5054, 3)
        self.structured = True
        self.context: int | None = 7
        self.infos = [struct.pack(">HQH", 0, size, 0x1 | 0x4 | 0x40)]
        self.refusal: tuple[int, bytes] | None = None
        self.answers: dict[int, Answer] = {}
        self.endless = False
        for name, value in replaced.items():
            setattr(self, name, value)

    def __call__(self, client: socket.socket) -> None:
        client.sendall(self.greeting)
        exactly(client, 4)
        while not self._option(client):
            pass
        while True:
            _, _, kind, cookie, offset, length = struct.unpack(">IHHQQI", exactly(client, 28))
            if kind == 2:
                return
            if kind == 1:
                exactly(client, length)
            self.answers.get(kind, simple)(client, kind, cookie, offset, length)

    def _option(self, client: socket.socket) -> bool:
        _, option, length = struct.unpack(">QII", exactly(client, 16))
        exactly(client, length)
        replies = self._replies(option)
        while self.endless:
            client.sendall(struct.pack(">QIII", OPTION_REPLY, option, INFO, 0))
        for kind, data in replies:
            client.sendall(struct.pack(">QIII", OPTION_REPLY, option, kind, len(data)) + data)
        return option == 7 and replies[-1][0] == ACK

    def _replies(self, option: int) -> list[tuple[int, bytes]]:
        if option == 8:
            return [(ACK, b"")] if self.structured else [(UNSUP, b"")]
        if option == 10:
            named = (
                []
                if self.context is None
                else [(CONTEXT, struct.pack(">I", self.context) + b"base:allocation")]
            )
            return [*named, (ACK, b"")]
        return [self.refusal] if self.refusal else [*((INFO, info) for info in self.infos), (ACK, b"")]


def simple(client: socket.socket, kind: int, cookie: int, offset: int, length: int) -> None:
    """That all went well."""
    client.sendall(struct.pack(">IIQ", 0x67446698, 0, cookie))


def chunk(
    cookie: int, kind: int, payload: bytes = b"", *, done: bool = True, length: int | None = None
) -> bytes:
    """A part of a structured reply, whose length may be a lie."""
    count = len(payload) if length is None else length
    return struct.pack(">IHHQI", 0x668E33EF, done, kind, cookie, count) + payload


def replying(*parts: Callable[[int, int, int], bytes]) -> Answer:
    """An answer put together of parts, each made of cookie, offset and length."""

    def answer(client: socket.socket, kind: int, cookie: int, offset: int, length: int) -> None:
        for part in parts:
            client.sendall(part(cookie, offset, length))

    return answer
