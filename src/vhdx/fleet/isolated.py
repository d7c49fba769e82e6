"""The process that examines one image for `vhdx.fleet.isolate`: a question on standard input, JSON as answer.

python -m vhdx.fleet.isolated BYTES
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from typing import Any

from vhdx.fleet.failures import failure
from vhdx.fleet.identity import identify
from vhdx.fleet.isolate import NO_MEMORY
from vhdx.fleet.verbs import answer


def main() -> None:
    """Answer one question within the limits of the command line."""
    _limit(int(sys.argv[1]))
    try:
        question, asked = pickle.load(sys.stdin.buffer)  # noqa: S301  whoever started us wrote it
        answered = json.dumps(_ANSWERS[question](asked))
    except (MemoryError, ImportError):  # a library that finds no room for itself cannot be imported
        os._exit(NO_MEMORY)  # nothing else is sure to go well
    sys.stdout.write(answered)
    sys.stdout.flush()
    os._exit(0)


def _limit(memory: int) -> None:
    try:
        import resource  # noqa: PLC0415  Windows has none: there only time is limited
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answered(task: Any) -> Any:
    try:
        return answer(task)
    except (MemoryError, ImportError):
        raise
    except Exception as error:  # noqa: BLE001  whatever one image does is a row
        return failure(error)


def _identified(asked: Any) -> Any:
    return identify(*asked)


_ANSWERS = {"answer": _answered, "identify": _identified}

if __name__ == "__main__":
    main()
