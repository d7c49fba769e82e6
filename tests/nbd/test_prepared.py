"""Prepared answers are those that `transmit` gives, and only for requests in order."""

import struct
from collections.abc import Iterator
from itertools import product

import pytest

from vhdx import wire
from vhdx.nbd.negotiate import Agreement, Offer
from vhdx.nbd.prepared import READ_LIMIT, Prepared
from vhdx.nbd.transmit import Requests, replies_of
from vhdx.wire import Command, Error, ExportFlag

SIZE = (1 << 40) + 512
NUMBERS = (0, 1, 512, (1 << 32) - 1, 1 << 32, SIZE - 1, SIZE, (1 << 64) - 1)
LENGTHS = (0, 1, 4096, READ_LIMIT, READ_LIMIT + 1, 1 << 25, (1 << 32) - 1)
KINDS = {"simple": (False, False), "structured": (True, False), "extended": (False, True)}


def agreements() -> Iterator[tuple[str, Agreement]]:
    for (name, (structured, extended)), read_only in product(KINDS.items(), (False, True)):
        flags = ExportFlag.HAS_FLAGS | (ExportFlag.READ_ONLY if read_only else ExportFlag(0))
        offer = Offer("disk", SIZE, flags, "", ())
        label = f"{name}{' read only' * read_only}"
        yield label, Agreement(offer, flags, structured, extended, {})


@pytest.mark.parametrize(("agreement"), [pytest.param(each, id=label) for label, each in agreements()])
def test_the_same_as_the_general_way(agreement: Agreement) -> None:
    requests, replies, prepared = Requests(agreement), replies_of(agreement), Prepared(agreement)
    frame = struct.Struct(">IHHQQQ" if agreement.extended else ">IHHQQI")
    magic = wire.EXTENDED_REQUEST_MAGIC if agreement.extended else wire.REQUEST_MAGIC
    seen = 0
    for flags, kind, offset, length in product((0, 1, 2, 32), range(9), NUMBERS, LENGTHS):
        raw = b"??" + frame.pack(magic, flags, kind, 0xABCDEF0123456789, offset, length)
        request = requests.parse(raw, 2)
        first, *rest = prepared.parse(raw, 2)
        assert rest == [request.cookie, request.offset, request.length]
        plain = offset + length <= prepared.size and 0 < length <= READ_LIMIT
        if not plain or first not in (prepared.read, prepared.write):
            continue
        seen += 1
        assert flags == 0
        assert kind in (Command.READ, Command.WRITE)
        assert requests.refusal(request) is Error.NONE
        if kind == Command.READ:
            data = bytes(range(256)) * (length // 256 + 1)
            data = data[:length]
            general = replies.read_begins(request) + replies.contents(
                request, data, length, offset, last=True
            )
            assert prepared.contents(request.cookie, offset, length) + data == b"".join(general)
        else:
            assert prepared.done(request.cookie, offset) == b"".join(replies.done(request))
    assert seen > 8


@pytest.mark.parametrize(("agreement"), [pytest.param(each, id=label) for label, each in agreements()])
def test_another_magic_is_nothing_prepared(agreement: Agreement) -> None:
    prepared = Prepared(agreement)
    frame = struct.Struct(">IHHQQQ" if agreement.extended else ">IHHQQI")
    for magic, kind in product((0, 0x25609514, 0xFFFFFFFF), (0, 1)):
        first = prepared.parse(frame.pack(magic, 0, kind, 1, 0, 512), 0)[0]
        assert first not in (prepared.read, prepared.write)
