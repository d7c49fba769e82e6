"""One function over many images: found, told apart, examined on an executor, told as rows while they come."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from vhdx.fleet import executors, stopping
from vhdx.fleet.columns import columns_of
from vhdx.fleet.engine import Window, WorkerDiedError
from vhdx.fleet.examine import examined
from vhdx.fleet.failures import WORKER_DIED, failed, failure
from vhdx.fleet.identity import identify, nameless
from vhdx.fleet.options import FleetOptions
from vhdx.fleet.paths import files
from vhdx.fleet.plan import Plan
from vhdx.fleet.task import Task, empty_row

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from concurrent.futures import Executor

    from vhdx.fleet.columns import Row
    from vhdx.fleet.engine import Pool
    from vhdx.fleet.identity import Identity
    from vhdx.fleet.paths import PathLike

_IDENTIFIED_AT_ONCE = 16
"""Files that one worker looks at for one question: a look takes less than asking for it."""
USUAL = FleetOptions()


def run(
    paths: Iterable[PathLike],
    verb: str,
    *,
    executor: Executor | None = None,
    options: FleetOptions = USUAL,
    include: Sequence[str] = (),
    done: Iterable[Row] = (),
) -> Iterator[Row]:
    """Do ``verb`` to every image that ``paths`` stand for; a row for each, as they come.

    ``paths`` are files, directories, patterns and URLs; ``include`` says which names of a directory's files
    are meant, by default those of images. ``executor`` is any of `concurrent.futures`, or of Dask
    (``client.get_executor()``); by default threads, which come and go with the call. An image comes after its
    parents. One that fails is a row with an ``error``, never the end. ``done`` are rows of an earlier run: a
    file of which one tells, and which is as it was, is left out. `vhdx.fleet.columns` says what rows hold.

    Raises ValueError for a verb that there is not, OSError for a directory that cannot be listed; and, where
    workers of an executor that is not made here die, what that raises.
    """
    columns_of(verb)
    if verb == "convert" and options.target_dir is None:
        raise ValueError("where the new files go must be said: target_dir")
    pool = executors.threads() if executor is None else executors.of_caller(executor)
    return run_on(pool, files(paths, include), verb, options=options, done=done)


def run_on(
    pool: Pool,
    found: Iterable[str],
    verb: str,
    *,
    options: FleetOptions = USUAL,
    done: Iterable[Row] = (),
    planned: Callable[[int], None] | None = None,
    begun: Callable[[Task], None] | None = None,
) -> Generator[Row]:
    """The same of files on a pool, which it closes.

    ``planned`` is called with the number of images before the first one is touched, ``begun`` with each.
    """
    stopping.begin()
    with closing(pool), closing(Plan()) as plan:
        try:
            plan.remember(done)
            _fill(plan, pool, found, options)
            levels = plan.link()
            if planned is not None:
                planned(plan.waiting())
            for level in range(levels):
                yield from _rows(plan, pool, _tasks(plan, level, verb, options, begun))
        finally:
            stopping.stop()


def _tasks(
    plan: Plan, level: int, verb: str, options: FleetOptions, begun: Callable[[Task], None] | None
) -> Iterator[Task]:
    for image in plan.at(level):
        task = Task(verb, image, options)
        if begun is not None:
            begun(task)
        yield task


def _rows(plan: Plan, pool: Pool, tasks: Iterator[Task]) -> Iterator[Row]:
    window = Window[Task, "Row"](pool, examined, _key_of)
    for task, told, attempts in window.results(tasks):
        row = _lost(task, told) if isinstance(told, BaseException) else told
        row["attempts"] = attempts
        plan.finished(task.image.number, row["result"])
        yield row


def _key_of(task: Task) -> str:
    return task.key


def _lost(task: Task, error: BaseException) -> Row:
    died = isinstance(error, WorkerDiedError)
    return empty_row(task) | (failed(WORKER_DIED, str(error)) if died else failure(error))


def _fill(plan: Plan, pool: Pool, found: Iterable[str], options: FleetOptions) -> None:
    """Let workers look at every file, and put down what they find."""
    ask: Callable[[tuple[str, ...]], list[Identity]] = partial(_identities, options=options)
    window = Window[tuple[str, ...], "list[Identity]"](pool, ask, _key_of_files)
    for paths, told, _ in window.results(_in_parts(iter(found))):
        for identity in map(nameless, paths) if isinstance(told, BaseException) else told:
            plan.add(identity)


def _identities(paths: tuple[str, ...], options: FleetOptions) -> list[Identity]:
    if options.isolate:
        from vhdx.fleet.isolate import identify_isolated  # noqa: PLC0415  whoever trusts the images needs it not

        return identify_isolated(paths, options)
    return identify(paths, options.parents)


def _key_of_files(paths: tuple[str, ...]) -> str:
    return f"vhdx-identify-{hash(paths)}"


def _in_parts(found: Iterator[str]) -> Iterator[tuple[str, ...]]:
    while part := tuple(islice(found, _IDENTIFIED_AT_ONCE)):
        yield part
