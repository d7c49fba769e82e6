"""KeyboardInterrupt at every place of the code where the interpreter can deliver a signal (promise 21).

Such places are the beginnings of functions, the ends of calls of functions written in C, and the ends of
loops. `make slow` interrupts a place once for each way of calls on which a step comes to it, for each caller
of a caller; `make test` takes some of the places, for each caller, in every file of the library.
"""

import dis
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

import vhdx
from tests.support.sweep import Sweep

from .scenarios import SCENARIOS
from .tasks import HangsError, Task
from .trials import Trial

SOURCES = (str(Path(vhdx.__file__).parent), "contextlib.py")
Place = tuple[CodeType, int]
Way = tuple[Place, ...]
CO_GENERATOR = 0x20
STEPS = (
    "in place",
    "first write of a session, new block",
    "reuse",
    "trim and write again",
    "zero",
    "full ring",
    "replay",
    "close with a cut",
)


def _way_to(frame: FrameType | None, length: int) -> Way:
    """The place at which a frame stands, then where it was called from, so many places at most."""
    way: list[Place] = []
    while frame is not None and len(way) < length:
        way.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return tuple(way)


def handlers_of(code: CodeType, offset: int) -> list[tuple[int, int]]:
    """Where an exception at an instruction goes."""
    table = dis._parse_exception_table(code)  # type: ignore[attr-defined]
    return [(entry.start, entry.end) for entry in table if entry.start <= offset < entry.end]


@cache
def places_of(code: CodeType) -> frozenset[int]:
    """The offsets of the instructions before which a signal may be noticed.

    It counts as part of the call that has ended. Where that is the last one of a `with` block, a test that
    raises at the next instruction would raise outside, and the lock would stay: such places are left out.
    """
    instructions = list(dis.get_instructions(code))
    found = set()
    for instruction, following in pairwise(instructions):
        if instruction.opname in ("CALL", "CALL_FUNCTION_EX", "CALL_KW", "RESUME"):
            if handlers_of(code, instruction.offset) == handlers_of(code, following.offset):
                found.add(following.offset)
        elif instruction.opname.startswith("JUMP_BACKWARD"):
            found.add(instruction.argval)
    return frozenset(found)


class Watcher:
    """Sees the places that a thread passes."""

    def __init__(self) -> None:
        self._returning: set[int] = set()

    def _passing(self, frame: FrameType) -> None:
        raise NotImplementedError

    def _entered(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        code = frame.f_code
        if frame.f_back is not None and not code.co_flags & CO_GENERATOR and code.co_name != "__init__":
            self._returning.add(id(frame.f_back))  # calls of Python functions notice nothing when they end
        if code.co_name == "__del__" or not any(source in code.co_filename for source in SOURCES):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._at_instruction

    def _at_instruction(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        if event == "opcode":
            returning = id(frame) in self._returning
            self._returning.discard(id(frame))
            if not returning and frame.f_lasti in places_of(frame.f_code):
                self._passing(frame)
        return self._at_instruction

    @contextmanager
    def watching(self) -> Iterator[None]:
        sys.settrace(self._entered)
        try:
            yield
        finally:
            sys.settrace(None)


class Counter(Watcher):
    """Keeps the last way by which each place was come to, and how many places were passed before it."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.passed: dict[Way, int] = {}
        self._calls = calls
        self._count = 0

    def _passing(self, frame: FrameType) -> None:
        self.passed[_way_to(frame, self._calls)] = self._count
        self._count += 1


class Interrupter(Watcher):
    """Interrupts a thread after so many places."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._left = after

    def _passing(self, frame: FrameType) -> None:
        if self._left == 0:
            sys.settrace(None)
            raise KeyboardInterrupt
        self._left -= 1


def _file_of(passed: tuple[Way, int]) -> str:
    return passed[0][0][0].co_filename


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="looks at the instructions of CPython")
@pytest.mark.skipif(sys.gettrace() is not None, reason="something else traces: coverage or a debugger")
@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(
    ("calls", "sweep"),
    [pytest.param(2, Sweep(8), id="some"), pytest.param(4, Sweep(1), id="all", marks=pytest.mark.slow)],
)
def test_promise_21_interrupted_anywhere(name: str, calls: int, sweep: Sweep, in_memory: Path) -> None:
    trial = Trial(SCENARIOS[name], in_memory)
    counting = Counter(calls)
    Task(partial(trial.run, counting.watching())).result()
    wrong = []
    for ((code, offset), *_), at in sweep.of(counting.passed.items(), _file_of, start=STEPS.index(name)):
        trial.count += 1
        try:
            Task(partial(trial.run, Interrupter(at).watching())).result()
        except Exception as error:  # noqa: BLE001  all are shown together
            line = next(line for start, end, line in code.co_lines() if start <= offset < end)
            raised = traceback.extract_tb(error.__traceback__)[-1]
            wrong.append(
                f"{Path(code.co_filename).name}:{line} in {code.co_qualname}: {error!r:.200} "
                f"in {raised.name}, {Path(raised.filename).name}:{raised.lineno}"
            )
            if isinstance(error, HangsError):
                break
    assert not wrong, f"{len(wrong)} of {len(counting.passed)} places:\n" + "\n".join(wrong)
