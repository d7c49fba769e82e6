"""Changes of a file that are tried before they are made: recorded in order, and read as if they were made.

What was tried can be looked at, thrown away, or made for real with the same writes and flushes in the same
order, so that a crash in the middle leaves what it would have left had nothing been staged. The new bytes
wait in a temporary file: there may be as many of them as the image has.
"""

from __future__ import annotations

import tempfile
from heapq import merge
from typing import TYPE_CHECKING, NamedTuple

from vhdx.storage.base import ZEROS, ended_early, fill_zeros
from vhdx.storage.runs import Runs, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdx.storage.base import ReadableStorage, Storage

PAGE = 4096
_BLANKING = ("zero", "punch")


def tells_nobody(file_offset: int, length: int) -> None:
    """Changes that nobody wants to hear of."""


class Step(NamedTuple):
    """One call, in its order: a ``write``, ``zero``, ``punch``, ``resize`` or ``flush``. Unused fields are 0.

    Of ``resize``, ``file_offset`` is the new length of the file in bytes.
    """

    kind: str
    file_offset: int = 0
    length: int = 0
    spooled_at: int = 0


class StagedChanges:
    """A storage that keeps what is written to it apart from ``base``, whose owner keeps owning it."""

    def __init__(self, base: ReadableStorage) -> None:
        self._base = base
        self.on_change: Callable[[int, int], None] = tells_nobody
        """Told (file offset, length) of what is about to be changed."""
        self._size = self._kept_of_base = base.size()
        self._spool = tempfile.TemporaryFile(prefix="vhdx-")  # noqa: SIM115  closed by `close`
        self._spooled = 0
        self._pages: dict[int, int] = {}
        self._zeros = Runs()
        self._steps: list[Step] = []

    @property
    def name(self) -> str:
        """The name of the file."""
        return self._base.name

    def size(self) -> int:
        """The length that the file would have, in bytes."""
        return self._size

    def identity(self) -> tuple[int, int] | None:
        """The identity of the file."""
        return self._base.identity()

    def read(self, length: int, file_offset: int) -> bytes:
        """Exactly ``length`` bytes."""
        buffer = bytearray(length)
        self.read_into(memoryview(buffer), file_offset)
        return bytes(buffer)

    def read_into(self, buffer: memoryview, file_offset: int) -> None:
        """Fill the buffer: what the file has, and over it what was written."""
        end = file_offset + len(buffer)
        if end > self._size:
            raise ended_early(self.name, file_offset, len(buffer))
        inside = max(0, min(end, self._kept_of_base) - file_offset)
        if inside:
            self._base.read_into(buffer[:inside], file_offset)
        fill_zeros(buffer[inside:])
        for start, stop in self._zeros.within(file_offset, end):
            fill_zeros(buffer[start - file_offset : stop - file_offset])
        for page in self._changed(file_offset, end):
            start, stop = max(file_offset, page * PAGE), min(end, (page + 1) * PAGE)
            data = self._spooled_bytes(PAGE, self._pages[page])
            buffer[start - file_offset : stop - file_offset] = data[start - page * PAGE : stop - page * PAGE]

    def _changed(self, file_offset: int, end: int) -> list[int]:
        """The pages of a range that were written, in order."""
        return [page for page in range(file_offset // PAGE, -(-end // PAGE)) if page in self._pages]

    def _spooled_bytes(self, length: int, at: int) -> bytes:
        self._spool.seek(at)
        return self._spool.read(length)

    def data_ranges(self, file_offset: int, length: int) -> Iterator[tuple[int, int]]:
        """What the file tells, and the pages that were written."""
        end = file_offset + length
        inside = max(0, min(end, self._kept_of_base) - file_offset)
        told = self._base.data_ranges(file_offset, inside) if inside else ()
        base = ((start, start + part) for start, part in told)
        pages = sorted(page * PAGE for page in self._pages if file_offset - PAGE < page * PAGE < end)
        written = ((max(at, file_offset), min(at + PAGE, end)) for at in pages)
        yield from joined(merge(base, written))

    def write_at(self, data: bytes | bytearray | memoryview, file_offset: int) -> None:
        """Keep bytes that would be written."""
        if not len(data):
            return
        self.on_change(file_offset, len(data))
        start = file_offset // PAGE * PAGE
        end = -(-(file_offset + len(data)) // PAGE) * PAGE
        self._size = max(self._size, file_offset + len(data))
        whole = bytearray(end - start)
        if len(whole) > len(data):
            there = max(0, min(end, self._size) - start)
            self.read_into(memoryview(whole)[:there], start)
        whole[file_offset - start : file_offset - start + len(data)] = data
        self._note(Step("write", file_offset, len(data), self._spooled + file_offset - start))
        self._spool.seek(self._spooled)
        self._spool.write(whole)
        for at in range(0, len(whole), PAGE):
            self._pages[(start + at) // PAGE] = self._spooled + at
        self._spooled += len(whole)

    def _note(self, step: Step) -> None:
        self._steps.append(step)

    def flush(self) -> None:
        """Remember that everything would be made durable now."""
        self._note(Step("flush"))

    def resize(self, size: int) -> None:
        """Remember another length; what is cut is gone, what is added reads as zeros."""
        self.on_change(min(size, self._size), abs(size - self._size))
        self._note(Step("resize", size))
        if size < self._size:
            for page in [page for page in self._pages if page * PAGE >= size]:
                del self._pages[page]
            if size % PAGE:
                self._blank_behind(size)
        self._kept_of_base = min(self._kept_of_base, size)
        self._size = size

    def _blank_behind(self, size: int) -> None:
        """Zeros behind the new end in the page that it cuts, if that page was written."""
        page = size // PAGE
        if page in self._pages:
            data = self._spooled_bytes(PAGE, self._pages[page])[: size % PAGE].ljust(PAGE, b"\0")
            self._spool.seek(self._spooled)
            self._spool.write(data)
            self._pages[page] = self._spooled
            self._spooled += PAGE

    def zero(self, file_offset: int, length: int) -> None:
        """Remember that a range inside the file would read as zeros; it takes no space here."""
        self._blank(file_offset, length, "zero")

    def punch(self, file_offset: int, length: int) -> bool:
        """Remember that the space of a range would be given back, or overwritten where the host cannot."""
        self._blank(file_offset, length, "punch")
        return True

    def _blank(self, file_offset: int, length: int, kind: str) -> None:
        self.on_change(file_offset, length)
        end = file_offset + length
        first, last = -(-file_offset // PAGE), end // PAGE
        if first >= last:
            self.write_at(bytes(length), file_offset)
            return
        self.write_at(bytes(first * PAGE - file_offset), file_offset)
        self.write_at(bytes(end - last * PAGE), last * PAGE)
        for page in [page for page in self._pages if first <= page < last]:
            del self._pages[page]
        self._zeros.add(first * PAGE, last * PAGE)
        self._note(Step(kind, first * PAGE, (last - first) * PAGE))

    def reserve(self, file_offset: int, length: int) -> bool:  # noqa: ARG002  the protocol's signature
        """Nothing is claimed on the host while changes are staged."""
        return False

    def changed_ranges(self) -> list[tuple[int, int]]:
        """(file offset, length) of what the file has now and would not have afterwards, in order."""
        size = self._base.size()
        written = [(step.file_offset, step.length) for step in self._steps if step.kind == "write"]
        shortest = min([size, *(step.file_offset for step in self._steps if step.kind == "resize")])
        gone = [(shortest, size - shortest)]
        gone += [(step.file_offset, step.length) for step in self._steps if step.kind in _BLANKING]
        changed = Runs()
        for start, length in written:
            changed.add(start, start + length)
        for start, length in gone:  # what is a hole reads as zeros before and after
            for at, part in self._base.data_ranges(start, max(0, min(length, size - start))):
                changed.add(at, at + part)
        return [(start, end - start) for start, end in changed.within(0, size)]

    def states_of(self, length: int) -> Iterator[bytes]:
        """What the first bytes of the file hold before the first change of them, and after each."""
        there = min(length, self._base.size())
        state = bytearray(self._base.read(there, 0).ljust(length, b"\0"))
        yield bytes(state)
        for step in self._steps:
            if step.kind in ("write", *_BLANKING) and step.file_offset < length:
                stop = min(length, step.file_offset + step.length)
                count = stop - step.file_offset
                data = self._spooled_bytes(count, step.spooled_at) if step.kind == "write" else bytes(count)
                state[step.file_offset : stop] = data
                yield bytes(state)

    @property
    def steps(self) -> tuple[Step, ...]:
        """What was done, in order."""
        return tuple(self._steps)

    def perform(self, file: Storage) -> None:
        """Do to ``file`` what was done here, in the same order."""
        for step in self._steps:
            self.perform_step(file, step)

    def perform_step(self, file: Storage, step: Step) -> None:
        """Do to ``file`` one of the things that were done here."""
        if step.kind == "resize":
            file.resize(step.file_offset)
        elif step.kind == "flush":
            file.flush()
        elif step.kind in _BLANKING:
            if step.kind == "zero" or not file.punch(step.file_offset, step.length):
                file.zero(step.file_offset, step.length)
        else:
            self._write(file, step)

    def _write(self, file: Storage, step: Step) -> None:
        for done in range(0, step.length, len(ZEROS)):
            length = min(len(ZEROS), step.length - done)
            file.write_at(self._spooled_bytes(length, step.spooled_at + done), step.file_offset + done)

    def close(self) -> None:
        """Forget everything that was not performed. The file stays open."""
        self._spool.close()
