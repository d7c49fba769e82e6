"""Answers prepared for what clients ask most: small reads and writes without flags, inside the disk. Pure.

What is in order is told by one comparison, and the answer is packed at once. Whatever else comes is judged by
`transmit`, which answers the same requests in the same way.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from vhdx import wire
from vhdx.nbd.transmit import HOLE_GRAIN
from vhdx.wire import CHUNK_DONE, DATA, READ, WRITE, Chunk, ExportFlag

if TYPE_CHECKING:
    from vhdx.nbd.negotiate import Agreement

_REQUEST = struct.Struct(">QQQI")  # magic, flags and type as one number; cookie, offset, length
_EXTENDED_REQUEST = struct.Struct(">QQQQ")
_SIMPLE = struct.Struct(">IIQ")
_DATA = struct.Struct(">QQIQ")  # magic, flags and kind as one number; cookie, length, offset of the data
_EXTENDED_DATA = struct.Struct(">QQQQQ")
_DONE = struct.Struct(">QQI")
_EXTENDED_DONE = struct.Struct(">QQQQ")
assert _REQUEST.size == wire.REQUEST.size
assert _EXTENDED_REQUEST.size == wire.EXTENDED_REQUEST.size
assert _SIMPLE.size == wire.SIMPLE_REPLY.size
assert _DONE.size == wire.CHUNK.size
assert _EXTENDED_DONE.size == wire.EXTENDED_CHUNK.size
READ_LIMIT = HOLE_GRAIN - 1
"""Bytes of the longest read that is answered so: longer ones may say where zeros are."""
_NOTHING = -1
"""A first number that no request has, whatever its client sends: 0 some would."""


class Prepared:
    """For one client, by what was agreed upon.

    ``parse(buffer, start)`` gives a request's first number, cookie, offset and length; the first number of a
    read without flags is ``read``, that of such a write ``write``.
    """

    def __init__(self, agreement: Agreement) -> None:
        extended = agreement.extended
        magic = wire.EXTENDED_REQUEST_MAGIC if extended else wire.REQUEST_MAGIC
        self.parse = (_EXTENDED_REQUEST if extended else _REQUEST).unpack_from
        self.size = agreement.offer.size
        self.read = magic << 32 | READ
        self.write = _NOTHING if agreement.flags & ExportFlag.READ_ONLY else magic << 32 | WRITE
        self.contents = _extended_data if extended else _data if agreement.structured else _simple_data
        self.done = _extended_done if extended else _done if agreement.structured else _simple_done


def _first(magic: int, kind: int) -> int:
    return magic << 32 | CHUNK_DONE << 16 | kind


_DATA_BEGINS = _first(wire.CHUNK_MAGIC, DATA)
_DONE_BEGINS = _first(wire.CHUNK_MAGIC, Chunk.NONE)
_EXTENDED_DATA_BEGINS = _first(wire.EXTENDED_CHUNK_MAGIC, DATA)
_EXTENDED_DONE_BEGINS = _first(wire.EXTENDED_CHUNK_MAGIC, Chunk.NONE)


def _simple_data(cookie: int, offset: int, length: int) -> bytes:  # noqa: ARG001  contents follow bare
    return _SIMPLE.pack(wire.SIMPLE_REPLY_MAGIC, 0, cookie)


def _simple_done(cookie: int, offset: int) -> bytes:  # noqa: ARG001
    return _SIMPLE.pack(wire.SIMPLE_REPLY_MAGIC, 0, cookie)


def _data(cookie: int, offset: int, length: int) -> bytes:
    return _DATA.pack(_DATA_BEGINS, cookie, length + 8, offset)


def _done(cookie: int, offset: int) -> bytes:  # noqa: ARG001
    return _DONE.pack(_DONE_BEGINS, cookie, 0)


def _extended_data(cookie: int, offset: int, length: int) -> bytes:
    return _EXTENDED_DATA.pack(_EXTENDED_DATA_BEGINS, cookie, offset, length + 8, offset)


def _extended_done(cookie: int, offset: int) -> bytes:
    return _EXTENDED_DONE.pack(_EXTENDED_DONE_BEGINS, cookie, offset, 0)
