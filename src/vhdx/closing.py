"""The end of a ``with`` block over what may have failed for good."""

from __future__ import annotations

import contextlib

from vhdx.errors import ImageFailedError
from vhdx.typed import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class Closable(Protocol):
    """What can be closed."""

    def close(self) -> None:
        """Let go. Raises ImageFailedError if an earlier failure left something undone."""


class ClosedAtEnd:
    """The ``with`` block of a closable object."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self: Closable,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The exception that leaves the block is the failure itself, or tells more than that there was one.
        with contextlib.suppress(*() if kind is None else (ImageFailedError,)):
            self.close()
