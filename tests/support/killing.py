"""Jobs in processes of their own that are killed at one of the calls by which they change something."""

import fcntl
import itertools
import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

Job = Callable[[], object]
_CALLS = (
    *((os, name) for name in ("pwrite", "pwritev", "write", "ftruncate", "fsync", "fdatasync", "link")),
    *((os, name) for name in ("replace", "unlink")),
    (fcntl, "ioctl"),
    *((socket.socket, name) for name in ("send", "sendall")),
)


def killed(job: Job, at: int) -> bool:
    """Run a job that is killed before its call numbered ``at``; False if it ended before."""
    code, _ = _forked(job, at)
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def sampled(job: Job, number: int | None, prepare: Job) -> Iterator[int]:
    """Kill a job at ``number`` points, evenly from its first to its last call, or at each; at which."""
    prepare()
    code, count = _forked(job, -1)
    assert code == 0
    assert count > 2
    for at in range(count) if number is None else (count * step // number for step in range(number)):
        prepare()
        assert killed(job, at)
        yield at


def _forked(job: Job, at: int) -> tuple[int, int]:
    """How the process ended, and how many calls it made if it did by itself."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        code, write = 1, os.write
        try:
            with pytest.MonkeyPatch.context() as patch:
                numbers = itertools.count()
                for place, name in _CALLS:
                    patch.setattr(place, name, _counting(getattr(place, name), numbers, at))
                job()
                write(writer, next(numbers).to_bytes(8, "little"))
                code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with open(reader, "rb") as said:
        count = int.from_bytes(said.read(), "little")
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status), count


def _counting(real: Callable[..., Any], numbers: Iterator[int], at: int) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        if next(numbers) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)

    return call
