"""Ctrl-C in the middle of a change: one sentence that says what state the files are in."""

from __future__ import annotations

import contextlib
import os

from vhdx.errors import VhdxError
from vhdx.text import command
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Found = tuple[int, int] | None


class InterruptedChangeError(Exception):
    """Ctrl-C in the middle of a change; the message says what state the files are in."""


@contextlib.contextmanager
def changing(
    then: str | Callable[[], str] = "",
    *,
    image: str | None = None,
    fate: str = "the image is whole, what was under way is done in part or not at all",
    dry_run: bool = False,
) -> Iterator[None]:
    """Around a change of an image: says after Ctrl-C what its ``fate`` is, and ``then`` what to do.

    Of ``image`` it is told if its log has to be replayed.
    """
    try:
        yield
    except KeyboardInterrupt:
        if dry_run:
            raise
        advice = then if isinstance(then, str) else then()
        if image is not None and _is_dirty(image):
            repair = command("repair {}", image)
            advice += f"; its log is dirty: each opening replays it in memory, {repair} in place"
        raise InterruptedChangeError(f"interrupted; {fate}{advice}") from None


@contextlib.contextmanager
def making(target: str, others: str | None = None) -> Iterator[None]:
    """Around the making of a file, whole or not at all: says after Ctrl-C what became of it.

    ``others`` is a directory for what is made of it beside.
    """
    before = _file_under(target)
    try:
        yield
    except KeyboardInterrupt:
        fate = (
            "is complete" if _file_under(target) != before else "is as it was" if before else "was not made"
        )
        rest = "nothing else was changed" if others is None else f"what is in {others} may not be all"
        raise InterruptedChangeError(f"interrupted; {target} {fate}, {rest}") from None


@contextlib.contextmanager
def passing_on(target: str) -> Iterator[None]:
    """Around what is written where nothing can be taken back: says after Ctrl-C that it is not all."""
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedChangeError(f"interrupted; what went to {target} is not the whole disk") from None


@contextlib.contextmanager
def uploading(target: str) -> Iterator[None]:
    """Around the making of an object, whole or not at all, of which nobody sees anything otherwise."""
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedChangeError(
            f"interrupted; {target} is as it was, or whole if all had been sent; no other part of it is seen"
        ) from None


@contextlib.contextmanager
def resuming(target: str, state: str) -> Iterator[None]:
    """Around the making of a file that can be gone on with."""
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedChangeError(
            f"interrupted; {target} is not whole yet: the same command goes on from {state}"
        ) from None


def _is_dirty(image: str) -> bool:
    from vhdx.ops.log import open_log  # noqa: PLC0415  only whoever is interrupted waits for it

    try:
        with open_log(image, lock=False) as log:
            return log.state == "dirty"
    except (OSError, VhdxError):  # nobody can tell
        return False


def _file_under(name: str) -> Found:
    """Which file a name stands for: a new one takes the place of another under a number of its own."""
    try:
        status = os.stat(name)
    except OSError:
        return None
    return status.st_dev, status.st_ino
