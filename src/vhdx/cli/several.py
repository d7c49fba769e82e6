"""Several images, and directories of them, for verbs that only look: a line for each, in one process."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from vhdx.cli.exit_codes import EXIT_FAILURE
from vhdx.cli.render import complain, echo, print_json_line
from vhdx.cli.sentences import told
from vhdx.disk.formats import SUFFIXES
from vhdx.errors import VhdxError
from vhdx.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Columns = Sequence[tuple[str, int]]
    """The heading of each column, and its width; negative ones are flush left. The image comes last.

    Without any heading there is no line of them.
    """

_SUFFIXES = tuple(suffix for suffix, name in SUFFIXES.items() if name != "raw")
"""Of what is taken for an image in a directory."""
_WORST_LAST = (0, 3, EXIT_FAILURE, 2)
"""Exit codes of all verbs here: fine, warnings, cannot be told, errors."""


def show_each(
    images: Sequence[str],
    columns: Columns,
    look: Callable[[str], tuple[Any, Sequence[str], int]],
    *,
    as_json: bool,
) -> int:
    """Print a line for each image, of what ``look`` says of it: the result, its columns, an exit code.

    With ``as_json`` the results are lines of JSON. What fails has a line, too. Returns the worst exit code.
    """
    headings = [heading for heading, _ in columns]
    if any(headings) and not as_json:
        _print_line(columns, headings, "image")
    worst = 0
    for path, failure in _every(images):
        try:
            if failure is not None:
                raise failure
            result, cells, code = look(path)
        except (VhdxError, OSError, ValueError) as error:
            sentence, code = told(error, "", EXIT_FAILURE)[0], EXIT_FAILURE
            result, cells = _failure(error, sentence, path), ["-"] * len(columns)
            complain(sentence if path in sentence else f"{path}: {sentence}")
        if as_json:
            print_json_line(result)
        else:
            _print_line(columns, cells, path)
        worst = max(worst, code, key=_WORST_LAST.index)
    return worst


def _failure(error: BaseException, sentence: str, path: str) -> Any:
    from vhdx.cli.json_errors import failure_of  # noqa: PLC0415  most images can be looked at

    failure = failure_of(error, sentence, EXIT_FAILURE)
    return failure._replace(where=failure.where._replace(path=failure.where.path or path))


def _print_line(columns: Columns, cells: Sequence[str], image: str) -> None:
    padded = [
        cell.ljust(-width) if width < 0 else cell.rjust(width)
        for cell, (_, width) in zip(cells, columns, strict=True)
    ]
    echo(f"{'  '.join(padded)}  {printable(image)}")


def _every(images: Sequence[str]) -> Iterator[tuple[str, OSError | None]]:
    """The images that are named, and those in directories that are named and below; or why there is none."""
    for image in images:
        if os.path.isdir(image):
            yield from _in(image)
        else:
            yield image, None


def _in(directory: str) -> Iterator[tuple[str, OSError | None]]:
    found, failures = False, list[OSError]()
    for folder, folders, files in os.walk(directory, onerror=failures.append):
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(_SUFFIXES):
                found = True
                yield os.path.join(folder, name), None
    for failure in failures:
        yield os.fsdecode(failure.filename or directory), failure
    if not found and not failures:
        reason = f"no image is in it ({' '.join(_SUFFIXES)})"
        yield directory, FileNotFoundError(errno.ENOENT, reason, directory)
