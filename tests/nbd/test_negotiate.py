"""The handshake, option by option, without a socket."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vhdx.nbd.negotiate import DRAIN_LIMIT, OPTION_LIMIT, OPTIONS_LIMIT, Negotiation, Offer, Then
from vhdx.wire import ExportFlag, ProtocolError

from . import client as wire
from .client import ACK, counted, go, meta

FLAGS = ExportFlag.HAS_FLAGS | ExportFlag.SEND_FLUSH
CONTEXTS = ("base:allocation", "x-vhdx:state", "x-vhdx:depth")
OFFERS = {
    "one": Offer("one", 5 << 20, FLAGS, "the first", CONTEXTS),
    "zwei/ä b": Offer("zwei/ä b", 7, FLAGS | ExportFlag.READ_ONLY, "", CONTEXTS[:1]),
}


def begun(*, tls: bool = False, flags: int = 3) -> Negotiation:
    negotiation = Negotiation(OFFERS, "one", tls=tls)
    assert negotiation.greeting() == b"NBDMAGICIHAVEOPT\0\3"
    negotiation.client_flags(struct.pack(">I", flags))
    return negotiation


def replies(data: bytes, option: int) -> list[tuple[int, bytes]]:
    found = []
    while data:
        magic, number, kind, length = struct.unpack_from(">QIII", data)
        assert (magic, number) == (0x0003E889045565A9, option)
        assert len(data) >= 20 + length
        found.append((kind, data[20 : 20 + length]))
        data = data[20 + length :]
    return found


def say(negotiation: Negotiation, option: int, data: bytes = b"") -> list[tuple[int, bytes]]:
    header = struct.pack(">QII", wire.OPTION_MAGIC, option, len(data))
    assert negotiation.header(header) == (option, len(data))
    return replies(negotiation.answer(option, data).reply, option)


def kinds(negotiation: Negotiation, option: int, data: bytes = b"") -> list[int]:
    return [kind for kind, _ in say(negotiation, option, data)]


@pytest.mark.parametrize("flags", [0, 2, 4, 7, 0xFFFFFFFF])
def test_flags_that_are_not_offered_end_it(flags: int) -> None:
    with pytest.raises(ProtocolError):
        begun(flags=flags)


def test_go_tells_size_flags_and_block_sizes_and_agrees() -> None:
    negotiation = begun()
    told = say(negotiation, wire.GO, go("", 1, 2, 3, 99, 3))
    assert told[-1] == (ACK, b"")
    infos = {struct.unpack(">H", data[:2])[0]: data[2:] for kind, data in told[:-1]}
    assert len(infos) == len(told) - 1
    assert struct.unpack(">QH", infos[0]) == (5 << 20, FLAGS)
    assert infos[1] == b"one"
    assert infos[2] == b"the first"
    assert struct.unpack(">III", infos[3]) == (1, 4096, 32 << 20)
    assert negotiation.agreement is not None
    assert negotiation.agreement.offer == OFFERS["one"]
    sizes_first = [struct.unpack(">H", data[:2])[0] for _, data in told[:-1]]
    assert sizes_first.index(3) < sizes_first.index(0)  # qemu compares size and sizes only in this order


def test_info_tells_the_same_and_does_not_agree() -> None:
    negotiation = begun()
    told = say(negotiation, wire.INFO, go("zwei/ä b", 1))
    assert negotiation.agreement is None
    assert told == say(negotiation, wire.GO, go("zwei/ä b", 1))


@pytest.mark.parametrize(("flags", "length"), [(1, 134), (3, 10)])
def test_export_name(flags: int, length: int) -> None:
    negotiation = begun(flags=flags)
    answer = negotiation.answer(wire.EXPORT_NAME, b"one")
    assert answer.then is Then.SERVE
    assert answer.reply == struct.pack(">QH", 5 << 20, FLAGS).ljust(length, b"\0")
    with pytest.raises(ProtocolError):
        begun().answer(wire.EXPORT_NAME, b"nobody")
    extended = begun()
    assert kinds(extended, wire.EXTENDED) == [ACK]
    with pytest.raises(ProtocolError):
        extended.answer(wire.EXPORT_NAME, b"one")


def test_list() -> None:
    told = say(begun(), wire.LIST)
    assert told == [
        (2, counted("one") + b"the first"),
        (2, counted("zwei/ä b")),
        (ACK, b""),
    ]
    assert kinds(begun(), wire.LIST, b"x") == [wire.INVALID]


def test_abort_closes() -> None:
    assert begun().answer(wire.ABORT, b"why not").then is Then.CLOSE


@pytest.mark.parametrize(
    ("option", "data", "error"),
    [
        (4, b"", wire.UNSUP),
        (99, b"data", wire.UNSUP),
        (0xFFFFFFFF, b"", wire.UNSUP),
        (wire.STRUCTURED, b"x", wire.INVALID),
        (wire.EXTENDED, b"x", wire.INVALID),
        (wire.STARTTLS, b"", wire.POLICY),
        (wire.GO, b"", wire.INVALID),
        (wire.GO, counted("one"), wire.INVALID),
        (wire.GO, go("one") + b"x", wire.INVALID),
        (wire.GO, struct.pack(">I", 0xFFFFFFFF) + b"one\0\0", wire.INVALID),
        (wire.GO, counted("one") + b"\xff\xff", wire.INVALID),
        (wire.GO, go("o\0ne"), wire.INVALID),
        (wire.GO, go(b"\xff\xfe"), wire.INVALID),
        (wire.GO, go("n" * 4097), wire.INVALID),
        (wire.GO, go("nobody"), wire.UNKNOWN),
        (wire.INFO, go("nobody"), wire.UNKNOWN),
        (wire.SET_META, meta("one", "base:allocation"), wire.INVALID),
        (wire.LIST_META, meta("one"), wire.INVALID),
        (99, bytes(OPTION_LIMIT + 1), wire.TOO_BIG),
    ],
)
def test_what_is_refused_leaves_the_handshake_in_step(option: int, data: bytes, error: int) -> None:
    negotiation = begun()
    assert kinds(negotiation, option, data) == [error]
    assert kinds(negotiation, wire.GO, go("one"))[-1] == ACK


def test_modes_are_agreed_upon_once() -> None:
    negotiation = begun()
    assert kinds(negotiation, wire.STRUCTURED) == [ACK]
    assert kinds(negotiation, wire.STRUCTURED) == [wire.INVALID]
    assert kinds(negotiation, wire.EXTENDED) == [ACK]
    assert kinds(negotiation, wire.EXTENDED) == [wire.INVALID]
    assert kinds(negotiation, wire.STRUCTURED) == [wire.EXT_HEADER_REQD]
    assert kinds(negotiation, wire.GO, go("one"))[-1] == ACK
    agreement = negotiation.agreement
    assert agreement is not None
    assert (agreement.structured, agreement.extended) == (True, True)
    assert agreement.flags == FLAGS | ExportFlag.SEND_DF


def contexts(negotiation: Negotiation, option: int, *queries: str, name: str = "one") -> list[str]:
    found = say(negotiation, option, meta(name, *queries))
    assert found[-1] == (ACK, b"")
    numbers = [struct.unpack(">I", data[:4])[0] for _, data in found[:-1]]
    assert len(set(numbers)) == (len(numbers) if option == wire.SET_META else min(1, len(numbers)))
    return [data[4:].decode() for _, data in found[:-1]]


def test_contexts() -> None:
    negotiation = begun()
    say(negotiation, wire.STRUCTURED)
    assert contexts(negotiation, wire.LIST_META) == [*CONTEXTS]
    assert contexts(negotiation, wire.LIST_META, "x-vhdx:") == [*CONTEXTS[1:]]
    assert contexts(negotiation, wire.LIST_META, "base:", "what:ever", "nothing") == ["base:allocation"]
    assert contexts(negotiation, wire.SET_META) == []
    assert contexts(negotiation, wire.SET_META, "x-vhdx:") == []
    assert contexts(negotiation, wire.SET_META, "x-vhdx:state", "base:allocation") == [*CONTEXTS[:2]]
    assert kinds(negotiation, wire.GO, go("one"))[-1] == ACK
    assert negotiation.agreement is not None
    assert list(negotiation.agreement.contexts.values()) == [*CONTEXTS[:2]]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (meta("nobody", "base:allocation"), wire.UNKNOWN),
        (b"x", wire.INVALID),
        (bytes(OPTION_LIMIT + 1), wire.TOO_BIG),
    ],
)
def test_contexts_are_gone_after_a_failure_to_set_them(data: bytes, error: int) -> None:
    negotiation = begun()
    say(negotiation, wire.STRUCTURED)
    contexts(negotiation, wire.SET_META, "base:allocation")
    assert kinds(negotiation, wire.SET_META, data) == [error]
    say(negotiation, wire.GO, go("one"))
    assert negotiation.agreement is not None
    assert negotiation.agreement.contexts == {}


def test_contexts_are_those_of_one_export() -> None:
    negotiation = begun()
    say(negotiation, wire.STRUCTURED)
    contexts(negotiation, wire.SET_META, "base:allocation")
    say(negotiation, wire.GO, go("zwei/ä b"))
    assert negotiation.agreement is not None
    assert negotiation.agreement.contexts == {}
    contexts(negotiation, wire.SET_META, "base:allocation", name="")
    say(negotiation, wire.GO, go("one"))  # the default export under its own name
    assert list(negotiation.agreement.contexts.values()) == ["base:allocation"]


def test_before_tls_nothing_is_told() -> None:
    negotiation = begun(tls=True)
    for option in (wire.LIST, wire.GO, wire.STRUCTURED, 99):
        for data in (go("one"), bytes(OPTION_LIMIT + 1)):
            assert kinds(negotiation, option, data) == [wire.TLS_REQD]
    with pytest.raises(ProtocolError):
        negotiation.answer(wire.EXPORT_NAME, b"one")
    assert begun(tls=True).answer(wire.ABORT, b"").then is Then.CLOSE


def test_tls_comes_once_and_forgets_what_was_agreed_before() -> None:
    negotiation = begun(tls=True)
    assert kinds(negotiation, wire.STARTTLS, b"x") == [wire.INVALID]
    assert negotiation.answer(wire.STARTTLS, b"").then is Then.TLS
    negotiation._structured = True  # as if something had slipped in
    negotiation.secured()
    assert kinds(negotiation, wire.STARTTLS) == [wire.INVALID]
    assert kinds(negotiation, wire.SET_META, meta("one", "base:allocation")) == [wire.INVALID]
    assert kinds(negotiation, wire.GO, go("one"))[-1] == ACK


def test_a_header_that_ends_it() -> None:
    for header in (
        struct.pack(">QII", 1, wire.LIST, 0),
        struct.pack(">QII", wire.OPTION_MAGIC, wire.LIST, DRAIN_LIMIT + 1),
    ):
        with pytest.raises(ProtocolError):
            begun().header(header)


@pytest.mark.parametrize(("first", "allowed"), [(99, OPTIONS_LIMIT), (wire.LIST, 3 * OPTIONS_LIMIT)])
def test_options_are_counted(first: int, allowed: int) -> None:
    negotiation = begun()
    say(negotiation, first)
    for _ in range(allowed - 1):
        say(negotiation, wire.INFO, go("one"))
    with pytest.raises(ProtocolError, match="too many"):
        say(negotiation, wire.INFO, go("one"))


@given(st.lists(st.tuples(st.integers(0, 12), st.binary(max_size=60)), max_size=20), st.booleans())
def test_no_bytes_make_it_stumble(options: list[tuple[int, bytes]], tls: bool) -> None:
    negotiation = begun(tls=tls)
    for option, data in options:
        try:
            answer = negotiation.answer(option, data)
        except ProtocolError:
            assert option == wire.EXPORT_NAME
            continue
        if option != wire.EXPORT_NAME:
            last, text = replies(answer.reply, option)[-1]
            assert (last == ACK and not text) or (last >= 0x80000000 and len(text) <= 256)
