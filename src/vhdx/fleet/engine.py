"""Tasks on any `concurrent.futures.Executor`: a bounded number at a time, one retry for dead workers.

There is no scheduler here: the executor has one. What is here is a window over its futures.
"""

from __future__ import annotations

from concurrent import futures
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from vhdx.waiting import first_done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

Asked = TypeVar("Asked")
Told = TypeVar("Told")
_PER_WORKER = 2
"""Tasks in flight for each worker: one is done, one waits for it."""
ATTEMPTS = 2
"""Workers that a task may cost: then it is its own fault."""


class WorkerDiedError(Exception):
    """Every worker that was asked for an answer died."""


class Pool:
    """An executor, how many tasks it does at a time, and what takes its place when it is broken.

    ``make`` gives a new one; an executor that the caller owns cannot be replaced, and is not shut down.
    ``submit_options`` are what its ``submit`` takes beside the call, for a key.
    """

    def __init__(
        self,
        workers: int,
        make: Callable[[], Executor] | None = None,
        executor: Executor | None = None,
        submit_options: Callable[[str], Mapping[str, Any]] | None = None,
        deaths: tuple[type[BaseException], ...] = (BrokenExecutor,),
    ) -> None:
        self.window = workers * _PER_WORKER
        self._make = make
        self._submit_options = submit_options or (lambda _: {})
        self.deaths = deaths
        """What futures raise whose worker died."""
        if executor is None:
            assert make is not None
            executor = make()
        self._executor = executor

    def submit(self, function: Callable[[Any], Any], asked: Any, key: str) -> Future[Any]:
        """Let a worker call a function."""
        options = self._submit_options(key)
        try:
            return self._executor.submit(function, asked, **options)
        except BrokenExecutor:
            if self._make is None:
                raise
            self._executor.shutdown(wait=False)
            self._executor = self._make()
            return self._executor.submit(function, asked, **options)

    def close(self) -> None:
        """Begin nothing more; what runs already comes to its end."""
        if self._make is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)


class Window(Generic[Asked, Told]):
    """Calls of one function in flight."""

    def __init__(self, pool: Pool, function: Callable[[Asked], Told], key: Callable[[Asked], str]) -> None:
        self._pool, self._function, self._key = pool, function, key
        self._flying: dict[Future[Told], Asked] = {}
        self._lost: list[Asked] = []

    def results(self, asked: Iterable[Asked]) -> Iterator[tuple[Asked, Told | BaseException, int]]:
        """What was asked, what was answered or raised, and how many workers that took; as they come."""
        try:
            for each in asked:
                while len(self._flying) >= self._pool.window:
                    yield from self._landed()
                if self._lost:
                    yield from self._again()
                self._begin(each, 1)
            yield from self._again()
        finally:
            for future in self._flying:
                future.cancel()

    def _begin(self, asked: Asked, attempt: int) -> None:
        key = self._key(asked) + ("" if attempt == 1 else f"-{attempt}")
        self._flying[self._pool.submit(self._function, asked, key)] = asked

    def _landed(self) -> Iterator[tuple[Asked, Told | BaseException, int]]:
        for future in first_done(self._flying):
            asked = self._flying.pop(future)
            error = _error_of(future)
            if isinstance(error, self._pool.deaths):
                self._lost.append(asked)
            else:
                yield asked, future.result() if error is None else error, 1

    def _again(self) -> Iterator[tuple[Asked, Told | BaseException, int]]:
        """Wait for all in flight; then ask once more, one after the other, what cost a worker.

        So it is known whose fault it is if another one dies: of several in flight any may be the reason.
        """
        while self._flying:
            yield from self._landed()
        while self._lost:
            asked = self._lost.pop(0)
            self._begin(asked, ATTEMPTS)
            future = next(iter(self._flying))
            first_done((future,))
            del self._flying[future]
            error = _error_of(future)
            if isinstance(error, self._pool.deaths):
                error = WorkerDiedError(f"{ATTEMPTS} workers died of it")
            yield asked, future.result() if error is None else error, ATTEMPTS


def _error_of(future: Future[Any]) -> BaseException | None:
    try:
        return future.exception()
    except futures.CancelledError as error:
        return error
