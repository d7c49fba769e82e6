"""Exceptions as sentences for people, with the exit code that they stand for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vhdx.cli.exit_codes import EXIT_INTERRUPTED, EXIT_USAGE
from vhdx.cli.interrupted import InterruptedChangeError
from vhdx.errors import VhdxError

if TYPE_CHECKING:
    from collections.abc import Iterator

_REPLACING = frozenset({"convert", "cp", "create", "download", "fleet", "report", "upload"})
"""Verbs whose --force replaces a file, or a blob, that exists."""


def told(error: BaseException, verb: str, failure: int) -> tuple[str, int]:
    """The sentence for an error, and the exit code."""
    if isinstance(error, FileExistsError):
        hint = "; --force replaces it" if verb in _REPLACING else ""
        return f"{error.filename} exists already{hint}", failure
    if isinstance(error, VhdxError | OSError):
        return _sentence(error), failure
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; nothing was changed", EXIT_INTERRUPTED
    return str(error), EXIT_INTERRUPTED if isinstance(error, InterruptedChangeError) else EXIT_USAGE


def _sentence(error: VhdxError | OSError) -> str:
    if isinstance(error, OSError) and error.strerror:
        names = [os.fsdecode(name) for name in _file_names(error)]
        return ": ".join([*names, error.strerror])
    return str(error)


def _file_names(error: OSError) -> Iterator[str | bytes]:
    for name in (error.filename, error.filename2):
        if isinstance(name, str | bytes):
            yield name
