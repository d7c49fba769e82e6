"""Why there is no answer of an image, as columns: one word that is stable, one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.errors import ImageLockedError, VhdxError, error_code
from vhdx.fleet.columns import text_of

if TYPE_CHECKING:
    from vhdx.fleet.columns import Row

_LONGEST = 500
"""Characters of a sentence."""
WORKER_DIED = "worker-died"
OUT_OF_MEMORY = "memory"
TOO_LONG = "time"
UNEXPECTED = "unexpected"
"""Words for what only a fleet meets, beside those of `vhdx.errors.error_code`."""


def failed(code: str, sentence: str) -> Row:
    """A failure as columns."""
    return {"result": "failed", "error_code": code, "error": text_of(sentence.strip()[:_LONGEST])}


def failure(error: BaseException) -> Row:
    """The failure that an exception stands for."""
    return failed(_code(error), _sentence(error))


def _code(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return OUT_OF_MEMORY
    return error_code(error) if isinstance(error, VhdxError | OSError | ValueError) else UNEXPECTED


def _sentence(error: BaseException) -> str:
    if isinstance(error, ImageLockedError):
        return f"in use: {error.message}"
    if isinstance(error, MemoryError):
        return "it needs more memory than it may have"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, VhdxError):
        return str(error).removeprefix(f"{error.image}: ").partition("\n")[0].removesuffix(" Tried:")
    if isinstance(error, OSError | ValueError):
        return str(error)
    return f"{type(error).__name__}: {error}"
