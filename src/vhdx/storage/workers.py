"""Threads that do many things at once, while what they give is taken in order and memory stays bounded.

They end with the process, whatever they wait for: nobody who interrupts a job waits for a server.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from vhdx.waiting import result_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")
Result = TypeVar("Result")
_PATIENCE = 5.0
"""Seconds that what is under way gets at most to end when the rest is given up."""


class Workers:
    """So many threads. ``stopped`` is set when what is not done any more need not be done."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.stopped = threading.Event()
        self._failure: BaseException | None = None
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name="worker", daemon=True) for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def in_order(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """What a function gives for each item, in order; raises what the first failure raised.

        No more than two items beyond the number of threads are out of ``items`` before their results are in.
        """
        pending: deque[Future[Result]] = deque()
        for item in items:
            pending.append(self._begun(function, item))
            if len(pending) >= self.count + 2:
                yield self._taken(pending.popleft())
        while pending:
            yield self._taken(pending.popleft())

    def _taken(self, future: Future[Result]) -> Result:
        try:
            return result_of(future)
        except Exception:
            if self._failure is not None:  # for which others gave up
                raise self._failure from None
            raise

    def _begun(self, function: Callable[[Item], Result], item: Item) -> Future[Result]:
        future: Future[Result] = Future()

        def run() -> None:
            if self.stopped.is_set():
                future.cancel()
                return
            try:
                future.set_result(function(item))
            except BaseException as error:  # noqa: BLE001  raised again where the result is taken
                self._failure = self._failure or error
                self.stopped.set()
                future.set_exception(error)

        self._tasks.put(run)
        return future

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()

    def close(self) -> None:
        """Stop; what is under way gets a moment to end."""
        self.stopped.set()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(_PATIENCE / self.count)


@contextlib.contextmanager
def workers(count: int) -> Iterator[Workers]:
    """So many threads, which end with the ``with``."""
    made = Workers(count)
    try:
        yield made
    finally:
        made.close()


def piece_length(jobs: int, budget: int, most: int, least: int) -> int:
    """How long pieces are of which each of so many jobs holds one: a power of two, all in ``budget``."""
    fitting = budget // jobs
    return max(least, min(most, 1 << (fitting.bit_length() - 1)))
