"""LZX as Windows compresses files by it: chunks of 32 KiB, each by itself (as in WIM archives).

libfsntfs refuses some of them and reads others wrong. Bits stand in words of 16, the highest first: a stream
with the bytes of each word swapped is one number, of which 64 bits at a time hold any symbol with all that
belongs to it.
"""

from __future__ import annotations

import struct
from array import array

from vhdx.errors import FileSystemError
from vhdx.files.wof import Codec
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHUNK = 32 << 10
_VERBATIM, _ALIGNED, _STORED = 1, 2, 3
_BYTES, _PRE_SYMBOLS, _LENGTHS, _ALIGNED_SYMBOLS = 256, 20, 249, 8
_SLOTS = 30
_EXTRA = tuple(max(0, slot - 2) // 2 for slot in range(_SLOTS))
"""How many bits follow the slot of an offset."""
_FIRST = tuple(sum(1 << _EXTRA[each] for each in range(slot)) for slot in range(_SLOTS))
"""The least of the offsets in a slot, and two."""
_RECENT = 3
"""Slots below stand for the offsets that were used last."""
_SHORTEST, _HEADERS = 2, 7
"""Of matches; a header of 7 is followed by the rest of the length."""
_BITS = 5
"""Of an entry of a table: how many bits the code has whose symbol stands above them."""
_CODE_BITS = (1 << _BITS) - 1
_PLACES = struct.Struct("<III")
_CALL, _LAST_CALL, _FILE = 0xE8, 10, 12_000_000

_Table = tuple["Sequence[int]", int]
"""An entry for each number of so many bits."""


def decompressed(data: bytes, size: int) -> bytes:
    """A chunk as it was, ``size`` bytes. Raises FileSystemError where it is none."""
    try:
        return _calls_undone(_Chunk(data, size).read())
    except IndexError:  # a symbol of a code that has none
        raise _damaged() from None


LZX = Codec(_CHUNK, decompressed)


def _damaged() -> FileSystemError:
    return FileSystemError("a compressed chunk (LZX) is damaged")


class _Chunk:
    """A chunk while it is read."""

    def __init__(self, data: bytes, size: int) -> None:
        words = array("H", data + bytes(len(data) & 1))
        words.byteswap()
        self._data, self._size = data, size
        self._stream = words.tobytes() + bytes(8)
        self._bit = 0
        self._out = bytearray()
        self._recent = (1, 1, 1)
        self._main = [0] * (_BYTES + 8 * _SLOTS)
        self._lengths = [0] * _LENGTHS

    def read(self) -> bytearray:
        """All blocks."""
        while len(self._out) < self._size:
            kind = self._number(3)
            size = _CHUNK if self._number(1) else self._number(16)
            end = len(self._out) + size
            if not size or end > self._size:
                raise _damaged()
            if kind == _STORED:
                self._copy(size)
            elif kind in (_VERBATIM, _ALIGNED):
                self._decode(end, self._aligned() if kind == _ALIGNED else None)
            else:
                raise _damaged()
            if self._bit > 8 * len(self._data) + 15:
                raise _damaged()
        return self._out

    def _number(self, bits: int) -> int:
        start = self._bit >> 3
        window = int.from_bytes(self._stream[start : start + 4].ljust(4, b"\0"), "big")
        self._bit += bits
        return window >> (8 * start + 32 - self._bit) & (1 << bits) - 1

    def _copy(self, size: int) -> None:
        """A block that is stored: from the next word on, one is left out where the last one was used up."""
        start = (self._bit // 16 + 1) * 2
        end = start + _PLACES.size + size
        if end > len(self._data):
            raise _damaged()
        self._recent = _PLACES.unpack_from(self._data, start)
        self._out += self._data[start + _PLACES.size : end]
        self._bit = 8 * (end + (end & 1))

    def _aligned(self) -> _Table:
        return _table([self._number(3) for _ in range(_ALIGNED_SYMBOLS)])

    def _decode(self, end: int, aligned: _Table | None) -> None:
        """A block of symbols, up to where it ends."""
        self._read_lengths(self._main, 0, _BYTES)
        self._read_lengths(self._main, _BYTES, len(self._main))
        self._read_lengths(self._lengths, 0, _LENGTHS)
        self._matches(end, _table(self._main), _table(self._lengths), aligned)

    def _read_lengths(self, lengths: list[int], position: int, end: int) -> None:
        """Lengths of codes, told by what they differ from those of the block before."""
        table, bits = _table([self._number(4) for _ in range(_PRE_SYMBOLS)])
        while position < end:
            symbol = self._symbol(table, bits)
            if symbol < 17:
                count, length = 1, (lengths[position] - symbol) % 17
            elif symbol < 19:
                count, length = 4 + self._number(4) if symbol == 17 else 20 + self._number(5), 0
            else:
                count = 4 + self._number(1)
                symbol = self._symbol(table, bits)
                if symbol > 16:
                    raise _damaged()
                length = (lengths[position] - symbol) % 17
            if position + count > end:
                raise _damaged()
            lengths[position : position + count] = [length] * count
            position += count

    def _symbol(self, table: Sequence[int], bits: int) -> int:
        entry = table[self._number(bits)]
        self._bit += (entry & _CODE_BITS) - bits
        return entry >> _BITS

    def _matches(self, end: int, main: _Table, lengths: _Table, aligned: _Table | None) -> None:
        """Bytes, and repetitions of what came before. In one loop, as each costs so much as it is."""
        out, stream, bit = self._out, self._stream, self._bit
        recent = list(self._recent)
        (table, bits), (length_table, length_bits) = main, lengths
        while len(out) < end:
            start = bit >> 3
            window, left = int.from_bytes(stream[start : start + 8], "big"), 64 - (bit & 7)
            entry = table[window >> left - bits & (1 << bits) - 1]
            left -= entry & _CODE_BITS
            symbol = (entry >> _BITS) - _BYTES
            if symbol < 0:
                out.append(symbol + _BYTES)
                bit = 8 * start + 64 - left
                continue
            length, slot = symbol & 7, symbol >> 3
            if length == _HEADERS:
                entry = length_table[window >> left - length_bits & (1 << length_bits) - 1]
                left -= entry & _CODE_BITS
                length += entry >> _BITS
            length += _SHORTEST
            if slot < _RECENT:
                offset = recent[slot]
                recent[slot] = recent[0]
                recent[0] = offset
            else:
                extra, offset = _EXTRA[slot], _FIRST[slot] - 2
                if aligned is not None and extra >= 3:
                    left -= extra - 3
                    offset += (window >> left & (1 << extra - 3) - 1) << 3
                    entry = aligned[0][window >> left - aligned[1] & (1 << aligned[1]) - 1]
                    left -= entry & _CODE_BITS
                    offset += entry >> _BITS
                else:
                    left -= extra
                    offset += window >> left & (1 << extra) - 1
                recent = [offset, recent[0], recent[1]]
            bit = 8 * start + 64 - left
            have = len(out)
            if not 0 < offset <= have or have + length > end:
                raise _damaged()
            if offset >= length:
                out += out[have - offset : have - offset + length]
            else:
                out += (out[have - offset :] * (length // offset + 1))[:length]
        self._bit, self._recent = bit, (recent[0], recent[1], recent[2])


def _table(lengths: Sequence[int]) -> _Table:
    """The symbol of each number that begins with its code, with the length of that.

    Codes ascend with their lengths, then with their symbols. One without any is never used.
    """
    bits = max(lengths)
    if not bits:
        return [], 0
    table: list[int] = []
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths) if length):
        table += [symbol << _BITS | length] * (1 << bits - length)
        if len(table) > 1 << bits:
            break
    if len(table) != 1 << bits:
        raise _damaged()
    return table, bits


def _calls_undone(data: bytearray) -> bytes:
    """Calls of machine code with the distances that they had, which compressed better as addresses."""
    end = len(data) - _LAST_CALL
    at = data.find(_CALL, 0, max(end, 0))
    while at != -1:
        (address,) = struct.unpack_from("<i", data, at + 1)
        if -at <= address < _FILE:
            distance = address - at if address >= 0 else address + _FILE
            struct.pack_into("<i", data, at + 1, distance)
        at = data.find(_CALL, at + 5, end)
    return bytes(data)
