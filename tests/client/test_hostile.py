"""Servers that lie, break the protocol, or say nothing: refused, and nothing is read that they made up."""

import contextlib
import errno
import itertools
import os
import signal
import socket
import struct
import subprocess
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

import vhdx
from tests.cli.running import COMMAND
from tests.support.layout import MIB
from vhdx.client import connection
from vhdx.client.address import parsed
from vhdx.client.export import open_export

from .peers import TLS_REQD, UNKNOWN, Answer, Scripted, chunk, exactly, listening, replying

READ, WRITE, FLUSH, STATUS = 0, 1, 3, 7
BREAKS = "breaks the protocol"


def data(cookie: int, offset: int, length: int) -> bytes:
    """The right answer to a read."""
    return chunk(cookie, 1, struct.pack(">Q", offset) + b"\5" * length)


def runs(*pairs: tuple[int, int], context: int = 7) -> Answer:
    """An answer to a block status."""
    payload = struct.pack(">I", context) + b"".join(struct.pack(">II", *pair) for pair in pairs)
    return replying(lambda cookie, *_: chunk(cookie, 5, payload))


def raw(uri: str) -> vhdx.Disk:
    """The disk of an export, at which nobody looks before."""
    return vhdx.open(uri, image_format="raw")


def part(kind: int, form: str, *values: int, **options: Any) -> Answer:
    """An answer of one part."""
    return replying(lambda cookie, *_: chunk(cookie, kind, struct.pack(form, *values), **options))


HANDSHAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no NBD": ({"greeting": b"SSH-2.0-OpenSSH_9"[:18].ljust(18)}, "it is no NBD server"),
    "old": ({"greeting": struct.pack(">QQH", 0x4E42444D41474943, 0x00420281861253, 3)}, "too old"),
    "no fixed options": (
        {"greeting": struct.pack(">QQH", 0x4E42444D41474943, 0x49484156454F5054, 2)},
        "too old",
    ),
    "no such export": ({"refusal": (UNKNOWN, b"no such disk")}, "no such disk"),
    "TLS": ({"refusal": (TLS_REQD, b"")}, "without TLS"),
    "no size": ({"infos": []}, "how large"),
    "size too large": ({"infos": [struct.pack(">HQH", 0, 1 << 63, 5)]}, "how large"),
    "no flags": ({"infos": [struct.pack(">HQH", 0, 4096, 0)]}, "how large"),
    "half a block": (
        {"infos": [struct.pack(">HQH", 0, 5000, 5), struct.pack(">HIII", 3, 4096, 4096, 1 << 20)]},
        "only be asked for multiples of 4096",
    ),
    "no end": ({"endless": True}, "without an end"),
}


def failing_endlessly(client: socket.socket, _: int, cookie: int, *__: int) -> None:
    """An error after the other, none of them the last part of the reply."""
    while True:
        client.sendall(chunk(cookie, 0x8001, struct.pack(">IH", 5, 0), done=False))


READS: dict[str, Answer] = {
    "no reply": lambda client, *_: client.sendall(b"\0" * 16),
    "of nobody": replying(lambda cookie, *_: chunk(cookie + 1, 0)),
    "simple": replying(lambda cookie, *_: struct.pack(">IIQ", 0x67446698, 0, cookie)),
    "nothing": part(0, ""),
    "more": replying(lambda cookie, offset, length: data(cookie, offset, length + 1)),
    "less": replying(lambda cookie, offset, length: data(cookie, offset, length - 1)),
    "before": replying(lambda cookie, offset, length: data(cookie, offset - 1, length)),
    "far": replying(lambda cookie, *_: chunk(cookie, 1, struct.pack(">Q", (1 << 64) - 1) + b"x")),
    "empty": replying(lambda cookie, offset, *_: chunk(cookie, 1, struct.pack(">Q", offset))),
    "twice": replying(
        lambda cookie, offset, *_: chunk(cookie, 1, struct.pack(">Q", offset) + b"ab", done=False),
        lambda cookie, offset, *_: chunk(cookie, 2, struct.pack(">QI", offset + 1, 5), done=False),
    ),
    "huge": replying(
        lambda cookie, offset, *_: chunk(cookie, 1, struct.pack(">Q", offset), length=0xFFFFFFFF)
    ),
    "huge hole": part(2, ">QI", 4096, 0xFFFFFFFF),
    "no hole": part(2, ">QI", 4096, 0),
    "short hole": part(2, ">Q", 4096),
    "status": part(5, ">III", 7, 4096, 0),
    "unknown": part(9, ""),
    "unfinished": part(0, "", done=False),
    "no error": part(0x8001, ">IH", 0, 0),
    "short error": part(0x8001, ">I", 5),
    "long error": part(0x8001, ">IH", 5, 0, length=1 << 20),
    "errors without end": failing_endlessly,
}
STATES: dict[str, Answer] = {
    "of another context": runs((4096, 0), context=8),
    "huge": part(5, ">I", 7, length=0xFFFFFFFC),
    "half a run": part(5, ">II", 7, 4096),
    "no run": part(5, ">I", 7),
    "twice": replying(
        lambda cookie, *_: chunk(cookie, 5, struct.pack(">III", 7, 4096, 0), done=False),
        lambda cookie, *_: chunk(cookie, 5, struct.pack(">III", 7, 4096, 0)),
    ),
}


@pytest.mark.parametrize("case", HANDSHAKES)
def test_handshakes(tmp_path: Path, case: str) -> None:
    replaced, words = HANDSHAKES[case]
    with listening(tmp_path, Scripted(**replaced)) as uri, pytest.raises(OSError, match=words):
        open_export(uri)


@pytest.mark.parametrize("case", READS)
def test_answers_to_reads(tmp_path: Path, case: str) -> None:
    """No memory is taken for what a server only announces."""
    tracemalloc.start()
    with listening(tmp_path, Scripted(answers={READ: READS[case]})) as uri:
        storage = open_export(uri)
        for _ in range(2):  # and for good
            with pytest.raises(OSError, match=BREAKS):
                storage.read(4096, 4096)
        storage.close()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MIB


@pytest.mark.parametrize("case", STATES)
def test_answers_to_block_status(tmp_path: Path, case: str) -> None:
    server = Scripted(answers={STATUS: STATES[case]})
    with listening(tmp_path, server) as uri, raw(uri) as disk, pytest.raises(OSError, match=BREAKS):
        list(disk.data_ranges())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (runs((4096, 0), (4096, 3), (1 << 20, 0)), [(0, 4096), (8192, MIB - 8192)]),
        (runs((0xFFFFFFFF, 3)), []),
        (runs((0, 3)), [(0, MIB)]),  # a run without a length says nothing
        (runs((4096, 1), (0xFFFFFFFF, 2)), [(0, 4096)]),  # a hole need not read as zeros
        (part(0x8001, ">IH", 22, 0), [(0, MIB)]),
        (replying(lambda cookie, *_: struct.pack(">IIQ", 0x67446698, 0, cookie)), [(0, MIB)]),
    ],
)
def test_what_may_hold_something(tmp_path: Path, answer: Answer, expected: list[tuple[int, int]]) -> None:
    right = replying(data)
    server = Scripted(answers={STATUS: answer, READ: right})
    with listening(tmp_path, server) as uri, raw(uri) as disk:
        assert list(disk.data_ranges()) == expected


@pytest.mark.parametrize(("number", "expected"), [(1, 1), (5, 5), (28, 28), (95, errno.ENOTSUP), (4000, 22)])
def test_errors_keep_their_numbers(tmp_path: Path, number: int, expected: int) -> None:
    text = b"words of the server"
    answer = part(0x8001, f">IH{len(text)}s", number, len(text), text)  # type: ignore[arg-type]
    with listening(tmp_path, Scripted(answers={READ: answer})) as uri:
        storage = open_export(uri)
        with pytest.raises(OSError, match="says: words of the server, of the 10 bytes at 0") as caught:
            storage.read(10, 0)
        assert caught.value.errno == expected
        storage.close()


def test_a_failed_write_is_not_forgotten(tmp_path: Path) -> None:
    """Whoever asks again whether all is durable is told again."""
    full = replying(lambda cookie, *_: struct.pack(">IIQ", 0x67446698, 28, cookie))
    with listening(tmp_path, Scripted(answers={WRITE: full})) as uri:
        storage = open_export(uri)
        storage.write_at(b"x" * 512, 0)
        for _ in range(2):
            with pytest.raises(OSError, match=r"\[Errno 28\]"):
                storage.flush()
        storage.close()


def test_one_bad_sector_keeps_nothing_else_from_being_read(tmp_path: Path) -> None:
    """Not even where much is read ahead in one request."""
    bad = 200 * 512

    def answer(client: socket.socket, _: int, cookie: int, offset: int, length: int) -> None:
        failed = chunk(cookie, 0x8001, struct.pack(">IH", 5, 0))
        client.sendall(failed if offset <= bad < offset + length else data(cookie, offset, length))

    server = Scripted(answers={READ: answer, STATUS: runs((MIB, 0))})
    with listening(tmp_path, server) as uri, contextlib.closing(open_export(uri)) as storage:
        assert list(storage.data_ranges(0, MIB)) == [(0, MIB)]
        failed = []
        for offset in range(0, MIB // 4, 512):
            try:
                assert storage.read(512, offset) == b"\5" * 512
            except OSError:
                failed.append(offset)
    assert failed == [bad]


def silent(client: socket.socket, *_: int) -> None:
    """Wait until the client has gone."""
    exactly(client, 1 << 30)


def test_a_server_that_falls_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE_SECONDS", 0.05)
    with listening(tmp_path, Scripted(answers={READ: silent})) as uri:
        storage = open_export(uri)
        with pytest.raises(OSError, match="the server does not answer"):
            storage.read(10, 0)
        storage.close()
    monkeypatch.setattr(connection, "HANDSHAKE_SECONDS", 0.05)
    with listening(tmp_path, silent) as uri, pytest.raises(OSError, match="the server does not answer"):
        open_export(uri)


def test_by_tcp() -> None:
    """Of a server that is right."""
    server = Scripted(answers={READ: replying(data), STATUS: runs((MIB, 0))})
    with listening(None, server) as uri, vhdx.open(uri) as disk:
        assert disk.pread(2 * 4096, 4096) == b"\5" * 8192
        assert (disk.size, disk.chain) == (MIB, (uri,))
    with pytest.raises(OSError, match="no NBD server answers"):
        open_export(uri)


class Idle:
    """A socket on which nothing comes for a while, and then everything."""

    def __init__(self) -> None:
        self.silent = 3

    def recv_into(self, view: memoryview) -> int:
        if self.silent:
            self.silent -= 1
            raise TimeoutError
        view[:] = b"\5" * len(view)
        return len(view)


class Clock:
    """Each look at it takes the time of a wait."""

    def __init__(self, step: float) -> None:
        self._ticks = itertools.count()
        self._step = step

    def monotonic(self) -> float:
        return next(self._ticks) * self._step


def received(monkeypatch: pytest.MonkeyPatch, step: float, asked: float | None) -> bytes:
    """What comes in the end, if each wait takes so long and something was asked at this time."""
    monkeypatch.setattr(connection, "time", Clock(step))
    idle: Any = connection.Connection.__new__(connection.Connection)
    idle._socket, idle._failure, buffer = Idle(), None, bytearray(3)
    idle._pending, idle._asked = ({}, 0.0) if asked is None else ({1: None}, asked)
    idle._receive_into(memoryview(buffer))
    return bytes(buffer)


def test_being_idle_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as nothing is asked; nor is a short wait one, of which Windows makes many."""
    patience = connection.PATIENCE_SECONDS
    assert received(monkeypatch, patience, None) == b"\5" * 3
    assert received(monkeypatch, patience, 3 * patience) == b"\5" * 3
    assert received(monkeypatch, patience / 4, -patience) == b"\5" * 3
    for asked in (-patience, 0.0, patience):
        with pytest.raises(TimeoutError):
            received(monkeypatch, patience, asked)


def test_where_nobody_wakes_a_wait_it_ends_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows need not wake who waits for a socket that is shut: what is broken off ends soon, though."""
    monkeypatch.setattr(connection, "LONGEST_WAIT", 0.01)
    monkeypatch.setattr(connection.Connection, "_shut", lambda _: None)
    asked = threading.Event()

    def answer(client: socket.socket, *_: int) -> None:
        asked.set()
        silent(client)

    with listening(tmp_path, Scripted(answers={READ: answer})) as uri:
        storage = open_export(uri)

        def close() -> None:
            asked.wait()
            storage.close()

        threading.Thread(target=close).start()
        with pytest.raises(OSError, match="broken off"):
            storage.read(10, 0)
        storage.close()


def test_a_server_that_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends to it waits as long as for an answer."""
    monkeypatch.setattr(connection, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(connection, "LONGEST_WAIT", 0.01)
    over = threading.Event()
    sizes = [struct.pack(">HQH", 0, 64 * MIB, 5)]
    with listening(tmp_path, Scripted(infos=sizes, answers={WRITE: lambda *_: over.wait(20)})) as uri:
        storage = open_export(uri)
        with pytest.raises(OSError, match="the server does not answer"):
            storage.write_at(bytes(64 * MIB), 0)
        storage.close()
        over.set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="hosts without fork")
def test_a_fork_refuses_and_does_no_harm(tmp_path: Path) -> None:
    """It has no thread that takes replies, and shares the socket with who forked."""
    server = Scripted(answers={READ: replying(data)})
    with listening(tmp_path, server) as uri, contextlib.closing(open_export(uri)) as storage:
        child = os.fork()
        if not child:
            number = 1
            try:
                storage.read(3, 0)
            except OSError as error:
                number = 0 if "the process that forked" in str(error) else 2
            storage.close()
            os._exit(number)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert storage.read(3, 0) == b"\5" * 3


@pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")
def test_ctrl_c_while_a_server_is_silent(tmp_path: Path) -> None:
    """Nobody has to wait for it, and no file is made."""
    asked = threading.Event()

    def answer(client: socket.socket, *_: int) -> None:
        asked.set()
        silent(client)

    with listening(tmp_path, Scripted(answers={READ: answer, STATUS: runs((MIB, 0))})) as uri:
        line = [*COMMAND, "convert", "-f", "raw", uri, str(tmp_path / "n.vhdx")]
        with subprocess.Popen(line, stderr=subprocess.PIPE) as process:
            assert asked.wait(20)
            process.send_signal(signal.SIGINT)
            assert b"n.vhdx was not made" in process.communicate(timeout=20)[1]
    assert not list(tmp_path.glob("*n.vhdx*"))


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("nbd:///disk", "names no host"),
        ("nbd://host:70000/", "the port must be"),
        ("nbd+unix:///disk", "names no socket"),
        ("nbd://host/%00", "none of them zero"),
        ("nbd://host/" + "a" * 5000, "at most 4096 bytes"),
        ("nbds://host/", "TLS is not spoken"),
        ("nbds+unix:///?socket=s", "TLS is not spoken"),
    ],
)
def test_uris_that_say_too_little(uri: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parsed(uri)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("nbd://host", ("", "host", 10809, "")),
        ("nbd://user:secret@host:1/a%20b", ("", "host", 1, "a b")),
        ("NBD://[::1]:5//disk", ("", "::1", 5, "/disk")),
        ("nbd+unix:///disk?socket=/a%3Fb", ("/a?b", "", 0, "disk")),
        ("nbd+unix://?socket=s", ("s", "", 0, "")),
    ],
)
def test_uris(uri: str, expected: tuple[str, str, int, str]) -> None:
    found = parsed(uri)
    assert found[:4] == expected
    assert "secret" not in found.name
