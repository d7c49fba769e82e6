"""An image examined in a process of its own, which may have so much memory and so much time, and may die."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from vhdx.fleet.failures import OUT_OF_MEMORY, TOO_LONG, WORKER_DIED, failed
from vhdx.fleet.identity import Identity, nameless

if TYPE_CHECKING:
    from vhdx.fleet.columns import Row
    from vhdx.fleet.options import FleetOptions
    from vhdx.fleet.task import Task

_MODULE = "vhdx.fleet.isolated"
_FEW_THREADS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Threads that numpy would start for what is not done here need addresses, of which there are few."""
ANSWERED = 0
NO_MEMORY = 70
"""How such a process ends when it ran out of memory where nothing could be told any more."""


def isolated(task: Task) -> Row:
    """What the verb says of an image, or why nobody can tell."""
    try:
        done = _run(("answer", task), task.options, task.options.seconds)
    except subprocess.TimeoutExpired:
        return failed(TOO_LONG, f"it was not done after {task.options.seconds:g} s")
    if done.returncode == NO_MEMORY:
        return failed(OUT_OF_MEMORY, "it needs more memory than it may have")
    if done.returncode != ANSWERED:
        return failed(WORKER_DIED, f"the process that examined it ended with {done.returncode}")
    row: Row = json.loads(done.stdout)
    return row


def identify_isolated(paths: tuple[str, ...], options: FleetOptions) -> list[Identity]:
    """What some files say of themselves; where that ends a process, one after the other."""
    try:
        done = _run(("identify", (paths, options.parents)), options, options.seconds)
    except subprocess.TimeoutExpired:
        done = None
    if done is not None and done.returncode == ANSWERED:
        return [_identity(each) for each in json.loads(done.stdout)]
    if len(paths) == 1:
        return [nameless(paths[0])]
    return [identity for path in paths for identity in identify_isolated((path,), options)]


def _run(request: Any, options: FleetOptions, seconds: float) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", _MODULE, str(options.memory)]
    return subprocess.run(  # noqa: S603  our own module
        command,
        input=pickle.dumps(request),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=seconds,
        check=False,
        env={**os.environ, **_FEW_THREADS},
    )


def _identity(told: list[Any]) -> Identity:
    *others, linkages = told
    return Identity._make((*others, tuple(linkages)))
