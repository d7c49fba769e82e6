"""Waits end when what they wait for is there, and when a signal comes of which the host wakes nobody."""

import _thread
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import pytest

from vhdx import waiting


def _condition() -> None:
    condition = threading.Condition()
    with condition:
        waiting.wait_for(condition, lambda: False)


WAITS: dict[str, Callable[[], Any]] = {
    "condition": _condition,
    "futures": lambda: waiting.first_done([Future(), Future()]),
    "result": lambda: waiting.result_of(Future()),
    "queue": lambda: waiting.take(SimpleQueue()),
}


@pytest.mark.parametrize("wait", WAITS)
def test_a_signal_that_wakes_nobody_is_noticed(wait: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ctrl-C on Windows, which is only noted: nothing that it interrupts here would ever come."""
    monkeypatch.setattr(waiting, "LONGEST_WAIT", 0.01)
    timer = threading.Timer(0.05, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        WAITS[wait]()
    timer.join()


@pytest.mark.parametrize("longest", [None, 0.01])
def test_what_comes_is_taken(longest: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LONGEST_WAIT", longest)
    go_on = threading.Event()
    queue: SimpleQueue[int] = SimpleQueue()
    condition = threading.Condition()

    def end() -> int:
        go_on.wait()
        queue.put(5)
        with condition:
            condition.notify_all()
        return 7

    with ThreadPoolExecutor(1) as pool:
        future, never = pool.submit(end), Future[int]()
        threading.Timer(0.03, go_on.set).start()
        assert waiting.first_done([never, future]) == {future}
        assert (waiting.result_of(future), waiting.take(queue)) == (7, 5)
        with condition:
            waiting.wait_for(condition, future.done)
    never.cancel()
    with pytest.raises(CancelledError):
        waiting.result_of(never)


def test_a_failure_is_raised_also_if_it_is_that_something_took_too_long() -> None:
    future: Future[int] = Future()
    future.set_exception(TimeoutError("the work's own"))
    with pytest.raises(TimeoutError, match="the work's own"):
        waiting.result_of(future)
