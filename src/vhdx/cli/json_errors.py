"""What went wrong, as JSON: for programs that read the results of verbs as JSON, too."""

from __future__ import annotations

from typing import NamedTuple

from vhdx.cli.interrupted import InterruptedChangeError
from vhdx.cli.render import print_json
from vhdx.errors import VhdxError, error_code

USAGE = "usage"
_INTERRUPTS = (InterruptedChangeError, KeyboardInterrupt)


class Where(NamedTuple):
    """The place that an error speaks of, as far as it has one."""

    path: str | None = None
    structure: str | None = None
    file_offset: int | None = None
    rule: str | None = None


class Failure(NamedTuple):
    """Why a verb failed."""

    error: str
    code: str
    exit_code: int
    where: Where
    hint: str | None


def wanted(arguments: list[str]) -> bool:
    """Whether a command line asks for JSON; what comes behind ``--`` are no options."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def print_usage(sentence: str, exit_code: int) -> None:
    """Print why a command line was not understood."""
    print_json(Failure(sentence, USAGE, exit_code, Where(), None))


def print_error(error: BaseException, sentence: str, exit_code: int) -> None:
    """Print an exception for which ``sentence`` is the word for people."""
    print_json(failure_of(error, sentence, exit_code))


def failure_of(error: BaseException, sentence: str, exit_code: int) -> Failure:
    """An exception as what is printed of it."""
    code = "interrupted" if isinstance(error, _INTERRUPTS) else error_code(error)
    hint = error.next_command if isinstance(error, VhdxError) else None
    return Failure(sentence, code, exit_code, _where(error), hint)


def _where(error: BaseException) -> Where:
    if isinstance(error, VhdxError):
        return Where(error.image, error.structure, error.file_offset, error.rule)
    name = error.filename if isinstance(error, OSError) else None
    return Where(name if isinstance(name, str) else None)
