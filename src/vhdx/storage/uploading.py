"""An object of a store as a place for bytes that are written in the order of their offsets.

Whole parts go on their way while the next one is filled, several at once. Part one, in which the headers and
tables of images stand, is kept and goes last; then the object appears, whole. What was left out is zeros.
"""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from vhdx.waiting import LONGEST_WAIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdx.storage.multipart import Part, PartSizes, Upload

    Data = bytes | bytearray


class Finished(NamedTuple):
    """The parts that the store has already, and who is told of each that is added."""

    parts: dict[int, Part]
    add: Callable[[int, Part], None]


class UploadingStorage:
    """The parts of one object. At most ``at_once`` of them are on their way, two more are kept here."""

    def __init__(self, upload: Upload, sizes: PartSizes, finished: Finished, name: str) -> None:
        self.name = name
        self._upload = upload
        self._size = sizes.part_size
        self._finished = finished
        self._parts: dict[int, Part] = {}
        self._position = 0
        self._filling: bytearray | None = None
        self._first: Data = b""
        self._zeros = b""
        self._free = threading.Semaphore(sizes.at_once)
        self._pool = ThreadPoolExecutor(sizes.at_once, "parts of an object")
        self._failures: list[BaseException] = []
        self._counting = threading.Lock()
        self.sent = self.kept = 0
        """Parts that went to the store, and those that it had already."""

    def write_at(self, data: bytes | bytearray | memoryview, file_offset: int) -> None:
        """Write all of ``data``. Raises ValueError for what was written already, and what uploads raise."""
        if file_offset < self._position:
            raise ValueError(f"{self.name}: byte {file_offset} was written already, up to {self._position}")
        self.resize(file_offset)
        view = memoryview(data)
        while view:
            start = self._position % self._size
            count = min(len(view), self._size - start)
            if self._filling is None:
                self._filling = bytearray(self._size)
            self._filling[start : start + count] = view[:count]
            view = view[count:]
            self._advance(self._position + count)

    def resize(self, size: int) -> None:
        """Leave zeros up to a length; nothing is taken back."""
        while self._position < size:
            self._advance(min(size, self._position - self._position % self._size + self._size))

    def reserve(self, file_offset: int, length: int) -> bool:  # noqa: ARG002  as storages have it
        """True: every byte of an object has its space."""
        return True

    def start_writing_back(self) -> None:
        """Nothing: parts go as they are full."""

    def _advance(self, position: int) -> None:
        """Go on within a part, or to its end."""
        self._position = position
        if position % self._size == 0:
            self._take(position // self._size, self._size)

    def _take(self, number: int, length: int) -> None:
        """The part that ends here: to be sent now, or last if it is the first."""
        data: Data = self._zeros_of(length) if self._filling is None else self._filling
        self._filling = None
        if len(data) > length:
            data = data[:length]
        if number == 1:
            self._first = data
            return
        while not self._free.acquire(timeout=LONGEST_WAIT):
            pass
        if self._failures:
            raise self._failures[0]
        self._pool.submit(self._send_or_fail, number, data)

    def _zeros_of(self, length: int) -> Data:
        if not self._zeros:
            self._zeros = bytes(self._size)
        return self._zeros if length == self._size else self._zeros[:length]

    def _send_or_fail(self, number: int, data: Data) -> None:
        try:
            if not self._failures:
                self._send(number, data)
        except BaseException as error:  # noqa: BLE001  raised again by whoever writes
            self._failures.append(error)
            self._upload.give_up(given_up=True)
        finally:
            self._free.release()

    def _send(self, number: int, data: Data) -> None:
        """Send a part, unless the store has the same already."""
        digest = hashlib.md5(data, usedforsecurity=False).digest()
        part = self._finished.parts.get(number)
        if part is not None and (part.length, part.digest) == (len(data), digest.hex()):
            with self._counting:
                self.kept += 1
        else:
            part = self._upload.put(number, data, digest)
            self._finished.add(number, part)
            with self._counting:
                self.sent += 1
        self._parts[number] = part

    def finish(self, *, overwrite: bool) -> None:
        """Send what is left, part one last, and make the object of all. Raises what uploads raise."""
        rest = self._position % self._size
        if rest:
            self._take(self._position // self._size + 1, rest)
        self._pool.shutdown(wait=True)
        if self._failures:
            raise self._failures[0]
        self._send(1, self._first)
        self._upload.complete(self._parts, overwrite=overwrite)

    def stop(self) -> None:
        """Return when nothing is on its way any more."""
        self._failures.append(InterruptedError())
        self._upload.give_up(given_up=True)
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._upload.give_up(given_up=False)
