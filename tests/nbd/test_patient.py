"""The transport of hosts whose sockets wake nobody, lose bytes by timeouts and send one buffer at a time."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from vhdx.nbd import transport
from vhdx.nbd.transport import PatientTransport, TooSlowError


@pytest.fixture(name="pair")
def _pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def received(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        data += connection.recv(min(65536, length - len(data)))
    return data


def test_many_buffers_of_all_lengths_arrive_in_order(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    lengths = [0, 1, 16, 65535, 65536, 65537, 16, 3_000_000, 16, *[16] * 5000, 100_000]
    buffers = [bytes([number % 251]) * length for number, length in enumerate(lengths)]
    sender = threading.Thread(target=PatientTransport(ours, 10).send, args=(buffers,))
    sender.start()
    assert received(theirs, sum(lengths)) == b"".join(buffers)
    sender.join()


def test_small_buffers_leave_together(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []

    class Counting(socket.socket):
        def send(self, data: object, *_: object) -> int:
            assert isinstance(data, memoryview)
            sent.append(len(data))
            return len(data)

    with Counting(fileno=pair[0].detach()) as counting:
        PatientTransport(counting, 10).send([b"h" * 16, b"p" * 4096] * 8)
        assert sent == [8 * 4112]
        sent.clear()
        PatientTransport(counting, 10).send([b"h" * 16, b"p" * 1_000_000])
        assert sent == [16, 1_000_000]


@pytest.mark.parametrize("how", ["stop_receiving", "shut"])
def test_who_waits_is_told_that_it_is_over(how: str, pair: tuple[socket.socket, socket.socket]) -> None:
    waiting = PatientTransport(pair[0], 60)
    counts: list[int] = []
    thread = threading.Thread(target=lambda: counts.append(waiting.receive_into(memoryview(bytearray(8)))))
    thread.start()
    time.sleep(0.05)
    getattr(waiting, how)()
    thread.join(10)
    assert counts == [0]


def test_a_wait_ends_in_time(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_SHORT_WAIT", 0.01)
    impatient = PatientTransport(pair[0], 0.05)
    with pytest.raises(TimeoutError):
        impatient.receive_into(memoryview(bytearray(8)))
    with pytest.raises(TooSlowError):
        impatient.send([bytes(50_000_000)])
