"""The form of a fuzzed image: a few changes of a seed. So a few bytes say a sparse image of many MiB.

Any bytes are a case. Two say the seed and which checksums stay broken; then each change has an operation and
an area in one byte, a place in the area, a count, and that many bytes. Checksums are made to fit afterwards,
so that what is changed is looked at and not only refused; a fuzzer would never find them.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.support.layout import LOG_ENTRY, SECTOR, Layout, seal
from tests.support.sparse import Content

AREAS = 32
"""Areas that a change can name; the seeds have fewer."""
WRITE, COPY, LENGTH = 0, 6, 7
"""Operations; those from 0 to 5 all write."""
LONGEST = 255
_LONGEST_FILE = 1 << 48


class Area(NamedTuple):
    """A part of a seed that is worth changing: fields at its start, then rows of fields."""

    name: str
    offset: int
    size: int
    head: Layout | None = None
    rows: Layout | None = None
    first_row: int = 0
    sealed: bool = False


class Seed(NamedTuple):
    """An image to begin with; `log` is the (offset, length) of its log, `parent` what is under it."""

    name: str
    content: Content
    areas: tuple[Area, ...]
    log: tuple[int, int]
    parent: Content | None = None


class Change(NamedTuple):
    """One change: bytes to write at a place, from where to copy, or the new length of the file."""

    operation: int
    area: int
    where: int
    data: bytes

    def pack(self) -> bytes:
        """The change as it stands in a case."""
        head = bytes((self.operation << 5 | self.area,)) + self.where.to_bytes(2, "little")
        return head + bytes((len(self.data),)) + self.data


class Case(NamedTuple):
    """What a fuzzer's bytes mean; bit n of `broken` leaves the n-th sealed area without a right checksum."""

    seed: int
    broken: int
    changes: tuple[Change, ...]

    def pack(self) -> bytes:
        """The bytes of the case."""
        return bytes((self.seed, self.broken)) + b"".join(change.pack() for change in self.changes)


def unpack(data: bytes) -> Case:
    """The case that any bytes are."""
    changes = []
    at = 2
    while at + 4 <= len(data):
        code, count = data[at], data[at + 3]
        where = int.from_bytes(data[at + 1 : at + 3], "little")
        changes.append(Change(code >> 5, code % AREAS, where, data[at + 4 : at + 4 + count]))
        at += 4 + count
    head = data[:2].ljust(2, b"\0")
    return Case(head[0], head[1], tuple(changes))


def changed(seed: Seed, case: Case) -> Content:
    """The image of a case, checksums of what was changed included."""
    content, touched = written(seed, case)
    _seal(seed, content, touched, case.broken)
    return content


def written(seed: Seed, case: Case) -> tuple[Content, set[int]]:
    """The content of a case without new checksums, and the numbers of the areas that were written to."""
    content = seed.content.copy()
    touched: set[int] = set()
    for change in case.changes:
        number = change.area % len(seed.areas)
        area = seed.areas[number]
        if change.operation == LENGTH:
            content.resize(int.from_bytes(change.data[:8], "little") % _LONGEST_FILE)
            continue
        place = area.offset + change.where % area.size
        data = _copied(seed, content, change.data) if change.operation == COPY else change.data
        end = min(place + len(data), content.size)
        if place < end:
            content.write(data[: end - place], place)
            touched.add(number)
    return content, touched


def _copied(seed: Seed, content: Content, source: bytes) -> bytes:
    """Bytes of another place of the image: area, place in it, and how many sixteenths of a page."""
    number, low, high, length = source[:4].ljust(4, b"\0")
    area = seed.areas[number % len(seed.areas)]
    return content.read(256 * (length + 1), area.offset + (low | high << 8) % area.size)


def _seal(seed: Seed, content: Content, touched: set[int], broken: int) -> None:
    sealed = [number for number, area in enumerate(seed.areas) if area.sealed]
    for bit, number in enumerate(sealed):
        area = seed.areas[number]
        if number in touched and not broken >> bit & 1 and area.offset + area.size <= content.size:
            content.write(seal(content.read(area.size, area.offset))[:8], area.offset)
    if not broken >> 7 and any(_in_log(seed, seed.areas[number]) for number in touched):
        for position in _entries(seed, content):
            _seal_entry(seed, content, position)


def _in_log(seed: Seed, area: Area) -> bool:
    return seed.log[0] <= area.offset < sum(seed.log)


def _entries(seed: Seed, content: Content) -> Iterator[int]:
    """The ring positions of the sectors that begin like an entry."""
    offset, length = seed.log
    for page in sorted(content.pages):
        if offset <= page * SECTOR < offset + length and content.page(page)[:4] == b"loge":
            yield page * SECTOR - offset


def _seal_entry(seed: Seed, content: Content, position: int) -> None:
    offset, length = seed.log
    claimed = LOG_ENTRY.number(content.read(LOG_ENTRY.size, offset + position), "entry_length")
    if offset + length > content.size or not SECTOR <= claimed <= length:
        return
    first = min(claimed, length - position)
    entry = content.read(first, offset + position) + content.read(claimed - first, offset)
    content.write(seal(entry)[:8], offset + position)


def write(seed: Seed, name: str, where: int, data: bytes) -> Iterator[Change]:
    """The changes that write any number of bytes into an area."""
    area = next(number for number, area in enumerate(seed.areas) if area.name == name)
    for start in range(0, len(data), LONGEST):
        yield Change(WRITE, area, where + start, data[start : start + LONGEST])


def packed(seed: int, changes: Sequence[Change] = (), broken: int = 0) -> bytes:
    """A case for the corpus."""
    return Case(seed, broken, tuple(changes)).pack()
