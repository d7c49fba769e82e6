"""Runs of the command one after the other in one process, for hosts without forks: Windows.

An interpreter takes seconds to start under Wine. Streams, directory, environment, arguments and what handles
signals are as in a fresh process; what was imported stays, and starts themselves are tested with fresh ones.
"""

import atexit
import base64
import contextlib
import gc
import json
import math
import os
import runpy
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

POSSIBLE = sys.platform == "win32"
AT_START = "PYTHON"
"""How the names of variables begin that an interpreter reads when it starts."""
STREAMS = (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w"))


class Server:
    """The process, as whoever wants runs sees it."""

    def __init__(self) -> None:
        self._start = _read_at_start(os.environ)
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        atexit.register(self._close)

    def _close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()  # which ends it
        self._process.wait()

    def run(
        self, arguments: Sequence[str], cwd: str | os.PathLike[str], env: Mapping[str, str], given: str | None
    ) -> tuple[int, bytes, bytes] | None:
        """Exit status and output of a run; None if it has to be one with a fresh interpreter."""
        if _read_at_start(env) != self._start or not self._lock.acquire(blocking=False):
            return None
        try:
            return self._run([list(arguments), os.fspath(cwd), dict(env), given])
        finally:
            self._lock.release()

    def _run(self, request: list[object]) -> tuple[int, bytes, bytes]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the process that runs the command has ended: {self._process.wait()}"
        code, *streams = json.loads(answer)
        out, err = map(base64.b64decode, streams)
        return code, out, err


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(AT_START)}


@cache
def server() -> Server:
    """The one of this process; it ends with it."""
    return Server()


def serve() -> None:
    """Run what is asked for until nobody is there any more. However slow that is, no time is told."""
    import vhdx.cli.costs  # noqa: PLC0415  the client need not

    vhdx.cli.costs._WORTH_TELLING = math.inf
    requests, answers = (os.fdopen(os.dup(number), mode) for number, mode in ((0, "rb"), (1, "wb")))
    _take(_nothing(), _nothing(), _nothing())
    while request := requests.readline():
        arguments, cwd, env, given = json.loads(request)
        collected: list[bytes] = [b"", b""]
        with _streams(given, collected):
            _become(arguments, cwd, env)
            code = _ran()
        os.chdir(Path(sys.executable).parent)  # nobody removes a directory that somebody is in
        gc.unfreeze()  # the command freezes what there is when it ends
        gc.collect()
        texts = [base64.b64encode(data).decode() for data in collected]
        answers.write(json.dumps([code, *texts]).encode() + b"\n")
        answers.flush()


def _nothing() -> int:
    return os.open(os.devnull, os.O_RDWR)


def _take(*descriptors: int) -> None:
    """Make these the standard streams, in place of those that were."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)


@contextlib.contextmanager
def _streams(given: str | None, collected: list[bytes]) -> Iterator[None]:
    """Pipes for standard output and error, and standard input if something is given."""
    (out, their_out), (err, their_err) = os.pipe(), os.pipe()
    threads = [
        threading.Thread(target=_read_into, args=(collected, place, descriptor))
        for place, descriptor in enumerate((out, err))
    ]
    their_in = _nothing()
    if given is not None:
        os.close(their_in)
        their_in, ours = os.pipe()
        threads.append(threading.Thread(target=_write, args=(ours, given.encode())))
    _take(their_in, their_out, their_err)
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        _take(_nothing(), _nothing(), _nothing())
        for thread in threads:
            thread.join()


def _read_into(collected: list[bytes], place: int, descriptor: int) -> None:
    with open(descriptor, "rb") as file:
        collected[place] = file.read()


def _write(descriptor: int, data: bytes) -> None:
    with contextlib.suppress(OSError), open(descriptor, "wb", 0) as file:
        file.write(data)  # who does not want its input need not read it


def _become(arguments: list[str], cwd: str, env: dict[str, str]) -> None:
    """Take over directory, environment, arguments, and how a fresh process handles its signals."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [sys.argv[0], *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGBREAK", "SIGTERM"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    for name, number, mode in STREAMS:
        _to_bytes(number)
        old = getattr(sys, f"__{name}__")
        buffering = 1 if name == "stderr" else -1
        new = open(number, mode, buffering, old.encoding, STARTED_WITH[name], closefd=False)  # noqa: SIM115
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


def _to_bytes(number: int) -> None:
    """Let the C library change no byte of a stream, as Python does when it starts."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415

        msvcrt.setmode(number, os.O_BINARY)


def _ran() -> int:
    """Run the command as ``python -m vhdx`` does; its exit status."""
    code: object = 0
    try:
        runpy.run_module("vhdx", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001  Python prints whatever it is
        traceback.print_exc()
        code = 1
    for thread in threading.enumerate():
        if thread.name.startswith("ThreadPoolExecutor"):
            thread.join()
    if sys.stdout is not None and not sys.stdout.closed:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
    return code if isinstance(code, int) else int(code is not None)


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))
    STARTED_WITH = {name: getattr(sys, name).errors for name, _, _ in STREAMS}
    serve()
