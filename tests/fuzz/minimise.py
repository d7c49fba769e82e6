"""Choose the inputs worth committing: ``python -m tests.fuzz.minimise TARGET [FILE…]``.

Of what fuzzing grew in `.fuzz/TARGET` and of what was committed before, the shortest inputs are kept that
together walk every step from line to line of the library that all of them walk. Findings that were repaired
belong into the corpus, too: name their files, they are kept whatever they walk, now and later.
"""

import hashlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import vhdx

from .replay import CORPUS, corpus_of, run_of

LONGEST = 1500
_FOUND = "found-"
_LIBRARY = str(Path(vhdx.__file__).parent)
Step = tuple[str, int, int]


def steps_of(run: Callable[[bytes], None], data: bytes) -> set[Step]:
    """The steps from line to line that an input makes the library take."""
    steps: set[Step] = set()

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(_LIBRARY):
            return None
        before = frame.f_lineno

        def line(inner: FrameType, event: str, argument: Any) -> Any:
            nonlocal before
            steps.add((file, before, inner.f_lineno))
            before = inner.f_lineno
            return line

        return line

    sys.settrace(enter)
    try:
        run(data)
    finally:
        sys.settrace(None)
    return steps


def chosen(run: Callable[[bytes], None], inputs: Iterable[bytes]) -> list[bytes]:
    """The inputs, shortest first, that walk a step that none before them walked."""
    walked: set[Step] = set()
    kept = []
    for data in sorted(set(inputs), key=lambda data: (len(data), data)):
        steps = steps_of(run, data)
        if not steps <= walked:
            walked |= steps
            kept.append(data)
    return kept


def main() -> None:
    """The command."""
    name, *files = sys.argv[1:]
    run = run_of(name)
    grown = [path.read_bytes() for path in sorted(Path(".fuzz", name).glob("*"))]
    found = [Path(file).read_bytes() for file in files]
    kept = chosen(run, [data for data in (*corpus_of(name), *grown) if len(data) <= LONGEST])
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if not path.name.startswith(_FOUND):
            path.unlink()
    for prefix, inputs in (("", kept), (_FOUND, found)):
        for data in inputs:
            (folder / (prefix + hashlib.sha256(data).hexdigest()[:16])).write_bytes(data)
    sys.stdout.write(f"{name}: {len(kept)} of {len(grown)} inputs and {len(found)} findings\n")


if __name__ == "__main__":
    main()
