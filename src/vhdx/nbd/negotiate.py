"""The handshake of one client: options in, answers out, until it may send requests. Pure.

Fixed newstyle only. Whoever calls reads exactly the bytes that are asked for: nothing is read ahead, so that
nothing that came in the clear can be taken for something that came over TLS.
"""

from __future__ import annotations

import struct
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from vhdx import wire
from vhdx.text import quoted
from vhdx.wire import ExportFlag, HandshakeFlag, Info, Option, OptionReply, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OPTION_LIMIT = 64 * 1024
"""Bytes of an option's data that are listened to."""
DRAIN_LIMIT = 1024 * 1024
"""Bytes of an option's data that are taken in to be refused; whoever sends more is dropped."""
OPTIONS_LIMIT = 32
"""Options that a client may send, and once more as many for each export after it asked for the list."""
_U16, _U32 = struct.Struct(">H"), struct.Struct(">I")
_BLOCK_SIZES = struct.Struct(">HIII")
_EXPORT_INFO = struct.Struct(">HQH")


class Offer(NamedTuple):
    """What is to be known of an export before it is served. ``size`` in bytes."""

    name: str
    size: int
    flags: ExportFlag
    description: str
    contexts: tuple[str, ...]


class Agreement(NamedTuple):
    """What client and server agreed upon: the export, its flags for this client, how answers look."""

    offer: Offer
    flags: ExportFlag
    structured: bool
    extended: bool
    contexts: Mapping[int, str]


class Then(Enum):
    """What follows an answer."""

    NEXT_OPTION = "the next option"
    TLS = "the handshake of TLS"
    SERVE = "requests"
    CLOSE = "nothing"


class Answer(NamedTuple):
    """Bytes for the client, and what follows them."""

    reply: bytes
    then: Then = Then.NEXT_OPTION


class _RefusedError(Exception):
    """An option that is answered by an error."""

    def __init__(self, kind: OptionReply, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


class _Data:
    """An option's data, taken from the front; every length is compared with what is there."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, length: int) -> bytes:
        end = self._position + length
        if end > len(self._data):
            raise _RefusedError(OptionReply.ERR_INVALID, "a length runs past the end of the option")
        piece, self._position = self._data[self._position : end], end
        return piece

    def number(self, form: struct.Struct) -> int:
        value: int = form.unpack(self.take(form.size))[0]
        return value

    def string(self) -> str:
        return _string(self.take(self.number(_U32)))

    def finish(self) -> None:
        if self._position != len(self._data):
            raise _RefusedError(OptionReply.ERR_INVALID, "bytes are left over at the end of the option")


def _string(data: bytes) -> str:
    if len(data) > wire.MAXIMUM_STRING:
        raise _RefusedError(OptionReply.ERR_INVALID, "a string is longer than 4096 bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _RefusedError(OptionReply.ERR_INVALID, "a string is not UTF-8") from None
    if "\0" in text:
        raise _RefusedError(OptionReply.ERR_INVALID, "a string has a zero byte")
    return text


class Negotiation:
    """The handshake with one client. ``offers`` by name; the empty name is the default export.

    ``tls`` says that nothing is told and nothing served before TLS.
    """

    def __init__(self, offers: Mapping[str, Offer], default: str, *, tls: bool) -> None:
        self._offers = offers
        self._default = default
        self._tls_wanted = tls
        self._secure = False
        self._flags = HandshakeFlag(0)
        self._options_left = OPTIONS_LIMIT
        self._listed = False
        self._forget()
        self.agreement: Agreement | None = None
        """What was agreed upon; None before that."""

    def _forget(self) -> None:
        self._structured = False
        self._extended = False
        self._contexts_of = ""
        self._contexts: dict[int, str] = {}

    def greeting(self) -> bytes:
        """What is sent before anything was received."""
        flags = HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES
        return wire.GREETING.pack(wire.NBD_MAGIC, wire.OPTION_MAGIC, flags)

    def client_flags(self, data: bytes) -> None:
        """The client's first 4 bytes. Raises ProtocolError for a client from before fixed newstyle."""
        (value,) = wire.CLIENT_FLAGS.unpack(data)
        if value not in (
            HandshakeFlag.FIXED_NEWSTYLE,
            HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES,
        ):
            raise ProtocolError(f"client flags {value:#x}")
        self._flags = HandshakeFlag(value)

    def header(self, data: bytes) -> tuple[int, int]:
        """The option that 16 bytes announce, and the length of its data, which is to be read whole.

        Raises ProtocolError where the client is to be dropped: a wrong magic, too long, or one too many.
        """
        magic, option, length = wire.OPTION.unpack(data)
        if magic != wire.OPTION_MAGIC:
            raise ProtocolError(f"an option with magic {magic:#x}")
        if length > DRAIN_LIMIT:
            raise ProtocolError(f"an option of {length} bytes")
        if not self._options_left:
            raise ProtocolError("too many options")
        self._options_left -= 1
        return option, length

    def answer(self, option: int, data: bytes) -> Answer:
        """What to say to an option. Raises ProtocolError where nothing can be said."""
        try:
            if self._tls_wanted and not self._secure and option not in (Option.STARTTLS, Option.ABORT):
                raise _RefusedError(OptionReply.ERR_TLS_REQD, "this server requires TLS")
            if option == Option.SET_META_CONTEXT:
                self._contexts = {}  # replaced, also where this fails
            if len(data) > OPTION_LIMIT:
                raise _RefusedError(OptionReply.ERR_TOO_BIG, "the option is too long")
            handler = _HANDLERS.get(option)
            if handler is None:
                raise _RefusedError(OptionReply.ERR_UNSUP, "this option is not known here")
            return handler(self, option, data)
        except _RefusedError as refused:
            if option == Option.EXPORT_NAME:  # the one option that no error can answer
                raise ProtocolError(refused.text) from None
            return Answer(_reply(option, refused.kind, refused.text.encode()))

    def secured(self) -> None:
        """TLS is up: forget everything that was agreed upon in the clear."""
        self._secure = True
        self._forget()

    def _export_name(self, option: int, data: bytes) -> Answer:  # noqa: ARG002  all handlers look alike
        if self._extended:
            raise _RefusedError(OptionReply.ERR_EXT_HEADER_REQD, "GO goes with extended headers")
        agreement = self._agree(self._offer(_string(data)))
        padding = b"" if self._flags & HandshakeFlag.NO_ZEROES else wire.EXPORT_PADDING
        answer = wire.EXPORT_ANSWER.pack(agreement.offer.size, agreement.flags) + padding
        self.agreement = agreement
        return Answer(answer, Then.SERVE)

    def _abort(self, option: int, data: bytes) -> Answer:  # noqa: ARG002
        return Answer(_reply(option, OptionReply.ACK), Then.CLOSE)

    def _list(self, option: int, data: bytes) -> Answer:
        _Data(data).finish()
        if not self._listed:
            self._options_left += OPTIONS_LIMIT * len(self._offers)
        self._listed = True
        replies = [
            _reply(option, OptionReply.SERVER, _counted(offer.name) + offer.description.encode())
            for offer in self._offers.values()
        ]
        return Answer(b"".join(replies) + _reply(option, OptionReply.ACK))

    def _start_tls(self, option: int, data: bytes) -> Answer:
        _Data(data).finish()
        if not self._tls_wanted:
            raise _RefusedError(OptionReply.ERR_POLICY, "this server does not do TLS")
        if self._secure:
            raise _RefusedError(OptionReply.ERR_INVALID, "TLS is up already")
        return Answer(_reply(option, OptionReply.ACK), Then.TLS)

    def _info(self, option: int, data: bytes) -> Answer:
        taken = _Data(data)
        name = taken.string()
        wanted = {taken.number(_U16) for _ in range(taken.number(_U16))}
        taken.finish()
        offer = self._offer(name)
        agreement = self._agree(offer)
        found = {
            # Before the size: QEMU compares the two only in this order.
            Info.BLOCK_SIZE: _BLOCK_SIZES.pack(Info.BLOCK_SIZE, 1, 4096, wire.MAXIMUM_PAYLOAD),
            Info.EXPORT: _EXPORT_INFO.pack(Info.EXPORT, offer.size, agreement.flags),
            Info.NAME: _U16.pack(Info.NAME) + offer.name.encode(),
            Info.DESCRIPTION: _U16.pack(Info.DESCRIPTION) + offer.description.encode(),
        }
        wanted |= {Info.EXPORT, Info.BLOCK_SIZE}
        replies = [_reply(option, OptionReply.INFO, body) for kind, body in found.items() if kind in wanted]
        if option == Option.GO:
            self.agreement = agreement
        then = Then.SERVE if option == Option.GO else Then.NEXT_OPTION
        return Answer(b"".join(replies) + _reply(option, OptionReply.ACK), then)

    def _structured_reply(self, option: int, data: bytes) -> Answer:
        _Data(data).finish()
        if self._extended:
            raise _RefusedError(OptionReply.ERR_EXT_HEADER_REQD, "extended headers are agreed upon already")
        if self._structured:
            raise _RefusedError(OptionReply.ERR_INVALID, "structured replies are agreed upon already")
        self._structured = True
        return Answer(_reply(option, OptionReply.ACK))

    def _extended_headers(self, option: int, data: bytes) -> Answer:
        _Data(data).finish()
        if self._extended:
            raise _RefusedError(OptionReply.ERR_INVALID, "extended headers are agreed upon already")
        self._extended = True
        return Answer(_reply(option, OptionReply.ACK))

    def _meta_context(self, option: int, data: bytes) -> Answer:
        setting = option == Option.SET_META_CONTEXT
        if not (self._structured or self._extended):
            raise _RefusedError(OptionReply.ERR_INVALID, "contexts need structured replies")
        taken = _Data(data)
        name = taken.string()
        queries = [taken.string() for _ in range(taken.number(_U32))]
        taken.finish()
        offer = self._offer(name)
        found = [context for context in offer.contexts if _matches(context, queries, setting=setting)]
        if setting:
            self._contexts_of = offer.name
            self._contexts = dict(enumerate(found, 1))
        replies = [
            _reply(option, OptionReply.META_CONTEXT, _U32.pack(number * setting) + context.encode())
            for number, context in enumerate(found, 1)
        ]
        return Answer(b"".join(replies) + _reply(option, OptionReply.ACK))

    def _offer(self, name: str) -> Offer:
        offer = self._offers.get(name or self._default)
        if offer is None:
            raise _RefusedError(OptionReply.ERR_UNKNOWN, f"there is no export {quoted(name[:80])!r} here")
        return offer

    def _agree(self, offer: Offer) -> Agreement:
        contexts = dict(self._contexts) if self._contexts_of == offer.name else {}
        flags = offer.flags
        if self._structured or self._extended:
            flags |= ExportFlag.SEND_DF
        if self._extended and contexts:
            flags |= ExportFlag.BLOCK_STATUS_PAYLOAD
        return Agreement(offer, flags, self._structured, self._extended, contexts)


def _matches(context: str, queries: list[str], *, setting: bool) -> bool:
    """Whether a context was asked for; to list, nothing or a beginning up to a colon stand for all of it."""
    if setting:
        return context in queries
    return (
        not queries
        or context in queries
        or any(query.endswith(":") and context.startswith(query) for query in queries)
    )


def _counted(text: str) -> bytes:
    data = text.encode()
    return _U32.pack(len(data)) + data


def _reply(option: int, kind: OptionReply, data: bytes = b"") -> bytes:
    return wire.OPTION_REPLY.pack(wire.OPTION_REPLY_MAGIC, option, kind, len(data)) + data


_HANDLERS: dict[int, Callable[[Negotiation, int, bytes], Answer]] = {
    Option.EXPORT_NAME: Negotiation._export_name,  # noqa: SLF001  the table of this class's own methods
    Option.ABORT: Negotiation._abort,  # noqa: SLF001
    Option.LIST: Negotiation._list,  # noqa: SLF001
    Option.STARTTLS: Negotiation._start_tls,  # noqa: SLF001
    Option.INFO: Negotiation._info,  # noqa: SLF001
    Option.GO: Negotiation._info,  # noqa: SLF001
    Option.STRUCTURED_REPLY: Negotiation._structured_reply,  # noqa: SLF001
    Option.LIST_META_CONTEXT: Negotiation._meta_context,  # noqa: SLF001
    Option.SET_META_CONTEXT: Negotiation._meta_context,  # noqa: SLF001
    Option.EXTENDED_HEADERS: Negotiation._extended_headers,  # noqa: SLF001
}
