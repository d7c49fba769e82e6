"""Looking for the next request before one sleeps: only as long as it is of use."""

import socket
from collections.abc import Iterator

import pytest

from vhdx.nbd.eager import LOOKS, MOST_PASSED, EagerReceiver
from vhdx.nbd.transport import PlainTransport

if not hasattr(socket, "MSG_DONTWAIT"):
    pytest.skip("hosts without it have a transport that does not look", allow_module_level=True)


class Counting(socket.socket):
    """Counts how often it is looked into."""

    looks = 0

    def recv_into(self, *arguments: object) -> int:
        self.looks += 1
        return super().recv_into(*arguments)  # type: ignore[arg-type]


@pytest.fixture(name="pair")
def _pair() -> Iterator[tuple[Counting, socket.socket]]:
    ours, theirs = socket.socketpair()
    with Counting(fileno=ours.detach()) as counting, theirs:
        yield counting, theirs


@pytest.fixture(name="eager")
def _eager(pair: tuple[Counting, socket.socket]) -> Iterator[EagerReceiver]:
    receiver = EagerReceiver(pair[0])
    yield receiver
    receiver.close()


def test_what_is_there_is_received_at_once(
    eager: EagerReceiver, pair: tuple[Counting, socket.socket]
) -> None:
    buffer = bytearray(16)
    for number in range(5):
        pair[1].send(bytes([number]) * 7)
        assert eager.receive_into(memoryview(buffer)) == 7
        assert buffer[:7] == bytes([number]) * 7
    assert pair[0].looks == 5


def test_in_vain_it_is_looked_more_and_more_seldom(
    eager: EagerReceiver, pair: tuple[Counting, socket.socket]
) -> None:
    waits = 20_000
    for _ in range(waits):
        assert eager.receive_into(memoryview(bytearray(16))) == 0
    tries = pair[0].looks // LOOKS
    assert waits // (MOST_PASSED + 1) <= tries < waits // (MOST_PASSED + 1) + 10
    pair[1].send(b"x" * 2000)
    while not eager.receive_into(memoryview(bytearray(1))):
        pass
    looks = pair[0].looks
    for _ in range(1000):  # of use again: each look finds something
        assert eager.receive_into(memoryview(bytearray(1))) == 1
    assert pair[0].looks == looks + 1000


def test_of_several_clients_nobody_is_waited_for(
    eager: EagerReceiver, pair: tuple[Counting, socket.socket]
) -> None:
    ours, theirs = socket.socketpair()
    pair[1].send(b"xx")
    with ours, theirs:
        other = EagerReceiver(ours)
        assert eager.receive_into(memoryview(bytearray(1))) == 0
        assert pair[0].looks == 0
        other.close()
    assert eager.receive_into(memoryview(bytearray(1))) == 1


def test_the_end_is_told_and_the_frames_time_is_kept(pair: tuple[Counting, socket.socket]) -> None:
    transport = PlainTransport(pair[0], 0.01)
    view = memoryview(bytearray(4))
    with pytest.raises(TimeoutError):
        transport.receive_into(view)
    pair[1].send(b"abc")
    assert transport.receive_into(view) == 3
    pair[1].shutdown(socket.SHUT_WR)
    assert transport.receive_into(view) == 0
    transport.close()
