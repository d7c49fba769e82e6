"""The command in processes of its own, which can be killed.

Most are forks of this one, which has imported everything: that starts them ten times faster, and so more is
tried. Some begin from nothing, as a shell starts them.
"""

import faulthandler
import itertools
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

from tests.cli.running import COMMAND, Ran
from vhdx.cli.main import run

GRACE = 90
SWITCH_SECONDS = 1e-5
"""How soon threads of forks take turns: five hundred times sooner than usual, so that they meet."""
_PAUSE = 0.0005


class Manner(NamedTuple):
    """How a command runs: ``fresh`` from nothing, or as a fork.

    Each flush of a fork takes so long, and the one of this number, if there are so many, is its end.
    """

    fresh: bool
    flush_seconds: float = 0
    last_flush: int = 0


class Process:
    """``vhdx`` with some words, under way."""

    def __init__(self, words: list[str], folder: Path, manner: Manner, source: bytes = b"") -> None:
        self._streams = [tempfile.TemporaryFile() for _ in range(3)]  # noqa: SIM115  `wait` closes them
        self._streams[0].write(source)
        self._streams[0].seek(0)
        self._code: int | None = None
        if threading.active_count() > 1:  # others would stand still in a fork
            manner = Manner(fresh=True)
        self._pid = os.fork()
        if not self._pid:
            _become(words, folder, self._streams, manner)

    def is_running(self) -> bool:
        if self._code is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code is None

    def signal(self, number: int) -> None:
        """Send a signal, if there is still somebody who gets it."""
        if self.is_running():
            os.kill(self._pid, number)

    def wait(self) -> Ran:
        """How it ended. Raises TimeoutError if it does not."""
        deadline = time.monotonic() + GRACE
        while self.is_running():
            if time.monotonic() > deadline:
                raise TimeoutError("the command does not end")
            time.sleep(_PAUSE)
        out, err = self.said(1), self.said(2)
        for stream in self._streams:
            stream.close()
        assert self._code is not None
        return Ran(self._code, out, err)

    def said(self, stream: int) -> str:
        """What stands on standard output (1) or standard error (2) by now."""
        descriptor = self._streams[stream].fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode()


def _become(words: list[str], folder: Path, streams: Sequence[IO[bytes]], manner: Manner) -> NoReturn:
    """In the new process: be the command, whatever happens."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # where jobs in the background ignore it
        for number, stream in enumerate(streams):
            os.dup2(stream.fileno(), number)
        os.chdir(folder)
        if manner.fresh:
            os.execv(sys.executable, [COMMAND[0], "-X", "faulthandler", *COMMAND[1:], *words])
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        faulthandler.enable()
        sys.setswitchinterval(SWITCH_SECONDS)
        _change_flushes(manner)
        sys.argv = ["vhdx", *words]
        run()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:  # before the command was ready for it
        code = 130
    except BaseException:  # noqa: BLE001  told on standard error, which is looked at
        traceback.print_exc()
    finally:
        for text in (sys.stdout, sys.stderr):
            text.flush()
        os._exit(code)


def _change_flushes(manner: Manner) -> None:
    """Let flushes take as long as on a disk, so that others write meanwhile; one may be the end."""
    flush, numbers = os.fdatasync, itertools.count(1)

    def changed(descriptor: Any) -> None:
        time.sleep(manner.flush_seconds / 2)
        flush(descriptor)
        if next(numbers) == manner.last_flush:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(manner.flush_seconds / 2)

    os.fdatasync = changed  # type: ignore[assignment]  # takes the same
