"""A storage that lies about durability: what was not flushed may be lost, kept or torn when power fails.

`Record` is the order in which several files, and the folder they stand in, were changed and flushed; a
`LyingStorage` writes into it what `vhdx` does to one of them. `crashes` plays a record back and gives, for
every prefix of it, what the files may hold after a power loss right there: everything that was flushed,
and of the rest nothing, all, or a sample of the subsets, each change whole or torn at 512 bytes.

A write is recorded as the pages that the host's cache then held, so a sector that reaches the disk carries
everything that was written to it before, as on a real host.
"""

import errno
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from typing_extensions import Buffer

from .sparse import PAGE, SECTOR, SECTORS_OF_A_PAGE, ZERO_PAGE, Content, ContentStorage, touched

FOLDER = "."
"""The name of the folder as a file: renames wait for a flush of it."""

WHOLE_PAGE = (1 << SECTORS_OF_A_PAGE) - 1
Kind = Literal["write", "zero", "punch", "resize", "rename", "flush", "mark"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One change, flush or remark.

    Bytes `start` to `end` of the file are touched; `pages` are (number, first sector, behind the last sector,
    content of the page in the host's cache). A resize goes from `start` to `end`. `mark` is whatever a test
    wants to find again at this place of the record; a rename has the old and the new name there.
    """

    kind: Kind
    file: str
    start: int = 0
    end: int = 0
    pages: tuple[tuple[int, int, int, bytes], ...] = ()
    mark: object = None

    @property
    def sectors(self) -> int:
        """How many pieces of 512 bytes may reach the disk each for itself."""
        return sum(last - first for _, first, last, _ in self.pages)

    @property
    def data(self) -> bytes:
        """The bytes that a write wrote."""
        joined = b"".join(page for _, _, _, page in self.pages)
        first = self.start // PAGE * PAGE
        return joined[self.start - first : self.end - first]

    def __str__(self) -> str:
        name = f"{self.kind} {self.start:#x}-{self.end:#x}" if self.end or self.start else self.kind
        return name if self.mark is None else f"{name} {self.mark}"


@dataclass
class Record:
    """What happened to a set of files, in order, and what they held before.

    Operations call a file by the name that it had first, also after a rename.
    """

    before: dict[str, Content] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)

    def storage(self, name: str, content: Content) -> "LyingStorage":
        """A file that holds `content`, durably."""
        self.before[name] = content.copy()
        return LyingStorage(self, name, content.copy())

    def mark(self, value: object, file: str = "") -> None:
        """Remember something at this place."""
        self.operations.append(Operation("mark", file, mark=value))

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, in place of the file that had it."""
        self.operations.append(Operation("rename", FOLDER, mark=(old, new)))

    def flush_folder(self) -> None:
        """Make the names durable."""
        self.operations.append(Operation("flush", FOLDER))

    def count(self, kind: Kind, since: int = 0) -> int:
        """How many operations of a kind there were."""
        return sum(operation.kind == kind for operation in self.operations[since:])

    @property
    def bytes_written(self) -> int:
        """How many bytes all writes have written; zeroed and punched ranges do not count."""
        return sum(op.end - op.start for op in self.operations if op.kind == "write")


class LyingStorage(ContentStorage):
    """One file of a record. Reads give what was written, flushed or not."""

    def __init__(self, record: Record, name: str, content: Content) -> None:
        super().__init__(content, name)
        self.record = record

    def _note(self, kind: Kind, start: int = 0, end: int = 0) -> None:
        pages: tuple[tuple[int, int, int, bytes], ...] = ()
        if kind in ("write", "zero", "punch"):
            pages = tuple(
                (number, first // SECTOR, -(-last // SECTOR), self.content.page(number))
                for number, first, last in touched(start, end)
            )
        self.record.operations.append(Operation(kind, self.name, start, end, pages))

    def data_ranges(self, file_offset: int, length: int) -> Iterator[tuple[int, int]]:
        """The whole range: no holes are told, so that all that may become one is punched."""
        if length:
            yield file_offset, length

    def lent(self) -> "LyingStorage":
        """The same file once more: closing means nothing here."""
        return self

    def write_at(self, data: Buffer, file_offset: int) -> None:
        """Write all of `data`."""
        raw = bytes(memoryview(data).cast("B"))
        if raw:
            self.content.write(raw, file_offset)
            self._note("write", file_offset, file_offset + len(raw))

    def flush(self) -> None:
        """Make everything durable, for once without lying."""
        self._note("flush")

    def resize(self, size: int) -> None:
        """Cut or extend."""
        before = self.content.size
        self.content.resize(size)
        self._note("resize", before, size)

    def zero(self, file_offset: int, length: int) -> None:
        """Make a range inside the file zeros."""
        self._clear("zero", file_offset, length)

    def punch(self, file_offset: int, length: int) -> bool:
        """Give a range inside the file back."""
        self._clear("punch", file_offset, length)
        return True

    def reserve(self, file_offset: int, length: int) -> bool:
        """There is no host that could reserve anything."""
        return False

    def _clear(self, kind: Literal["zero", "punch"], file_offset: int, length: int) -> None:
        if file_offset + length > self.content.size:
            raise OSError(errno.EINVAL, f"{length} bytes at {file_offset} pass the file's end", self.name)
        self.content.zero(file_offset, length)
        self._note(kind, file_offset, file_offset + length)


class Part(NamedTuple):
    """How much of an unflushed operation reaches the disk: a bit for each sector, None for all of it."""

    operation: Operation
    kept: int | None = None

    def __str__(self) -> str:
        if self.kept is None:
            return str(self.operation)
        return f"{self.operation}, of {self.operation.sectors} sectors only {self.kept:#b}"


class Crash(NamedTuple):
    """What the files may hold if power fails after the operation at `position` of the record."""

    position: int
    files: dict[str, Content]
    parts: Sequence[Part]

    def __str__(self) -> str:
        kept = "\n  ".join(map(str, self.parts)) or "nothing"
        return f"power fails after operation {self.position}; of what was not flushed this is kept:\n  {kept}"


def crashes(
    record: Record,
    chance: random.Random,
    samples: int,
    *,
    one_in: int = 1,
    again: type | tuple[type, ...] = (),
) -> Iterator[Crash | Operation]:
    """Play a record back: its operations, and after each one the crashes that it makes possible.

    Behind an operation that changes something come only states in which at least a part of it has reached the
    disk: the others came before. Behind a mark of a type in `again` the sample is drawn anew from everything
    that waits, because a test may expect more of the same states from there on.
    """
    durable = _State(dict(record.before), {name: name for name in record.before})
    waiting: list[Operation] = []
    yield durable.crash(-1, ())
    for position, operation in enumerate(record.operations):
        yield operation
        if operation.kind == "flush":
            durable = durable.after([Part(op) for op in waiting if op.file == operation.file])
            waiting = [op for op in waiting if op.file != operation.file]
            yield durable.crash(position, ())
        elif operation.kind == "mark":
            if isinstance(operation.mark, again):
                yield durable.crash(position, ())
                for parts in _subsets(waiting, None, chance, samples):
                    yield durable.after(parts).crash(position, parts)
        else:
            if chance.randrange(one_in) == 0:
                for parts in _subsets(waiting, operation, chance, samples):
                    yield durable.after(parts).crash(position, parts)
            waiting.append(operation)


def _subsets(
    waiting: Sequence[Operation], newest: Operation | None, chance: random.Random, samples: int
) -> Iterator[Sequence[Part]]:
    """All of it, the newest alone, and a sample of what else may have been kept, whole or torn."""
    last = [] if newest is None else [Part(newest)]
    yield [*map(Part, waiting), *last]
    if waiting and newest is not None:
        yield last
    torn = newest is not None and newest.sectors > 1
    if newest is not None and torn:
        for others in ([], [*map(Part, waiting)]):
            yield [*others, Part(newest, _torn(newest, chance))]
    if not waiting:
        samples = min(samples, 8 * newest.sectors) if newest is not None and torn else 0
    elif not torn and len(waiting) < 4:
        samples = min(samples, 3 ** len(waiting))
    for _ in range(samples):
        parts = [part for operation in waiting if (part := _maybe(operation, chance)) is not None]
        if newest is not None:
            parts.append(Part(newest, _torn(newest, chance)) if torn and chance.random() < 0.5 else last[0])
        yield parts


def _maybe(operation: Operation, chance: random.Random) -> Part | None:
    luck = chance.random()
    if luck < 0.4:
        return None
    if luck < 0.75 or operation.sectors < 2:
        return Part(operation)
    return Part(operation, _torn(operation, chance))


def _torn(operation: Operation, chance: random.Random) -> int:
    """Some of the sectors, but not all: from one end, all but one, only one, or any."""
    count = operation.sectors
    everything = (1 << count) - 1
    one = 1 << chance.randrange(count)
    way = chance.randrange(5)
    if way == 0:
        return (one - 1) or 1
    if way == 1:
        return everything - (one - 1) if one > 1 else everything - 1
    if way == 2:
        return everything - one
    if way == 3:
        return one
    return chance.getrandbits(count) & (everything - one)


class _State(NamedTuple):
    """What has reached the disk: contents by first name, and which of them stands under which name now."""

    contents: dict[str, Content]
    names: dict[str, str]

    def after(self, parts: Sequence[Part]) -> "_State":
        """The state after these parts of what was not flushed have reached the disk, in order."""
        contents, names = dict(self.contents), dict(self.names)
        for file in {part.operation.file for part in parts} & contents.keys():
            contents[file] = contents[file].copy()
        for operation, kept in parts:
            if operation.kind != "rename":
                apply(contents[operation.file], Part(operation, kept))
            elif isinstance(operation.mark, tuple):
                old, new = operation.mark
                names[new] = names.pop(old)
        return _State(contents, names)

    def crash(self, position: int, parts: Sequence[Part]) -> Crash:
        files = {name: self.contents[file] for name, file in self.names.items()}
        return Crash(position, files, parts)


def apply(content: Content, part: Part) -> None:
    """Let a part of an operation reach the disk."""
    operation, kept = part
    if operation.kind == "resize":
        content.resize(operation.end)
        return
    reached = sector = 0
    for number, first, last, page in operation.pages:
        whole = (1 << last - first) - 1
        bits = whole if kept is None else kept >> sector & whole
        sector += last - first
        if bits and (page is not ZERO_PAGE or number in content.pages):
            if bits == WHOLE_PAGE:
                content.put_page(number, page)
            else:
                content.put_page(number, _spliced(content.page(number), page, bits << first))
        if bits:
            reached = number * PAGE + (first + bits.bit_length()) * SECTOR
    if operation.kind == "write":
        content.size = max(content.size, min(reached, operation.end))
    else:
        _forget_behind_the_end(content, operation)


def _spliced(old: bytes, new: bytes, bits: int) -> bytes:
    """A page whose sectors are new where their bits are set."""
    return b"".join(
        [
            (new if bits >> index & 1 else old)[index * SECTOR : (index + 1) * SECTOR]
            for index in range(SECTORS_OF_A_PAGE)
        ]
    )


def _forget_behind_the_end(content: Content, operation: Operation) -> None:
    """A cleared range whose extension of the file was lost leaves nothing behind the end of the file."""
    if operation.end > content.size:
        content.resize(content.size)
