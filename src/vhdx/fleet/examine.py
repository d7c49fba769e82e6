"""One image becomes one row, whatever happens: what is carried out by workers, here or elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vhdx.fleet.failures import failure
from vhdx.fleet.isolate import isolated
from vhdx.fleet.task import empty_row
from vhdx.fleet.verbs import answer

if TYPE_CHECKING:
    from vhdx.fleet.columns import Row
    from vhdx.fleet.task import Task


def examined(task: Task) -> Row:
    """The row of an image. Raises nothing but what ends the process."""
    begin = time.perf_counter()
    row = empty_row(task)
    try:
        row |= isolated(task) if task.options.isolate else answer(task)
    except Exception as error:  # noqa: BLE001  whatever one image does must not end the examination of all
        row |= failure(error)
    row["seconds"] = round(time.perf_counter() - begin, 6)
    row["examined_ns"] = time.time_ns()
    return row
