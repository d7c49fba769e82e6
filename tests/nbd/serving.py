"""A server in this process, and the command in one of its own."""

import contextlib
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.cli.running import COMMAND
from tests.nbd.client import Address
from vhdx.disk.base import VirtualDisk
from vhdx.nbd import listen
from vhdx.nbd.connection import Limits, ServerState
from vhdx.nbd.export import Export
from vhdx.nbd.server import Server


class Running(NamedTuple):
    """A server that serves: its socket, itself, what it logged."""

    address: Address
    server: Server
    log: list[str]
    thread: threading.Thread

    def stop(self) -> None:
        self.server.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()

    def logged(self, words: str) -> bool:
        """Whether a line with these words comes within some seconds."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if any(words in line for line in self.log):
                return True
            time.sleep(0.01)
        return False


@contextlib.contextmanager
def served(
    folder: Path, *disks: VirtualDisk, limits: Limits | None = None, tls: Any = None, **options: Any
) -> Iterator[Running]:
    """Serve disks as ``disk0``, ``disk1`` … until the end of the ``with``; on TCP where that is all."""
    log: list[str] = []
    exports = {f"disk{number}": Export(f"disk{number}", disk) for number, disk in enumerate(disks)}
    state = ServerState(exports, "disk0", tls, limits or Limits(), log.append)
    address: Address = str(folder / "s")
    with contextlib.ExitStack() as stack:
        if isinstance(address, str) and hasattr(socket, "AF_UNIX"):
            listener = stack.enter_context(listen.unix_socket(address))
        else:
            listener = stack.enter_context(listen.tcp_socket("127.0.0.1", 0))
            address = listener.getsockname()[:2]
        server = Server(state, [listener], **options)
        thread = threading.Thread(target=server.serve)
        thread.start()
        running = Running(address, server, log, thread)
        try:
            yield running
        finally:
            if thread.is_alive():
                running.stop()


class Process(NamedTuple):
    """The command as it serves: the URIs that it printed and the process."""

    uris: tuple[str, ...]
    process: "subprocess.Popen[str]"

    @property
    def uri(self) -> str:
        return self.uris[0]

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; exit code and what was said on standard error."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=30)
        assert "Traceback" not in errors, errors
        return self.process.returncode, errors


@contextlib.contextmanager
def serving(*arguments: str | Path, count: int = 1) -> Iterator[Process]:
    """``vhdx serve`` with these arguments; ``count`` is the number of its exports."""
    process = subprocess.Popen(
        [*COMMAND, "serve", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        uris = tuple(process.stdout.readline().strip() for _ in range(count))
        if not all(uris):
            raise AssertionError(process.communicate(timeout=10))
        yield Process(uris, process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
