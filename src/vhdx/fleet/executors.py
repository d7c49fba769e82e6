"""Who does the work: threads here, processes here, or workers of Dask, all as executors."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from vhdx.errors import missing_extra
from vhdx.fleet.engine import Pool

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future
    from contextlib import ExitStack

Told = TypeVar("Told")

LOCAL = "local"
"""Stands for a cluster that is made here for the time of the run."""
_THREADS = min(16, (os.cpu_count() or 1) + 4)
"""By default: more than processors, as threads also wait for disks and servers."""
_UNKNOWN_WORKERS = 8
"""Of an executor that does not say how many it has."""


def threads(count: int | None = None) -> Pool:
    """Threads of this process."""
    workers = count or _THREADS
    return Pool(workers, make=partial(ThreadPoolExecutor, workers, thread_name_prefix="vhdx-fleet"))


def processes(count: int) -> Pool:
    """Processes of this machine, which are not forked from one that may have threads."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    return Pool(count, make=partial(_Processes, count, mp_context=context, initializer=_begin))


class _Processes(ProcessPoolExecutor):
    """Processes that Ctrl-C interrupts at their work; those that wait for some would die with a traceback."""

    def submit(self, function: Callable[..., Told], /, *arguments: Any, **options: Any) -> Future[Told]:
        return super().submit(_interruptible, function, *arguments, **options)


def _begin() -> None:
    """What a process does before anything else. One whose parent is killed would wait for work for good."""
    _ignore_interrupts()
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interruptible(function: Callable[..., Told], *arguments: Any, **options: Any) -> Told:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return function(*arguments, **options)
    finally:
        _ignore_interrupts()


def of_caller(executor: Executor) -> Pool:
    """An executor that somebody else made, and will shut down."""
    workers = getattr(executor, "_max_workers", None)
    return Pool(workers if isinstance(workers, int) else _UNKNOWN_WORKERS, executor=executor)


def dask(address: str, held: ExitStack, workers: int | None = None) -> Pool:
    """The workers of a scheduler of Dask, or of one that is made here for as long as ``held`` is open.

    Raises OSError if it is not installed, or nobody answers.
    """
    try:
        import distributed  # noqa: PLC0415  an extra
        from distributed.scheduler import KilledWorker  # noqa: PLC0415
    except ImportError as error:
        raise missing_extra("fleet", "Dask is not installed") from error
    if address == LOCAL:
        import dask as settings  # noqa: PLC0415

        # Who dies is known here, and gets one more chance alone: the scheduler need not try.
        held.enter_context(settings.config.set({"distributed.scheduler.allowed-failures": 0}))
        where: Any = held.enter_context(
            distributed.LocalCluster(  # type: ignore[no-untyped-call]
                n_workers=workers or os.cpu_count() or 1, threads_per_worker=1, dashboard_address=None
            )
        )
    else:
        where = address
    client = held.enter_context(distributed.Client(where, set_as_default=False))  # type: ignore[no-untyped-call]
    count = sum(client.nthreads().values())
    executor = client.get_executor(pure=False, retries=0)
    return Pool(
        max(1, count),
        executor=executor,
        submit_options=lambda key: {"key": key},
        deaths=(KilledWorker,),
    )
