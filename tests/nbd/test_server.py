"""The server and a plain client: every mode of answers, durability, limits, and clients that mean harm."""

import contextlib
import errno
import itertools
import os
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import vhdx
from tests.support.layout import MIB
from vhdx.nbd import listen
from vhdx.nbd.connection import Limits, ServerState
from vhdx.nbd.export import SLICE, Export
from vhdx.nbd.server import Server
from vhdx.nbd.serving import HELPERS

from . import client as wire
from .client import (
    BLOCK_STATUS,
    CACHE,
    DF,
    DISCONNECT,
    FAST_ZERO,
    FLUSH,
    FUA,
    NO_HOLE,
    PAYLOAD_LEN,
    READ,
    REQ_ONE,
    TRIM,
    WRITE,
    WRITE_ZEROES,
    Client,
    go,
    many,
    meta,
)
from .disks import UNIT, HeldFlush, MemoryDisk
from .serving import Running, served

MODES = ("simple", "structured", "extended")


@pytest.fixture(name="disk")
def _disk() -> MemoryDisk:
    return MemoryDisk(8 * MIB)


@pytest.fixture(name="running")
def _running(disk: MemoryDisk, tmp_path: Path) -> Iterator[Running]:
    with served(tmp_path, disk, limits=Limits(handshake=1.0, frame=1.0)) as running:
        yield running


def zero_or_as_it_was(now: bytes, before: bytes | bytearray) -> bool:
    """What a trim may leave of each byte."""
    found = np.frombuffer(now, np.uint8)
    return bool(((found == 0) | (found == np.frombuffer(before, np.uint8))).all())


# what is served ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_disk_is_the_same_as_a_bytearray(mode: str, tmp_path: Path) -> None:
    path, size = tmp_path / "disk.vhdx", 5 * MIB + 512
    vhdx.create(path, size, block_size=MIB)
    twin, chosen = bytearray(size), random.Random(mode)
    with vhdx.open(path, "r+") as disk, served(tmp_path, disk) as running:
        with Client.opened(running.address, mode=mode) as client, Client.opened(running.address) as other:
            assert client.size == size
            for _ in range(250):
                length = chosen.choice((0, 1, 511, 4096, 70_000, MIB, 3 * MIB + 5))
                offset = chosen.choice((0, MIB - 1, size - length, chosen.randrange(size)))
                length = min(length, size - offset)
                place = slice(offset, offset + length)
                verb = chosen.choice(("read", "read", "write", "zero", "trim", "status"))
                if verb == "write":
                    twin[place] = data = chosen.randbytes(length)
                    client.write(offset, data, chosen.choice((0, FUA)))
                elif verb == "zero":
                    twin[place] = bytes(length)
                    flags = chosen.choice((0, NO_HOLE, FUA))
                    assert not client.ask(WRITE_ZEROES, offset, length, flags=flags).error
                    assert other.read(offset, length) == twin[place]
                elif verb == "trim":
                    assert not client.ask(TRIM, offset, length).error
                    now = other.read(offset, length)
                    assert zero_or_as_it_was(now, twin[place])
                    twin[place] = now
                elif verb == "status" and mode != "simple" and length:
                    at = offset
                    for count, value in client.status(offset, length)[client.contexts["base:allocation"]]:
                        assert value in (0, 2, 3)
                        assert not value or not any(twin[at : at + count])
                        at += count
                    assert offset < at <= offset + length
                assert client.read(offset, length) == twin[place]
        assert disk.pread(size, 0) == twin
    with vhdx.open(path) as disk:
        assert disk.pread(size, 0) == twin


def test_holes_are_sent_as_holes_unless_forbidden(running: Running, disk: MemoryDisk) -> None:
    disk.bytes[MIB : MIB + 5] = b"hello"
    with Client.opened(running.address) as client:
        chunks = client.ask(READ, 0, 4 * MIB).chunks
        assert sum(len(payload) for _, payload in chunks) < 100_000
        assert client.read(MIB, 5) == b"hello"
        (only,) = client.ask(READ, MIB - 100, 200_000, flags=DF).chunks
        assert only[0] == 1
        assert client.read(MIB - 100, 200_000, DF) == disk.bytes[MIB - 100 : MIB + 199_900]


@pytest.mark.parametrize("mode", MODES)
def test_what_was_refused_leaves_the_connection_usable(mode: str, running: Running, disk: MemoryDisk) -> None:
    with Client.opened(running.address, mode=mode) as client:
        assert client.ask(WRITE, disk.size - 1, 2, b"xx").error == wire.ENOSPC
        assert client.ask(WRITE, 0, 33 * MIB, bytes(33 * MIB)).error in (wire.EINVAL, wire.ENOSPC)
        assert client.ask(READ, 0, 33 * MIB).error in (wire.EINVAL, wire.EOVERFLOW)
        assert client.ask(READ, 1 << 63, 1).error == wire.EINVAL
        assert client.ask(FLUSH, 1, 0).error == wire.EINVAL
        assert client.ask(99).error == wire.EINVAL
        assert client.ask(READ, 0, 1, flags=0x80).error == wire.EINVAL
        assert client.ask(WRITE, 0, 3, b"bad", flags=0x80).error == wire.EINVAL
        assert not client.ask(CACHE, 0, disk.size).error
        assert not any(disk.bytes)
        client.write(3, b"fine")
        assert client.read(0, 10) == b"\0\0\0fine\0\0\0"


def test_extended_requests(running: Running, disk: MemoryDisk) -> None:
    with Client.opened(running.address, mode="extended") as client:
        client.write(5, b"with", PAYLOAD_LEN)
        client.write(9, b"without")
        assert client.read(5, 11) == b"withwithout"
        assert client.ask(TRIM, 0, 3, b"abc", PAYLOAD_LEN).error == wire.EINVAL
        assert client.ask(BLOCK_STATUS, 0, 2 * MIB, bytes(2 * MIB), PAYLOAD_LEN).error == wire.EINVAL
        state = client.contexts["x-vhdx:state"]
        payload = struct.pack(">QI", disk.size - 512, state)
        reply = client.ask(BLOCK_STATUS, 512, len(payload), payload, PAYLOAD_LEN)
        ((kind, told),) = reply.chunks
        assert (kind, struct.unpack(">II", told[:8])) == (6, (state, 2))
        assert list(struct.iter_unpack(">QQ", told[8:])) == [(UNIT - 512, 6), (disk.size - UNIT, 0)]
        assert client.ask(BLOCK_STATUS, disk.size - 4, 12, payload, PAYLOAD_LEN).error == wire.EINVAL
        assert client.ask(BLOCK_STATUS, 0, 8, payload[:8], PAYLOAD_LEN).error == wire.EINVAL
        assert client.read(5, 4) == b"with"


@pytest.mark.parametrize("mode", ["simple", "structured"])
def test_a_flag_of_extended_requests_announces_no_payload_elsewhere(mode: str, running: Running) -> None:
    with Client.opened(running.address, mode=mode) as client:
        for kind in (READ, TRIM, FLUSH, BLOCK_STATUS, 99):
            assert client.ask(kind, 0, 512, flags=PAYLOAD_LEN).error == wire.EINVAL
        assert client.ask(WRITE, 0, 3, b"bad", PAYLOAD_LEN).error == wire.EINVAL
        assert client.read(0, 3) == bytes(3)


def test_block_status(running: Running, disk: MemoryDisk) -> None:
    with Client.opened(running.address) as client:
        client.write(2 * UNIT, b"x" * UNIT)
        base, state = client.contexts["base:allocation"], client.contexts["x-vhdx:state"]
        assert client.status(10, 4 * UNIT) == {
            base: [(2 * UNIT - 10, 3), (UNIT, 0), (UNIT + 10, 3)],
            state: [(2 * UNIT - 10, 0), (UNIT, 6), (UNIT + 10, 0)],
        }
        assert client.status(10, 4 * UNIT, REQ_ONE)[base] == [(2 * UNIT - 10, 3)]
        assert client.ask(BLOCK_STATUS, disk.size, 1).error == wire.EINVAL
    with Client.opened(running.address, mode="simple") as client:
        assert client.ask(BLOCK_STATUS, 0, 1).error == wire.EINVAL


def test_contexts_of_another_export_do_not_count(tmp_path: Path) -> None:
    with served(tmp_path, MemoryDisk(MIB), MemoryDisk(2 * MIB)) as running, Client(running.address) as client:
        client.greet()
        client.structured = bool(client.option(wire.STRUCTURED))
        client.option(wire.SET_META, meta("disk0", "base:allocation"))
        client.go("disk1")
        assert client.size == 2 * MIB
        assert client.ask(BLOCK_STATUS, 0, 1).error == wire.EINVAL


def test_export_name_and_zeroes(running: Running, disk: MemoryDisk) -> None:
    with Client(running.address) as client:
        client.greet(flags=1)
        client.socket.sendall(struct.pack(">QII", wire.OPTION_MAGIC, wire.EXPORT_NAME, 5) + b"disk0")
        size, flags, zeroes = struct.unpack(">QH124s", client.exactly(134))
        assert (size, flags, zeroes) == (disk.size, 0x0D6D, bytes(124))
        assert client.read(0, 3) == bytes(3)


def test_zeros_with_space_are_written_where_there_is_none(running: Running, disk: MemoryDisk) -> None:
    with Client.opened(running.address) as client:
        client.write(UNIT, b"x" * UNIT)
        assert not client.ask(WRITE_ZEROES, 0, 3 * UNIT, flags=NO_HOLE).error
        assert disk.present == {0, 1, 2}
        assert not any(disk.bytes)
        assert client.ask(WRITE_ZEROES, 0, UNIT, flags=NO_HOLE | FAST_ZERO).error == wire.ENOTSUP
        assert not client.ask(WRITE_ZEROES, 0, UNIT).error
        assert disk.present == {1, 2}


def test_a_long_erasure_comes_in_slices_and_a_fast_one_does_not(tmp_path: Path) -> None:
    disk = MemoryDisk(0)
    disk.size = 3 * SLICE + 5
    with served(tmp_path, disk) as running, Client.opened(running.address) as client:
        assert not client.ask(TRIM, SLICE - 5, 2 * SLICE).error
        assert disk.calls == [("trim", 5, SLICE - 5), ("trim", SLICE, SLICE), ("trim", SLICE - 5, 2 * SLICE)]
        disk.calls.clear()
        assert not client.ask(WRITE_ZEROES, 0, 2 * SLICE, flags=FAST_ZERO).error
        assert disk.calls == [("zero", 2 * SLICE, 0, False, True)]


# durability --------------------------------------------------------------------------------------


def test_what_makes_durable(running: Running, disk: MemoryDisk) -> None:
    with Client.opened(running.address) as client:
        for kind, data in ((WRITE, b"x"), (TRIM, b""), (WRITE_ZEROES, b"")):
            disk.calls.clear()
            assert not client.ask(kind, 0, 1, data).error
            assert ("flush",) not in disk.calls
            assert not client.ask(kind, 0, 1, data, FUA).error
            assert disk.calls[-1] == ("flush",)
        disk.calls.clear()
        assert not client.ask(READ, 0, 1, flags=FUA).error
        assert ("flush",) not in disk.calls
        assert not client.ask(FLUSH).error
        assert disk.calls[-1] == ("flush",)


def test_the_last_client_leaves_everything_durable(running: Running, disk: MemoryDisk) -> None:
    with Client.opened(running.address) as client:
        client.write(0, b"x")
        assert ("flush",) not in disk.calls
        client.send(DISCONNECT)
        assert client.is_closed()
    running.stop()
    assert disk.calls[-1] == ("flush",)


def test_a_flush_that_failed_fails_for_good(running: Running, disk: MemoryDisk) -> None:
    def fail(verb: str) -> None:
        if verb == "flush":
            raise OSError(errno.EIO, "the host's disk is gone")

    disk.before = fail
    with Client.opened(running.address) as client:
        client.write(0, b"before")
        assert client.ask(FLUSH).error == wire.EIO
        disk.before = lambda verb: None
        assert client.ask(FLUSH).error == wire.EIO
        assert client.ask(WRITE, 0, 1, b"x").error == wire.EIO
        assert client.ask(WRITE_ZEROES, 0, 1).error == wire.EIO
        assert client.ask(TRIM, 0, 1).error == wire.EIO
        assert client.read(0, 6) == b"before"
    with Client.opened(running.address) as client:
        assert client.ask(WRITE, 0, 1, b"x", FUA).error == wire.EIO
    assert running.logged("the host's disk is gone")


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.EIO, "broken"), wire.EIO),
        (OSError(errno.ENOSPC, "full"), wire.ENOSPC),
        (OSError(errno.EDQUOT, "quota"), wire.ENOSPC),
        (OSError(errno.EROFS, "read-only"), wire.EPERM),
        (vhdx.CorruptImageError("bad", image="/secret/path"), wire.EIO),
        (RuntimeError("a mistake"), wire.EIO),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_errors_of_the_disk_become_answers(
    mode: str, error: Exception, number: int, running: Running, disk: MemoryDisk
) -> None:
    def fail(verb: str) -> None:
        if verb != "flush":
            raise error

    with Client.opened(running.address, mode=mode) as client:
        disk.before = fail
        for kind, length in ((READ, 5), (READ, 3 * MIB), (WRITE, 5), (WRITE, 3 * MIB), (TRIM, 5)):
            reply = client.ask(kind, 0, length, bytes(length) if kind == WRITE else b"")
            assert reply.error == number
            assert not any(b"secret" in payload for _, payload in reply.chunks)
        disk.before = lambda verb: None
        client.write(0, b"again")
        assert client.read(0, 5) == b"again"


def test_a_host_that_is_full_is_told_to_whoever_runs_the_server_once_a_client(
    running: Running, disk: MemoryDisk
) -> None:
    def full(verb: str) -> None:
        if verb != "flush":
            raise OSError(errno.ENOSPC, "the host is full")

    disk.before = full
    for _ in range(2):
        with Client.opened(running.address) as client:
            for offset in range(3):
                assert client.ask(WRITE, offset, 1, b"x").error == wire.ENOSPC
    assert sum("the host is full" in line for line in running.log) == 2


def test_an_error_in_the_middle_of_a_long_read(running: Running, disk: MemoryDisk) -> None:
    def fail_late(verb: str) -> None:
        if verb == "pread" and disk.calls[-1][2] == 2 * MIB:
            raise OSError(errno.EIO, "broken")

    with Client.opened(running.address) as client, Client.opened(running.address, mode="simple") as simple:
        disk.before = fail_late
        reply = client.ask(READ, 0, 4 * MIB)
        assert reply.error == wire.EIO
        assert [kind for kind, _ in reply.chunks] == [2, 2, 0x8001]
        assert simple.ask(READ, 0, 4 * MIB).error == wire.EIO  # found out before anything was promised
        assert simple.read(0, MIB) == bytes(MIB)


@pytest.mark.parametrize("verb", ["pwrite", "pread"])
def test_long_requests_are_cut_where_sectors_end(verb: str, running: Running, disk: MemoryDisk) -> None:
    """Else what another client writes meanwhile could leave a sector of two halves. Found by the soak."""
    start, length = 1000, 3 * MIB + 500
    with Client.opened(running.address) as client:
        if verb == "pwrite":
            client.write(start, b"x" * length)
        else:
            assert client.read(start, length) == bytes(length)
    asked = [call[1:] for call in disk.calls if call[0] == verb]
    borders = (start, MIB, 2 * MIB, 3 * MIB, start + length)
    wanted = [(end - begin, begin) for begin, end in itertools.pairwise(borders)]
    assert asked[-len(wanted) :] == wanted


# several at once ---------------------------------------------------------------------------------


def test_a_flush_does_not_hold_up_reads_of_its_connection(running: Running, disk: MemoryDisk) -> None:
    held = HeldFlush(disk)
    with Client.opened(running.address) as client:
        flush = client.send(FLUSH)
        assert held.going.wait(10)
        assert client.read(0, 10) == bytes(10)
        held.may_end.set()
        assert client.reply().cookie == flush


def test_threads_of_a_connection_are_few(running: Running, disk: MemoryDisk) -> None:
    held = HeldFlush(disk)
    with Client.opened(running.address) as client:
        before = threading.active_count()
        cookies = {client.send(FLUSH) for _ in range(40)}
        time.sleep(0.3)
        assert threading.active_count() - before <= HELPERS
        held.may_end.set()
        assert {client.reply().cookie for _ in cookies} == cookies


def test_what_one_client_was_told_is_written_all_see_and_any_may_flush(
    running: Running, disk: MemoryDisk
) -> None:
    with Client.opened(running.address) as one, Client.opened(running.address) as other:
        for number in range(50):
            one.write(number, bytes([number]))
            assert other.read(number, 1) == bytes([number])
        assert not other.ask(FLUSH).error
        assert disk.calls[-1] == ("flush",)


def test_reads_that_wait_for_the_hosts_disk_wait_together(
    running: Running, disk: MemoryDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vhdx.nbd.watch.DiskWatch.has_waited", lambda watch: True)
    together = threading.Barrier(3, timeout=10)
    with Client.opened(running.address) as client:
        for _ in range(2):  # the first two in one piece find out that the disk is slow
            client.socket.sendall(client.packed(READ, 0, 5) * 2)
            client.exactly(2 * 33)

        def meet(verb: str) -> None:
            if verb == "pread":
                together.wait()

        disk.before = meet
        reads = [client.send(READ, number, 1) for number in range(3)]
        assert {client.reply().cookie for _ in reads} == {*reads}


def test_many_requests_in_one_piece(running: Running) -> None:
    with Client.opened(running.address) as client:
        data = [os.urandom(3000) for _ in range(200)]
        frames = b"".join(
            client.packed(WRITE, number * 3000, 3000, cookie=number) + piece
            for number, piece in enumerate(data)
        )
        sender = threading.Thread(target=client.socket.sendall, args=(frames,))
        sender.start()
        client._lengths.update(dict.fromkeys(range(200), (0, 0)))
        assert {client.reply().cookie for _ in data} == set(range(200))
        sender.join()
        assert client.read(0, 600_000) == b"".join(data)


def test_a_request_that_comes_byte_by_byte(running: Running) -> None:
    with Client.opened(running.address) as client:
        for byte in client.packed(WRITE, 0, 5, cookie=1) + b"hello":
            client.socket.sendall(bytes([byte]))
        client._lengths[1] = 0, 5
        assert not client.reply().error
        assert client.read(0, 5) == b"hello"


# clients that mean harm --------------------------------------------------------------------------


def test_silence_ends_at_the_deadline_and_harms_nobody(running: Running) -> None:
    begin = time.monotonic()
    with many(running.address, 20) as silent, Client.opened(running.address) as client:
        client.write(0, b"fine")
        for each in silent:
            assert each.recv(18)
            assert each.recv(1) == b""
        assert 0.5 < time.monotonic() - begin < 8
        assert client.read(0, 4) == b"fine"
    assert sum("too long" in line for line in running.log) == 20


def test_a_handshake_in_drops_has_one_deadline(running: Running) -> None:
    with Client(running.address) as client:
        client.greet()
        begin = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - begin < 8:
                client.socket.sendall(b"I")
                time.sleep(0.1)
        assert time.monotonic() - begin < 6


@pytest.mark.parametrize("sent", [10, 28, 30, 28 + 2 * MIB])
def test_half_a_request(sent: int, running: Running, disk: MemoryDisk) -> None:
    with Client.opened(running.address) as client, Client.opened(running.address) as other:
        client.socket.sendall((client.packed(WRITE, 0, 3 * MIB) + b"x" * 3 * MIB)[:sent])
        assert client.is_closed()
        other.write(0, b"fine")
        assert other.read(0, 4) == b"fine"
    assert running.logged("stopped in the middle of a request")


def test_a_payload_in_drops_has_one_deadline(running: Running) -> None:
    with Client.opened(running.address) as client:
        client.socket.sendall(client.packed(WRITE, 0, 100_000))
        begin = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - begin < 8:
                client.socket.sendall(b"drop")
                time.sleep(0.1)
        assert time.monotonic() - begin < 6
    assert running.logged("sends a request too slowly")


def test_the_end_in_the_middle_of_a_request(running: Running) -> None:
    with Client.opened(running.address) as client:
        client.socket.sendall(client.packed(WRITE, 0, 100) + b"x" * 50)
    assert running.logged("ended in the middle of a request")


def test_who_does_not_take_answers_is_dropped_and_harms_nobody(running: Running) -> None:
    with Client.opened(running.address) as deaf, Client.opened(running.address) as client:
        deaf.socket.settimeout(None)
        requests = deaf.packed(READ, 0, MIB, flags=DF) * 64
        deaf.socket.sendall(requests)
        for _ in range(20):
            client.write(0, b"fine")
            assert client.read(0, 4) == b"fine"
        assert running.logged("does not take its answers")


@pytest.mark.parametrize("drops", [False, True])
def test_who_flushes_and_does_not_listen_holds_up_nobody(
    drops: bool, running: Running, disk: MemoryDisk
) -> None:
    with Client.opened(running.address) as deaf, Client.opened(running.address) as client:
        deaf.socket.settimeout(None)
        for _ in range(3):
            deaf.socket.sendall(deaf.packed(READ, 0, MIB, flags=DF) + deaf.packed(FLUSH, 0, 0))
        if drops:
            deaf.close()
        client.write(0, b"fine", FUA)
        assert client.read(0, 4) == b"fine"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        struct.pack(">IHHQQI", 0x25609514, 0, READ, 0, 0, 1),
        bytes(28),
        struct.pack(">IHHQQI", 0x25609513, 0, WRITE, 0, 0, 0xFFFFFFFF),
    ],
)
def test_nonsense_for_a_request(data: bytes, running: Running) -> None:
    with Client.opened(running.address) as client, Client.opened(running.address) as other:
        client.socket.sendall(data)
        assert client.is_closed()
        assert other.read(0, 4) == bytes(4)
    assert running.logged("was dropped: a request with")
    assert len(running.log) == 1


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", bytes(4), b"\0\0\0\3" + bytes(16)])
def test_nonsense_for_a_handshake(data: bytes, running: Running) -> None:
    with Client(running.address) as client:
        client.exactly(18)
        client.socket.sendall(data)
        assert client.is_closed()
    with Client.opened(running.address) as other:
        assert other.read(0, 4) == bytes(4)
    assert running.logged("was dropped")
    assert len(running.log) == 1


def test_an_option_of_4_gib(running: Running) -> None:
    with Client(running.address) as client:
        client.greet()
        client.socket.sendall(struct.pack(">QII", wire.OPTION_MAGIC, wire.GO, 0xFFFFFFFF))
        assert client.is_closed()
    assert running.logged("an option of 4294967295 bytes")


def test_an_option_that_is_too_long_is_taken_in_and_refused(running: Running) -> None:
    with Client(running.address) as client:
        client.greet()
        ((kind, _),) = client.option(wire.GO, bytes(65537))
        assert kind == wire.TOO_BIG
        client.go()


def clients() -> int:
    """How many threads serve somebody."""
    return sum(thread.name.startswith("nbd-") for thread in threading.enumerate())


def open_descriptors() -> int:
    """How many this process has, where the host tells it."""
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


def test_a_thousand_connections(disk: MemoryDisk, tmp_path: Path) -> None:
    descriptors = open_descriptors()
    with served(tmp_path, disk, maximum_connections=10) as running:
        threads = clients()
        for _ in range(20):
            with many(running.address, 50):
                pass
        with Client.opened(running.address) as client:
            assert client.read(0, 4) == bytes(4)
        deadline = time.monotonic() + 5
        while clients() > threads and time.monotonic() < deadline:
            time.sleep(0.01)
        assert clients() == threads
    assert open_descriptors() == descriptors


def test_a_client_that_is_gone_before_it_is_served_ends_nothing(
    disk: MemoryDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """macOS refuses to set options of a socket whose other end has gone."""
    state = ServerState({"": Export("", disk)}, "", None, Limits(), print)
    with listen.tcp_socket("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        server = Server(state, [listener], once=True)
        thread = threading.Thread(target=server.serve)
        thread.start()
        with monkeypatch.context() as patch:
            patch.setattr(socket, "TCP_NODELAY", 9999)
            with socket.create_connection(address, 10) as gone:
                assert gone.recv(1) == b""
        with socket.create_connection(address, 10) as client:
            assert client.recv(8) == b"NBDMAGIC"
        thread.join(10)
        assert not thread.is_alive()


def test_who_comes_when_all_places_are_taken_waits(disk: MemoryDisk, tmp_path: Path) -> None:
    with served(tmp_path, disk, maximum_connections=2) as running:
        one, two = Client.opened(running.address), Client.opened(running.address)
        with Client(running.address) as third:
            third.socket.settimeout(0.3)
            with pytest.raises(TimeoutError):
                third.socket.recv(1)
            third.socket.settimeout(10)
            one.close()
            third.greet()
            third.structured = bool(third.option(wire.STRUCTURED))
            third.go()
            assert third.read(0, 4) == bytes(4)
        two.close()


# the end -----------------------------------------------------------------------------------------


def test_a_stop_lets_requests_finish_and_takes_no_more(running: Running, disk: MemoryDisk) -> None:
    held = HeldFlush(disk)
    with Client.opened(running.address) as client, Client.opened(running.address) as idle:
        cookie = client.send(FLUSH)
        assert held.going.wait(10)
        running.server.stop()
        assert idle.is_closed()
        held.may_end.set()
        assert client.reply() == (cookie, 0, b"", ((0, b""),))
        assert client.is_closed()
    running.thread.join(10)
    assert not running.thread.is_alive()


def test_a_stop_does_not_wait_for_who_holds_on(disk: MemoryDisk, tmp_path: Path) -> None:
    with (
        served(tmp_path, disk, grace=0.5) as running,
        Client.opened(running.address) as deaf,
        Client(running.address) as negotiating,
    ):
        negotiating.greet()
        deaf.socket.sendall(deaf.packed(READ, 0, MIB, flags=DF) * 20)
        begin = time.monotonic()
        running.stop()
        assert time.monotonic() - begin < 5


def test_once_ends_with_the_last_client(disk: MemoryDisk, tmp_path: Path) -> None:
    with served(tmp_path, disk, once=True) as running:
        with Client.opened(running.address), Client.opened(running.address):
            pass
        running.thread.join(10)
        assert not running.thread.is_alive()


def test_go_after_a_refusal(running: Running) -> None:
    with Client(running.address) as client:
        client.greet()
        ((kind, text),) = client.option(wire.GO, go("no\nbody"))
        assert kind == wire.UNKNOWN
        assert b"\n" not in text
        client.go("disk0")
