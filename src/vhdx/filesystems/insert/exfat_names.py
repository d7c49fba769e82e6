"""The table of upper case that each exFAT has of its own, and the hash by which names are found."""

from __future__ import annotations

import struct

_IDENTICAL = 0xFFFF
"""In a table: so many characters as the next number says are their own upper case."""
_LAST = 0xFFFF


class Upcase:
    """What stands for each character where case makes no difference."""

    def __init__(self, raw: bytes) -> None:
        values = struct.unpack_from(f"<{len(raw) // 2}H", raw)
        self._table: dict[int, int] = {}
        character, skips = 0, False
        for value in values:
            if skips:
                character += value
                skips = False
            elif value == _IDENTICAL and character < _LAST:
                skips = True
            elif character <= _LAST:
                self._table[character] = value
                character += 1

    def folded(self, name: str) -> str:
        """The name with each unit of UTF-16 in upper case."""
        raw = name.encode("utf-16-le", "surrogatepass")
        units = struct.unpack(f"<{len(raw) // 2}H", raw)
        upper = struct.pack(f"<{len(units)}H", *(self._table.get(unit, unit) for unit in units))
        return upper.decode("utf-16-le", "surrogatepass")


def name_hash(folded: str) -> int:
    """Of a name in upper case."""
    return rotated_sum(folded.encode("utf-16-le", "surrogatepass"))


def rotated_sum(data: bytes, total: int = 0) -> int:
    """The checksum of 16 bits that names and sets of slots have."""
    for byte in data:
        total = ((total & 1) << 15 | total >> 1) + byte & 0xFFFF
    return total
