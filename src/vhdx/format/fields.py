"""What the bytes of a structure say, field by field: the tables by which structures are shown and compared.

Each structure of a VHDX has its table in its own file. A table tells more than unpacking does: what is
reserved, what a value means, and whether it is as it must be.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from vhdx.format import checksum as checksums
from vhdx.format import guids
from vhdx.text import quoted
from vhdx.typed import TYPE_CHECKING, NamedTuple
from vhdx.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Value = int | str
Shown = tuple[Value, str]
"""The value of a field, and what there is to say about it."""
Show = Callable[[bytes, bytes], Shown]
"""From the bytes of a field, and those of its whole structure, to what is shown."""


class Field(NamedTuple):
    """One field; ``offset`` and ``size`` are bytes in its structure."""

    name: str
    offset: int
    size: int
    show: Show

    def raw(self, structure: bytes) -> bytes:
        """The field's own bytes."""
        return structure[self.offset : self.offset + self.size]


Table = tuple[Field, ...]


def table(*rows: tuple[str, int, Show]) -> Table:
    """A table of fields (name, size in bytes, how it is shown) that stand one behind the other."""
    fields: list[Field] = []
    for name, size, show in rows:
        fields.append(Field(name, length(fields), size, show))
    return tuple(fields)


def length(fields: Iterable[Field]) -> int:
    """How many bytes a structure with these fields has."""
    return max((field.offset + field.size for field in fields), default=0)


def number(raw: bytes, _: bytes) -> Shown:
    """An integer."""
    return int.from_bytes(raw, "little"), ""


def word(raw: bytes, _: bytes) -> Shown:
    """An integer that people read in hex."""
    return f"{int.from_bytes(raw, 'little'):#010x}", ""


def size(raw: bytes, _: bytes) -> Shown:
    """A length or an offset in bytes."""
    value = int.from_bytes(raw, "little")
    short = format_size(value)
    return value, "" if short.endswith("bytes") else short


def guid(raw: bytes, _: bytes) -> Shown:
    """A GUID, with the name that the format gives it."""
    value = UUID(bytes_le=raw)
    return str(value), guids.NAMES.get(value, "")


def data(raw: bytes, _: bytes) -> Shown:
    """Bytes that mean nothing by themselves."""
    return raw.hex(), ""


def digest(raw: bytes, _: bytes) -> Shown:
    """Bytes that are too many to be shown."""
    used = len(raw) - raw.count(0)
    return f"{len(raw)} bytes", f"{used} of them are not zero" if used else "zeros"


def text(raw: bytes, _: bytes) -> Shown:
    """UTF-16 up to the first NUL."""
    value = raw.decode("utf-16-le", errors="replace").partition("\0")[0]
    return quoted(value), ""


def reserved(raw: bytes, _: bytes) -> Shown:
    """Bytes that must be zero."""
    used = len(raw) - raw.count(0)
    return f"{len(raw)} bytes", f"{used} of them are not zero, as they must be" if used else "zeros"


def checksum(raw: bytes, structure: bytes) -> Shown:
    """The CRC-32C of the whole structure."""
    stored, computed = int.from_bytes(raw, "little"), checksums.structure_checksum(structure)
    return f"{stored:#010x}", "right" if stored == computed else f"wrong, the bytes give {computed:#010x}"


def signature(expected: bytes) -> Show:
    """The word that a structure begins with."""

    def show(raw: bytes, _: bytes) -> Shown:
        meaning = "" if raw == expected else f"wrong, must be {expected.decode()!r}"
        return quoted(raw.decode("latin-1")), meaning

    return show


def must_be(expected: int) -> Show:
    """An integer that has one legal value."""

    def show(raw: bytes, _: bytes) -> Shown:
        value = int.from_bytes(raw, "little")
        return value, "" if value == expected else f"must be {expected}"

    return show


def flags(names: Mapping[int, str]) -> Show:
    """Bits with names; the others are reserved."""

    def show(raw: bytes, _: bytes) -> Shown:
        value = int.from_bytes(raw, "little")
        words = [name for bit, name in names.items() if value & bit]
        unknown = value & ~sum(names)
        return value, ", ".join(words + ([f"reserved bits {unknown:#x}"] if unknown else []))

    return show
