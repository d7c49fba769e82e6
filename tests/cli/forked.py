"""Runs of the command in processes of their own that are spared the start of an interpreter.

A server that has imported everything forks for each run; the run gets standard streams, directory and
environment as a fresh process would, and ends as one. What the interpreter itself reads when it starts must
be as it was for the server, and starts themselves are tested with fresh ones.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

LONGEST_REQUEST = 1 << 17
AT_START = ("PYTHON", "LC_", "LANG")
"""How the names of variables begin that an interpreter reads when it starts."""
POSSIBLE = hasattr(os, "fork") and hasattr(socket, "send_fds") and sys.platform == "linux"


class Server:
    """The server, as whoever wants runs sees it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._start = _read_at_start(os.environ)
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # threads are not forked
            )
        atexit.register(self._close)

    def _close(self) -> None:
        self._socket.close()
        self._process.wait()

    def run(
        self, arguments: Sequence[str], cwd: str | os.PathLike[str], env: Mapping[str, str], given: str | None
    ) -> tuple[int, bytes, bytes] | None:
        """Exit status and output of a run; None if it has to be one with a fresh interpreter."""
        request = os.fsencode(json.dumps({"arguments": arguments, "cwd": os.fspath(cwd), "env": dict(env)}))
        if len(request) > LONGEST_REQUEST or _read_at_start(env) != self._start:
            return None
        if not self._lock.acquire(blocking=False):
            return None
        try:
            return self._run(request, None if given is None else given.encode())
        finally:
            self._lock.release()

    def _run(self, request: bytes, given: bytes | None) -> tuple[int, bytes, bytes]:
        pipes = [os.pipe() for _ in range(2 if given is None else 3)]
        (out, their_out), (err, their_err), *rest = pipes
        theirs = [rest[0][0] if rest else 0, their_out, their_err]
        socket.send_fds(self._socket, [request], theirs)
        for descriptor in theirs[0 if rest else 1 :]:
            os.close(descriptor)
        ended: dict[int, bytes] = {}
        readers = [threading.Thread(target=_read_into, args=(ended, descriptor)) for descriptor in (out, err)]
        for reader in readers:
            reader.start()
        if given is not None:
            _write(rest[0][1], given)
        for reader in readers:
            reader.join()
        status = self._socket.recv(16)
        assert status, "the server has ended"
        return int(status), ended[out], ended[err]


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(AT_START)}


def _read_into(found: dict[int, bytes], descriptor: int) -> None:
    with open(descriptor, "rb") as file:
        found[descriptor] = file.read()


def _write(descriptor: int, data: bytes) -> None:
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
    except BrokenPipeError:  # who does not want its input need not read it
        return


@cache
def server() -> Server:
    """The one of this process; it ends with it."""
    return Server()


def serve(number: int) -> None:
    """Fork for each request; returns in the processes of the runs, and when nobody is there any more."""
    asked = socket.socket(fileno=number)
    for module in _imported_by_runs():
        importlib.import_module(module)
    gc.freeze()
    while True:
        request, descriptors, _, _ = socket.recv_fds(asked, LONGEST_REQUEST, 3)
        if not request:
            os._exit(0)
        child = os.fork()
        if not child:
            asked.close()
            _become(json.loads(os.fsdecode(request)), descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        _, status = os.waitpid(child, 0)
        asked.send(str(os.waitstatus_to_exitcode(status)).encode())


def _imported_by_runs() -> list[str]:
    import vhdx  # noqa: PLC0415  the client need not

    found = [module.name for module in pkgutil.walk_packages(vhdx.__path__, "vhdx.")]
    ours = [name for name in found if "__main__" not in name and ".windows" not in name]
    return [*ours, "numpy", "rich.console", "rich.table", "rich.progress"]


def _become(request: dict[str, object], descriptors: Sequence[int]) -> None:
    """Take over streams, directory, environment and arguments."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    arguments, cwd, env = request["arguments"], request["cwd"], request["env"]
    assert isinstance(arguments, list)
    assert isinstance(cwd, str)
    assert isinstance(env, dict)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [sys.argv[0], *arguments]
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        old = getattr(sys, name)
        buffering = 1 if name == "stderr" else -1
        new = open(number, mode, buffering, old.encoding, old.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


def _end(code: object) -> None:
    """End as Python does, but do not take apart what was imported: that takes longer than most runs."""
    if not isinstance(code, int):
        return
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.current_thread():
            thread.join()
    atexit._run_exitfuncs()
    if sys.stdout is not None and not sys.stdout.closed:
        try:
            sys.stdout.flush()
        except OSError:
            return  # Python says what it says of it
    os._exit(code)


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))
    serve(int(sys.argv[1]))
    try:
        runpy.run_module("vhdx", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        _end(ended.code)
        raise
