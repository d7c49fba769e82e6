"""The words of the protocol: magic numbers, options, commands, flags, errors and the frames they travel in.

NBD's ``doc/proto.md``, and its branch ``extension-ext-header`` for what is called extended. Everything is
big-endian. Holds no logic: both halves of the protocol read from here and never from each other.
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag

DEFAULT_PORT = 10809
MAXIMUM_PAYLOAD = 32 * 1024 * 1024
"""Bytes of one READ or WRITE, as every client expects where nothing else was said."""
MAXIMUM_STRING = 4096

NBD_MAGIC = int.from_bytes(b"NBDMAGIC", "big")
OPTION_MAGIC = int.from_bytes(b"IHAVEOPT", "big")
OPTION_REPLY_MAGIC = 0x0003E889045565A9
REQUEST_MAGIC = 0x25609513
EXTENDED_REQUEST_MAGIC = 0x21E41C71
SIMPLE_REPLY_MAGIC = 0x67446698
CHUNK_MAGIC = 0x668E33EF
EXTENDED_CHUNK_MAGIC = 0x6E8A278C

GREETING = struct.Struct(">QQH")  # magic, option magic, handshake flags
CLIENT_FLAGS = struct.Struct(">I")
OPTION = struct.Struct(">QII")  # magic, option, length
OPTION_REPLY = struct.Struct(">QIII")  # magic, option, type, length
EXPORT_ANSWER = struct.Struct(">QH")  # size, transmission flags
EXPORT_PADDING = bytes(124)
REQUEST = struct.Struct(">IHHQQI")  # magic, flags, type, cookie, offset, length
EXTENDED_REQUEST = struct.Struct(">IHHQQQ")
SIMPLE_REPLY = struct.Struct(">IIQ")  # magic, error, cookie
CHUNK = struct.Struct(">IHHQI")  # magic, flags, type, cookie, payload length
EXTENDED_CHUNK = struct.Struct(">IHHQQQ")  # magic, flags, type, cookie, offset, payload length
assert (GREETING.size, OPTION.size, OPTION_REPLY.size, EXPORT_ANSWER.size) == (18, 16, 20, 10)
assert (REQUEST.size, EXTENDED_REQUEST.size, SIMPLE_REPLY.size) == (28, 32, 16)
assert (CHUNK.size, EXTENDED_CHUNK.size) == (20, 32)


class HandshakeFlag(IntFlag):
    """Bits of the greeting, and of the client's answer to it."""

    FIXED_NEWSTYLE = 1
    NO_ZEROES = 2


class Option(IntEnum):
    """What a client may ask for during the negotiation."""

    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    STARTTLS = 5
    INFO = 6
    GO = 7
    STRUCTURED_REPLY = 8
    LIST_META_CONTEXT = 9
    SET_META_CONTEXT = 10
    EXTENDED_HEADERS = 11


_ERROR = 0x80000000


class OptionReply(IntEnum):
    """Types of answers to options."""

    ACK = 1
    SERVER = 2
    INFO = 3
    META_CONTEXT = 4
    ERR_UNSUP = _ERROR + 1
    ERR_POLICY = _ERROR + 2
    ERR_INVALID = _ERROR + 3
    ERR_TLS_REQD = _ERROR + 5
    ERR_UNKNOWN = _ERROR + 6
    ERR_TOO_BIG = _ERROR + 9
    ERR_EXT_HEADER_REQD = _ERROR + 10


class Info(IntEnum):
    """Pieces of information about an export."""

    EXPORT = 0
    NAME = 1
    DESCRIPTION = 2
    BLOCK_SIZE = 3


class ExportFlag(IntFlag):
    """Transmission flags: what an export can do."""

    HAS_FLAGS = 1 << 0
    READ_ONLY = 1 << 1
    SEND_FLUSH = 1 << 2
    SEND_FUA = 1 << 3
    SEND_TRIM = 1 << 5
    SEND_WRITE_ZEROES = 1 << 6
    SEND_DF = 1 << 7
    CAN_MULTI_CONN = 1 << 8
    SEND_CACHE = 1 << 10
    SEND_FAST_ZERO = 1 << 11
    BLOCK_STATUS_PAYLOAD = 1 << 12


class Command(IntEnum):
    """Types of requests."""

    READ = 0
    WRITE = 1
    DISCONNECT = 2
    FLUSH = 3
    TRIM = 4
    CACHE = 5
    WRITE_ZEROES = 6
    BLOCK_STATUS = 7


class CommandFlag(IntFlag):
    """Bits of a request."""

    FUA = 1 << 0
    NO_HOLE = 1 << 1
    DF = 1 << 2
    REQ_ONE = 1 << 3
    FAST_ZERO = 1 << 4
    PAYLOAD_LEN = 1 << 5


# As plain numbers: operators of flags take a microsecond each, and some of these run for every request.
READ, WRITE, DISCONNECT, FLUSH, BLOCK_STATUS = map(
    int, (Command.READ, Command.WRITE, Command.DISCONNECT, Command.FLUSH, Command.BLOCK_STATUS)
)
FUA, DF, PAYLOAD_LEN = map(int, (CommandFlag.FUA, CommandFlag.DF, CommandFlag.PAYLOAD_LEN))


class Error(IntEnum):
    """Numbers of errors on the wire, which are those of Linux on every host."""

    NONE = 0
    EPERM = 1
    EIO = 5
    EINVAL = 22
    ENOSPC = 28
    EOVERFLOW = 75
    ENOTSUP = 95
    ESHUTDOWN = 108


CHUNK_DONE = 1
"""The flag of the last chunk of an answer."""


class Chunk(IntEnum):
    """Types of the chunks of a structured answer."""

    NONE = 0
    DATA = 1
    HOLE = 2
    BLOCK_STATUS = 5
    BLOCK_STATUS_EXTENDED = 6
    ERROR = 0x8001


DATA = int(Chunk.DATA)  # for every read


class Allocation(IntFlag):
    """What ``base:allocation`` says of a run. HOLE alone, contents undefined, is never said here."""

    HOLE = 1
    ZERO = 2


BASE_ALLOCATION = "base:allocation"


class ProtocolError(Exception):
    """The client broke the protocol in a way that leaves nothing but to drop it."""
