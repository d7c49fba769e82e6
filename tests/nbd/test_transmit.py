"""Which request is in order, and how answers look, against the tables of the protocol."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vhdx.nbd.negotiate import Agreement, Offer
from vhdx.nbd.transmit import DF_LIMIT, HOLE_GRAIN, Request, Requests, replies_of, zero_runs
from vhdx.wire import Error, ExportFlag, ProtocolError

from .client import (
    BLOCK_STATUS,
    CACHE,
    DF,
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
)

SIZE = 100 << 20
RESIZE = 8
MODES = {"simple": (False, False), "structured": (True, False), "extended": (False, True)}
E = Error


def agreement(mode: str = "structured", *, writable: bool = True, contexts: bool = True) -> Agreement:
    structured, extended = MODES[mode]
    flags = ExportFlag.HAS_FLAGS | ExportFlag.SEND_FLUSH | ExportFlag.SEND_FUA
    if writable:
        flags |= ExportFlag.SEND_TRIM | ExportFlag.SEND_WRITE_ZEROES | ExportFlag.SEND_FAST_ZERO
    else:
        flags |= ExportFlag.READ_ONLY
    if mode != "simple":
        flags |= ExportFlag.SEND_DF
    offer = Offer("e", SIZE, flags, "", ())
    names = {1: "base:allocation"} if contexts and mode != "simple" else {}
    return Agreement(offer, flags, structured, extended, names)


@pytest.mark.parametrize(
    ("kind", "offset", "length", "flags", "error"),
    [
        (READ, 0, 0, 0, E.NONE),
        (READ, SIZE, 0, 0, E.NONE),
        (READ, SIZE - 1, 1, FUA, E.NONE),
        (READ, SIZE, 1, 0, E.EINVAL),
        (READ, SIZE - 1, 2, 0, E.EINVAL),
        (READ, 1 << 63, 1, 0, E.EINVAL),
        (READ, (1 << 64) - 1, 1, 0, E.EINVAL),
        (READ, 0, 32 << 20, 0, E.NONE),
        (READ, 0, (32 << 20) + 1, 0, E.EOVERFLOW),
        (READ, 0, DF_LIMIT, DF, E.NONE),
        (READ, 0, DF_LIMIT + 1, DF, E.EOVERFLOW),
        (READ, 0, 1, NO_HOLE, E.EINVAL),
        (READ, 0, 1, 0x80, E.EINVAL),
        (WRITE, SIZE - 1, 1, FUA, E.NONE),
        (WRITE, SIZE - 1, 2, 0, E.ENOSPC),
        (WRITE, 0, (32 << 20) + 1, 0, E.EINVAL),
        (WRITE, 0, 1, DF, E.EINVAL),
        (WRITE, 0, 1, PAYLOAD_LEN, E.EINVAL),
        (FLUSH, 0, 0, FUA, E.NONE),
        (FLUSH, 1, 0, 0, E.EINVAL),
        (FLUSH, 0, 1, 0, E.EINVAL),
        (TRIM, 0, SIZE, FUA, E.NONE),
        (TRIM, 1, SIZE, 0, E.EINVAL),
        (TRIM, 0, 1, NO_HOLE, E.EINVAL),
        (CACHE, 0, SIZE, 0, E.NONE),
        (CACHE, 0, SIZE + 1, 0, E.EINVAL),
        (WRITE_ZEROES, 0, SIZE, FUA | NO_HOLE | FAST_ZERO, E.NONE),
        (WRITE_ZEROES, 1, SIZE, 0, E.ENOSPC),
        (BLOCK_STATUS, 0, SIZE, REQ_ONE, E.NONE),
        (BLOCK_STATUS, 0, 0, 0, E.EINVAL),
        (BLOCK_STATUS, SIZE, 1, 0, E.EINVAL),
        (RESIZE, 0, 0, 0, E.EINVAL),
        (0xFFFF, 0, 0, 0, E.EINVAL),
    ],
)
def test_requests_are_judged(kind: int, offset: int, length: int, flags: int, error: Error) -> None:
    request = Request(flags, kind, 7, offset, length)
    assert Requests(agreement()).refusal(request) == error


@pytest.mark.parametrize("kind", [WRITE, TRIM, WRITE_ZEROES])
def test_a_read_only_export_is_not_changed(kind: int) -> None:
    requests = Requests(agreement(writable=False))
    assert requests.refusal(Request(0, kind, 7, 0, 1)) == E.EPERM
    assert requests.refusal(Request(0, kind, 7, SIZE, 1)) == E.EPERM
    assert requests.refusal(Request(0, READ, 7, 0, 1)) == E.NONE


def test_what_was_not_agreed_upon_is_invalid() -> None:
    simple = Requests(agreement("simple"))
    assert simple.refusal(Request(DF, READ, 7, 0, 1)) == E.EINVAL
    assert simple.refusal(Request(0, BLOCK_STATUS, 7, 0, 1)) == E.EINVAL
    assert simple.refusal(Request(0, READ, 7, 0, (32 << 20) + 1)) == E.EINVAL
    bare = Requests(agreement(contexts=False))
    assert bare.refusal(Request(0, BLOCK_STATUS, 7, 0, 1)) == E.EINVAL
    extended = Requests(agreement("extended"))
    assert extended.refusal(Request(PAYLOAD_LEN, WRITE, 7, 0, 1)) == E.NONE
    assert extended.refusal(Request(0, WRITE, 7, 0, 1)) == E.NONE  # as QEMU 10.0 sends it
    assert extended.refusal(Request(PAYLOAD_LEN, READ, 7, 0, 1)) == E.EINVAL


def test_payloads_are_bounded() -> None:
    requests = Requests(agreement("extended"))
    assert requests.payload_length(Request(0, WRITE, 7, 0, 64 << 20)) == 64 << 20
    assert requests.payload_length(Request(PAYLOAD_LEN, TRIM, 7, 0, 32 << 20)) == 32 << 20
    assert requests.payload_length(Request(0, TRIM, 7, 0, 1 << 60)) == 0
    for request in (Request(0, WRITE, 7, 0, (64 << 20) + 1), Request(PAYLOAD_LEN, TRIM, 7, 0, 1 << 40)):
        with pytest.raises(ProtocolError):
            requests.payload_length(request)
    compact = Requests(agreement())
    assert compact.payload_length(Request(PAYLOAD_LEN, WRITE, 7, 0, 5)) == 5
    assert compact.payload_length(Request(PAYLOAD_LEN, READ, 7, 0, 5)) == 0


@pytest.mark.parametrize(
    ("mode", "magic", "length"), [("structured", 0x25609513, 28), ("extended", 0x21E41C71, 32)]
)
def test_frames(mode: str, magic: int, length: int) -> None:
    requests = Requests(agreement(mode))
    assert requests.frame_size == length
    form = ">IHHQQQ" if mode == "extended" else ">IHHQQI"
    frame = b"before" + struct.pack(form, magic, 3, 1, 0xABCDEF, 1 << 40, 77)
    assert requests.parse(frame, 6) == Request(3, 1, 0xABCDEF, 1 << 40, 77)
    with pytest.raises(ProtocolError):
        requests.parse(frame, 0)


def test_contexts_may_be_picked_in_extended_requests() -> None:
    requests = Requests(agreement("extended"))
    request = Request(PAYLOAD_LEN | REQ_ONE, BLOCK_STATUS, 7, 512, 16)
    asked = requests.asked_contexts(request, struct.pack(">QII", 9 << 40, 2, 1), (1, 2, 3))
    assert asked == (Request(REQ_ONE, BLOCK_STATUS, 7, 512, 9 << 40), [2, 1])
    nobody = struct.pack(">Q", 1)
    for payload in (b"", bytes(7), nobody, bytes(10), struct.pack(">QII", 1, 2, 2), struct.pack(">QI", 1, 4)):
        assert requests.asked_contexts(request, payload, (1, 2, 3)) is None


def test_how_a_failure_looks() -> None:
    request = Request(0, READ, 0x1122, 5, 6)
    (simple,) = replies_of(agreement("simple")).failed(request, E.EIO, "why")
    assert simple == struct.pack(">IIQ", 0x67446698, 5, 0x1122)
    (chunk,) = replies_of(agreement()).failed(request, E.EIO, "ü" * 150)
    told = ("ü" * 100).encode()  # qemu drops the connection over long ones
    assert (
        chunk == struct.pack(">IHHQI", 0x668E33EF, 1, 0x8001, 0x1122, 206) + struct.pack(">IH", 5, 200) + told
    )
    (extended,) = replies_of(agreement("extended")).failed(request, E.EIO, "")
    assert extended == struct.pack(">IHHQQQIH", 0x6E8A278C, 1, 0x8001, 0x1122, 5, 6, 5, 0)


def test_a_read_of_nothing_has_no_data_chunk() -> None:
    request = Request(0, READ, 1, 5, 0)
    assert replies_of(agreement()).contents(request, b"", 0, 5, last=True) == [
        struct.pack(">IHHQI", 0x668E33EF, 1, 0, 1, 0)
    ]


pieces = st.tuples(st.booleans(), st.integers(1, 3 * HOLE_GRAIN))


@given(st.lists(pieces, min_size=1, max_size=5))
def test_zeros_are_told_in_whole_grains_and_runs_tile(parts: list[tuple[bool, int]]) -> None:
    data = b"".join(bytes(count) if zero else b"x" * count for zero, count in parts)
    end, before = 0, None
    for start, stop, is_zero in zero_runs(data, len(data)):
        assert start == end
        assert stop > start
        assert is_zero is not before
        assert not is_zero or not any(data[start:stop])
        assert not is_zero or (stop - start) % HOLE_GRAIN == 0
        end, before = stop, is_zero
    assert end == len(data)
    grains = [data[place : place + HOLE_GRAIN] for place in range(0, len(data), HOLE_GRAIN)]
    zeros = sum(stop - start for start, stop, is_zero in zero_runs(data, len(data)) if is_zero)
    assert zeros == HOLE_GRAIN * grains.count(bytes(HOLE_GRAIN))
