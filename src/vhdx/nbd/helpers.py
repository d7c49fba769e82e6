"""Threads of one connection that carry out what lasts, so that what is quick need not wait behind it."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Job = Callable[[], None]


class Helpers:
    """At most ``size`` threads, started when they are needed. Nothing waits in line for them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads: list[threading.Thread] = []

    def take(self, job: Job) -> bool:
        """Let somebody else do a job; False if nobody is free. A job must not raise."""
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif len(self._threads) < self._size:
                thread = threading.Thread(target=self._work, name="nbd-helper", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the host gives no more threads
                    return False
                self._threads.append(thread)
            else:
                return False
        self._jobs.put(job)
        return True

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            with self._lock:
                self._idle += 1

    def finish(self) -> None:
        """Wait until all that was taken is done, and let the threads go."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
