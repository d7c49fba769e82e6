"""Reads that are begun before they are asked for, where a run that holds something is read in order."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from vhdx.client.replies import Request
from vhdx.wire import Command

if TYPE_CHECKING:
    from vhdx.client.connection import Connection

REQUEST_SIZE = 256 * 1024
"""Bytes of one read: small enough that the first are there while the last are still on their way."""
_WINDOW = 16


class _Begun(NamedTuple):
    request: Request
    data: bytearray


class ReadAhead:
    """Follows one reader through the runs that it was told of, 4 MiB ahead."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._minimum = connection.agreed.minimum
        self._longest = min(REQUEST_SIZE, connection.agreed.maximum)
        self._lock = threading.Lock()
        self._begun: deque[_Begun] = deque()
        self._expected = self._end = 0

    def told(self, start: int, end: int) -> None:
        """A reader was told of a run, and will read it next if it reads in order."""
        with self._lock:
            self._begun.clear()
            self._expected, self._end = start, end

    def forget(self) -> None:
        """What was read ahead may have changed."""
        self.told(0, 0)

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill as much of a buffer as was or is read ahead; how many bytes that are."""
        if not self._lock.acquire(blocking=False):
            return 0  # two readers are in no order
        done = 0
        try:
            if offset != self._expected or offset >= self._end:
                return 0
            wanted = min(len(view), self._end - offset)
            while done < wanted:
                done += self._next_into(view[done:wanted], offset + done)
            self._expected = offset + done
        except BaseException as error:
            self._begun.clear()
            self._end = 0
            if not isinstance(
                error, OSError
            ):  # it may be of bytes that nobody wants: those wanted are asked for
                raise
        finally:
            self._lock.release()
        return done

    def _next_into(self, view: memoryview, offset: int) -> int:
        self._begin_more(offset)
        first = self._begun[0]
        self._connection.wait(first.request)
        within = offset - first.request.offset
        count = min(len(view), first.request.length - within)
        view[:count] = first.data[within : within + count]
        if within + count == first.request.length:
            self._begun.popleft()
        return count

    def _begin_more(self, offset: int) -> None:
        """Keep the window full, whole blocks of the server only."""
        at = self._begun[-1].request.end if self._begun else offset // self._minimum * self._minimum
        end = -(-self._end // self._minimum) * self._minimum
        while len(self._begun) < _WINDOW and at < end:
            data = bytearray(min(self._longest - at % self._longest, end - at))
            request = Request(Command.READ, at, len(data), memoryview(data))
            self._begun.append(_Begun(self._connection.begin(request), data))
            at += len(data)
