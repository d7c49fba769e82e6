"""No second entrance for a thread that is inside: its signal handlers, finalisers and callbacks get an error.

A lock that a thread may take twice would let them in half-way; one that it may not would never be free.
"""

from __future__ import annotations

from _thread import get_ident  # as `threading` has it, which takes longer to import
from functools import wraps

from vhdx.typed import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import RLock
    from typing import Concatenate, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")
    S = TypeVar("S", bound="Entered")


class Entrance:
    """The threads that are inside calls of one object which must not meet themselves."""

    def __init__(self, name: str, lock: RLock | None = None) -> None:
        self.name = name
        self.inside: set[int] = set()
        self.is_locked = nobody_holds if lock is None else holder_of(lock)
        """Whether this very thread holds the lock that shorter calls take."""

    def refusal(self, call: str) -> RuntimeError:
        """The error of a call by a thread that is inside."""
        return RuntimeError(
            f"{call} of {self.name} was called by a signal handler, a finaliser or a callback, while its "
            "thread is inside another call of the same object; let it take a note, and call later"
        )


class Entered(Protocol):
    """What has an entrance."""

    _entrance: Entrance


def holder_of(lock: RLock) -> Callable[[], bool]:
    """How to ask whether the thread that asks holds a lock."""
    asked: Callable[[], bool] = lock._is_owned  # type: ignore[attr-defined]  # noqa: SLF001  as Condition asks
    return asked


def nobody_holds() -> bool:
    """There is no lock."""
    return False


def one_entrance(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Let a method raise RuntimeError in a thread that is inside a method of the same object.

    The mark is set inside and goes before any other call: wherever an interrupt comes, none stays behind.
    """

    @wraps(method)
    def entered(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        entrance, me = self._entrance, get_ident()
        inside = entrance.inside
        if me in inside or entrance.is_locked():
            raise entrance.refusal(method.__name__)
        try:
            inside.add(me)
            return method(self, *args, **kwargs)
        finally:
            inside.discard(me)

    return entered
