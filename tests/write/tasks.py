"""Threads for tests: what they raise arrives, and a deadlock fails loudly instead of hanging the run."""

import faulthandler
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")
LONG = 20.0
"""Seconds after which a thread is held to hang: no test waits so long unless it fails."""


class HangsError(AssertionError):
    """A thread that should have ended long ago has not."""


class Task(Generic[_T]):
    """A function that runs in a thread of its own."""

    def __init__(self, function: Callable[[], _T]) -> None:
        self._function = function
        self._result: list[_T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result.append(self._function())
        except BaseException as error:  # noqa: BLE001  raised again where the result is asked for
            self._error = error

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._thread.is_alive()

    def ends_within(self, seconds: float) -> bool:
        """Wait so long; whether it has ended."""
        self._thread.join(seconds)
        return not self.running

    def result(self) -> _T:
        """What the function returned; raises what it raised, and HangsError if it does not end."""
        if not self.ends_within(LONG):
            faulthandler.dump_traceback(file=2, all_threads=True)
            raise HangsError(f"{self._function} did not end")
        if self._error is not None:
            raise self._error
        return self._result[0]


def reached(event: threading.Event) -> None:
    """Wait for an event that must come."""
    if not event.wait(LONG):
        faulthandler.dump_traceback(file=2, all_threads=True)
        raise HangsError("an event did not come")
