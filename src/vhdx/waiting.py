"""Waits for other threads, which Ctrl-C ends on every host.

On Windows no signal ends a wait: there each is many short ones.
"""

from __future__ import annotations

import contextlib
import sys

from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from concurrent.futures import Future
    from queue import SimpleQueue
    from threading import Condition
    from typing import TypeVar

    Item = TypeVar("Item")
    Result = TypeVar("Result")

LONGEST_WAIT = 0.5 if sys.platform == "win32" else None
"""Seconds after which a wait looks whether there is a signal; None where signals end waits."""


def wait_for(condition: Condition, predicate: Callable[[], bool]) -> None:
    """Return once it holds; the condition's lock is held."""
    while not condition.wait_for(predicate, LONGEST_WAIT):
        pass


def first_done(running: Collection[Future[Result]]) -> set[Future[Result]]:
    """Those that are done, once one is: it has a result or an error, or its executor has dropped it."""
    from concurrent.futures import FIRST_COMPLETED, wait  # noqa: PLC0415  whoever has one has imported it

    while not (done := wait(running, LONGEST_WAIT, FIRST_COMPLETED).done):
        pass
    return done


def result_of(future: Future[Result]) -> Result:
    """What it gives, once it is done; raises what it raised, and CancelledError where it was cancelled."""
    while not future.done():
        with contextlib.suppress(TimeoutError):
            future.exception(LONGEST_WAIT)
    return future.result()


def take(queue: SimpleQueue[Item]) -> Item:
    """The next item, once there is one."""
    from queue import Empty  # noqa: PLC0415  whoever has one has imported it

    while True:
        try:
            return queue.get(timeout=LONGEST_WAIT)
        except Empty:
            continue
