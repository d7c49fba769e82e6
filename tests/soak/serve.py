"""Several clients of a server at once, and every way in which a server ends."""

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import vhdx

from .history import History
from .others import is_dirty
from .processes import GRACE, Process
from .requests import Wishes
from .scene import Scene
from .writers import NbdWriter

_ENDS = {"kill": 4, "die": 6, "term": 2, "interrupt": 1, "done": 2, "once": 1}
_SIGNALS = {
    "kill": signal.SIGKILL,
    "die": signal.SIGKILL,
    "term": signal.SIGTERM,
    "interrupt": signal.SIGINT,
    "done": signal.SIGTERM,
}
_CUT_SHORT = frozenset({"kill", "die", "term", "interrupt"})
_LAST_FLUSH = 30
"""Servers that die do so after one of their first flushes, if there are so many."""
_PAUSE = 0.001


class StuckError(Exception):
    """A server that should answer does not."""


class Server(NamedTuple):
    """``vhdx serve`` in its own process."""

    process: Process
    address: str

    def end(self, number: signal.Signals | None) -> None:
        """Send a signal, or wait until it ends by itself. It says nothing that it should not."""
        if number is not None:
            self.process.signal(number)
        ran = self.process.wait()
        assert "Traceback" not in ran.err, ran.err
        wanted = -signal.SIGKILL if number == signal.SIGKILL else 0
        assert ran.code == wanted, f"exit code {ran.code}: {ran.err}"


@contextlib.contextmanager
def serving(scene: Scene, image: Path, *options: str, last_flush: int = 0) -> Iterator[Server]:
    """A server that has printed where it is; killed after a flush, or at the end if it still runs."""
    address = str(scene.folder / "socket")
    words = ["serve", str(image), "--socket", address, *options]
    scene.report.say("vhdx " + " ".join(words))
    process = scene.start(words, last_flush=last_flush)
    try:
        deadline = time.monotonic() + GRACE
        while process.is_running() and "\n" not in process.said(1):
            assert time.monotonic() < deadline, "the server says nothing"
            time.sleep(_PAUSE)
        assert process.is_running(), f"the server did not start: {process.wait()}"
        yield Server(process, address)
    except (StuckError, TimeoutError) as error:
        process.signal(signal.SIGABRT)  # lets it say where its threads stand
        raise AssertionError(f"{error}\n{process.wait().err}") from error
    finally:
        process.signal(signal.SIGKILL)


def load(scene: Scene) -> None:
    """Clients write to the leaf until they are done, or until the server is ended in their middle."""
    how = scene.chance.choices(list(_ENDS), list(_ENDS.values()))[0]
    history = History()
    options = ("--write", "--once") if how == "once" else ("--write",)
    flush = scene.chance.randint(1, _LAST_FLUSH) if how == "die" else 0
    with serving(scene, scene.leaf.path, *options, last_flush=flush) as server:
        writers = _connected(scene, server, history)
        scene.report.say(f"{len(writers)} clients; end: {how} {flush or ''}")
        for writer in writers:
            writer.start()
        if how in ("kill", "term", "interrupt"):
            time.sleep(0.02 + 1.2 * scene.chance.random() ** 2)
        elif how == "die":
            _finish(writers, may_fail=True)
        else:
            _finish(writers)
            _refuse_others(scene)
        if how == "once":
            _leave(writers)
        server.end(_SIGNALS.get(how))
        _finish(writers, may_fail=how in _CUT_SHORT)
        _leave(writers)
    crashed = how in ("kill", "die")
    _judge(scene, history, crashed=crashed)
    assert crashed or not is_dirty(scene.leaf), "a server that ended well left a dirty log"
    scene.report.count(f"servers ended: {how}")
    scene.report.count("requests answered", sum(writer.answered for writer in writers))


def _connected(scene: Scene, server: Server, history: History) -> list[NbdWriter]:
    count = scene.chance.randint(1, 4)
    return [
        NbdWriter(history, _wishes(scene, number, count), scene.chance.randint(5, 60), server.address)
        for number in range(count)
    ]


def _wishes(scene: Scene, number: int, count: int) -> Wishes:
    return Wishes(scene, scene.chance.getrandbits(32), (number, count))


def _finish(writers: list[NbdWriter], *, may_fail: bool = False) -> None:
    for writer in writers:
        writer.join(2 * GRACE)
        if writer.is_alive() or isinstance(writer.failure, TimeoutError):
            raise StuckError("a client got no answer")
        lost = may_fail and isinstance(writer.failure, EOFError | OSError)
        if writer.failure is not None and not lost:
            raise AssertionError("a client failed") from writer.failure


def _leave(writers: list[NbdWriter]) -> None:
    for writer in writers:
        writer.close()


def _refuse_others(scene: Scene) -> None:
    """While the server has the image nobody else changes it."""
    if scene.chance.random() < 0.2:
        done = scene.run(scene.chance.choice(("compact", "repair")), scene.leaf.path)
        assert done.code == 1, done
        assert scene.leaf.path.name in done.err, done.err
        scene.report.count("refused while served")


def _judge(scene: Scene, history: History, *, crashed: bool) -> None:
    """Reads were right, what is there may be there; then the reference says what it is."""
    history.assert_looks(scene.leaf.reference)
    with vhdx.open(scene.leaf.path) as disk:
        history.settle(scene.leaf.reference, disk.pread, crashed=crashed)
    scene.report.count("bytes written by clients", history.bytes_written)
    scene.report.count("changes judged", len(history.changes))
    scene.report.count("reads judged", len(history.looks))


def snapshot(scene: Scene) -> None:
    """Clients of a snapshot write; not one byte of the chain's files changes, however the server ends."""
    before = {layer.path: _digest(layer.path) for layer in scene.layers}
    history = History()
    with serving(scene, scene.leaf.path, "--snapshot") as server:
        writer = NbdWriter(history, _wishes(scene, 0, 1), 20, server.address)
        writer.run()
        _finish_alone(writer)
        server.end(scene.chance.choice((signal.SIGKILL, signal.SIGTERM)))
        writer.close()
    history.assert_looks(scene.leaf.reference)
    assert before == {path: _digest(path) for path in before}, "a snapshot changed a file"


def _finish_alone(writer: NbdWriter) -> None:
    if writer.failure is not None:
        raise AssertionError("a client failed") from writer.failure


def _digest(path: Path) -> tuple[int, int]:
    """What changes when somebody writes: the host's time and length."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size
