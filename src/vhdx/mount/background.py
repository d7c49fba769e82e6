"""Serving in the background: the process that was called waits until the other one is ready, and leaves.

The fork happens before anything is open, as no open disk survives one.
"""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_READY = b"\1"


class Parent(NamedTuple):
    """This is the process that was called; the other one is ready, or has ended with this code.

    ``said`` is what a ready one wants to be said, None of one that has ended.
    """

    code: int
    said: str | None = None


class Child(NamedTuple):
    """This is the process in the background; it calls ``ready`` when the other one may leave.

    That one then says what ``ready`` was given.
    """

    ready: Callable[[str], None]


def split() -> Parent | Child:
    """Fork. In the parent this returns when the child is ready or has ended.

    Raises OSError if the child was killed.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        os.setsid()
        return Child(lambda said: _let_go(writing, said))
    os.close(writing)
    try:
        heard = _all_of(reading)
    except BaseException:  # whoever interrupts the waiting does not want the mount
        os.kill(child, signal.SIGTERM)
        raise
    finally:
        os.close(reading)
    if heard.endswith(_READY):
        return Parent(0, heard.removesuffix(_READY).decode())
    return Parent(_code_of(child))


def _all_of(pipe: int) -> bytes:
    """What comes through a pipe until its other end is closed."""
    with open(pipe, "rb", closefd=False) as file:
        return file.read()


def _code_of(child: int) -> int:
    """The code of a child that has ended. Raises OSError if it was killed."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        raise OSError(errno.ECHILD, f"the process in the background was killed by signal {-code}")
    return code


def _let_go(pipe: int, said: str) -> None:
    """Leave the terminal and the directory that we were called from, then say that all is well, and more."""
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    os.close(nothing)
    with open(pipe, "wb") as file:
        file.write(said.encode() + _READY)


def tell_system_log(sentence: str) -> None:
    """Say something that no terminal is there to hear."""
    import syslog  # noqa: PLC0415  not on every host

    syslog.openlog("vhdx", syslog.LOG_PID)
    syslog.syslog(syslog.LOG_ERR, sentence)
