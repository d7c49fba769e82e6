"""The command's entry point: exit codes, and the one place where exceptions become sentences."""

from __future__ import annotations

import codecs
import errno
import gc
import importlib
import io
import os
import signal
import sys

from vhdx.cli import quick
from vhdx.cli.exit_codes import EXIT_FAILURE
from vhdx.cli.interrupted import InterruptedChangeError
from vhdx.cli.render import complain, echo
from vhdx.errors import VhdxError
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn

_INTERRUPTS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGBREAK") if hasattr(signal, name))
"""Ctrl-C, and on Windows Ctrl-Break."""
_FAILURE_OF = {"compare": 2}
"""Verbs that say something else with 1."""


def run() -> NoReturn:
    """Run the command line of this process and exit."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
            signal.signal(number, _exit_on_signal)  # so that what is half written is cleaned up
    for number in _INTERRUPTS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt_once)
    _buffer_output()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names need not be text, nor ASCII
            ascii_only = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding="utf-8" if ascii_only else None, errors="backslashreplace")
    if os.environ.get("_VHDX_COMPLETE", "").startswith("powershell"):
        importlib.import_module("vhdx.cli.powershell")
    code = exit_code_of(sys.argv[1:])
    for number in _INTERRUPTS:
        if signal.getsignal(number) is _interrupt_once:  # all is done: how Python ends needs no words
            signal.signal(number, signal.SIG_IGN)
    _forget_unprinted()
    gc.freeze()  # as Python ends it looks for cycles: what is there now is not worth a tenth of the start
    sys.exit(code)


def _buffer_output() -> None:
    """Have a buffer in front of standard output also where Python is told to have none (PYTHONUNBUFFERED).

    A pipe or a full disk may take a part of what is written, and without a buffer nobody sees to the rest.
    """
    bare = sys.stdout
    if isinstance(bare, io.TextIOWrapper) and isinstance(bare.buffer, io.RawIOBase):
        buffer = io.BufferedWriter(bare.buffer)
        sys.stdout = io.TextIOWrapper(buffer, bare.encoding, bare.errors, line_buffering=True)


def exit_code_of(arguments: list[str]) -> int:
    """Run one command line; its exit code."""
    verb = next(iter(arguments), "")
    failure = _FAILURE_OF.get(verb, EXIT_FAILURE)
    try:
        return _result_of(arguments, failure)
    except (VhdxError, OSError, ValueError, InterruptedChangeError, KeyboardInterrupt) as error:
        if isinstance(error, InterruptedChangeError):
            echo(err=True)  # below the ^C that the terminal shows, as click does
        from vhdx.cli.sentences import told  # noqa: PLC0415  most command lines do not fail

        sentence, code = told(error, verb, failure)
        if "--json" in arguments:
            _print_json(error, sentence, code, arguments)
        return _complain(sentence, code)


def _print_json(error: BaseException, sentence: str, code: int, arguments: list[str]) -> None:
    from vhdx.cli import json_errors  # noqa: PLC0415  most command lines do not fail so

    if json_errors.wanted(arguments):
        try:
            json_errors.print_error(error, sentence, code)
        except OSError as broken:
            if not _says_that_nobody_reads(broken):
                raise
            _stop_printing()


def _says_that_nobody_reads(error: OSError) -> bool:
    """Whether a pipe has lost its reader, of which Windows' C library only says that it is no valid call."""
    if os.name != "nt" or isinstance(error, BrokenPipeError):
        return isinstance(error, BrokenPipeError)
    said = (error.errno, error.filename, getattr(error, "winerror", None))
    return said == (errno.EINVAL, None, None)


def _forget_unprinted() -> None:
    """Of output without room it was told: Python would try once more, and exit with a code of its own."""
    try:
        if sys.stdout is not None:  # closed by whoever called us
            sys.stdout.flush()
    except OSError:
        _stop_printing()


def _stop_printing() -> None:
    """Nobody reads our output any more: Python would complain once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _result_of(arguments: list[str], failure: int) -> int:
    """What a verb returns, or ``failure`` if whoever read our output has seen enough."""
    try:
        result = _called(arguments)
        if sys.stdout is not None:  # closed by whoever called us
            sys.stdout.flush()
    except OSError as error:
        if not _says_that_nobody_reads(error):
            raise
        _stop_printing()
        return failure
    except SystemExit as error:  # of a signal, or of click for the same broken pipe
        if error.code != EXIT_FAILURE:
            raise
        return failure
    return result if isinstance(result, int) else 0


def _called(arguments: list[str]) -> Any:
    call = quick.call_of(arguments)
    if call is not None:
        try:
            return call()
        except KeyboardInterrupt:
            echo(err=True)  # below the ^C that the terminal shows, as click does
            raise
    from vhdx.cli import verbs  # noqa: PLC0415  click takes longer to import than most verbs take

    return verbs.called(arguments)


def _complain(sentence: str, code: int) -> int:
    complain(sentence)
    return code


def _interrupt_once(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  the signature of a handler
    for each in _INTERRUPTS:
        signal.signal(each, signal.SIG_IGN)  # impatience must not break off what cleans up
    raise KeyboardInterrupt


def _exit_on_signal(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  the signature of a handler
    sys.exit(128 + number)
