"""Replies of any server, right or wrong, against a model: a read is what was sent for it, or an error."""

import contextlib
import io
import struct
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from vhdx.client.handshake import Agreed
from vhdx.client.replies import Replies, Request
from vhdx.wire import Command, ProtocolError

from .peers import chunk

AGREED = Agreed(1 << 20, 1, structured=True, context=7, minimum=1, maximum=1 << 25)
START, LENGTH = 64, 16
OLD = b"\xee"


class Part(NamedTuple):
    """A part of a reply: contents or a hole, where, and whether it is the last."""

    is_hole: bool
    offset: int
    length: int
    done: bool

    def packed(self) -> bytes:
        if self.is_hole:
            return chunk(1, 2, struct.pack(">QI", self.offset, self.length), done=self.done)
        return chunk(
            1, 1, struct.pack(">Q", self.offset) + bytes([self.length]) * self.length, done=self.done
        )


PARTS = st.builds(Part, st.booleans(), st.integers(60, 84), st.integers(0, 20), st.booleans())
NUMBERS = st.sampled_from([0, 1, 2, 4, 5, 8, 12, 0x8001, 0xFFFF, 1 << 31, 0xFFFFFFFF])
ANY = st.builds(
    lambda kind, cookie, payload, done, length: chunk(
        cookie, kind & 0xFFFF, payload, done=done, length=length
    ),
    NUMBERS,
    st.integers(0, 4),
    st.binary(max_size=24),
    st.booleans(),
    st.one_of(st.none(), NUMBERS),
)


def asked() -> dict[int, Request]:
    return {
        1: Request(Command.READ, START, LENGTH, memoryview(bytearray(OLD * LENGTH))),
        2: Request(Command.BLOCK_STATUS, 0, 1 << 20),
        3: Request(Command.WRITE, 0, 512),
    }


def taken(stream: bytes, pending: dict[int, Request]) -> str | None:
    """Take replies until none is left; what is wrong with them."""
    source = io.BytesIO(stream)

    def receive_into(view: memoryview) -> None:
        if source.readinto(view) != len(view):
            raise EOFError

    replies = Replies(AGREED, pending, receive_into)
    with contextlib.suppress(EOFError):
        while True:
            try:
                cookie, request = replies.take()
            except ProtocolError as error:
                return str(error)
            if request.is_done:
                del pending[cookie]
    return None


def expected(parts: list[Part]) -> bytes | None:
    """What the parts make of the read; None for a protocol that is broken or a reply that has no end."""
    content: dict[int, int] = {}
    for part in parts:
        places = range(part.offset, part.offset + part.length)
        inside = part.offset >= START and part.offset + part.length <= START + LENGTH
        if not part.length or not inside or any(place in content for place in places):
            return None
        content.update(dict.fromkeys(places, 0 if part.is_hole else part.length))
        if part.done:
            return bytes(content[place] for place in sorted(content)) if len(content) == LENGTH else None
    return None


@given(st.lists(PARTS, max_size=5), st.permutations([(64, 4), (68, 7), (75, 5)]), st.booleans())
def test_a_read_is_what_was_sent_for_it(
    wrong: list[Part], places: list[tuple[int, int]], is_right: bool
) -> None:
    right = [Part(number == 1, *place, done=number == 2) for number, place in enumerate(places)]
    parts = right if is_right else wrong
    pending = asked()
    request = pending[1]
    problem = taken(b"".join(part.packed() for part in parts), pending)
    content = expected(parts)
    assert (request.is_done and problem is None and request.error is None) or content is None
    if content is not None:
        assert request.view is not None
        assert bytes(request.view) == content


@given(st.lists(ANY, max_size=6), st.binary(max_size=40))
def test_nothing_but_errors_of_the_protocol(parts: list[bytes], rest: bytes) -> None:
    """And nothing is written to but what was asked for."""
    pending = asked()
    request = pending[1]
    assert request.view is not None
    taken(b"".join(parts) + rest, pending)
    untouched = set(range(START, START + LENGTH)) - {
        place for start, end in request.covered for place in range(start, end)
    }
    assert all(request.view[place - START] == OLD[0] for place in untouched)
