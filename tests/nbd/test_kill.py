"""The server killed under load: everything that was flushed is there after a replay, on any connection."""

import contextlib
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vhdx
from tests.interop.programs import QEMU, run
from tests.support.layout import MIB
from tests.support.tools import needs
from tests.write.checking import copied, naively, qemu_content

from .client import FLUSH, FUA, READ, WRITE, WRITE_ZEROES, Client
from .serving import serving

SIZE, UNIT, UNITS = 16 * MIB, 4096, 4096
SILENT: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


class _Writer(threading.Thread):
    """Writes units of its own with a rising number; knows which were durable."""

    def __init__(self, path: str, which: int, flusher: Client, lock: threading.Lock) -> None:
        super().__init__()
        self._client = Client.opened(path)
        self._flusher, self._lock = flusher, lock
        self._units = range(which, UNITS, 3)
        self._chosen = random.Random(which)
        self.durable: dict[int, int] = {}
        self.since: dict[int, list[int]] = {}
        self.flushes = 0

    def run(self) -> None:
        try:
            for number in range(1, 1 << 30):
                self._step(number)
        except (OSError, EOFError):
            self._client.close()

    def _step(self, number: int) -> None:
        unit = self._chosen.choice(self._units)
        verb = self._chosen.choice((WRITE, WRITE, WRITE, WRITE_ZEROES))
        self.since.setdefault(unit, []).append(number if verb == WRITE else 0)
        fua = FUA if self._chosen.random() < 0.05 else 0
        data = stamped(unit, number) if verb == WRITE else b""
        assert not self._client.ask(verb, unit * UNIT, UNIT, data, fua).error
        if fua:
            self._became_durable(unit)
        if number % 40 == 0:
            with self._lock:  # by another connection: it covers what was answered on this one
                assert not self._flusher.ask(FLUSH).error
            for each in list(self.since):
                self._became_durable(each)
            self.flushes += 1

    def _became_durable(self, unit: int) -> None:
        self.durable[unit] = self.since.pop(unit)[-1]


def stamped(unit: int, number: int) -> bytes:
    return (b"%08d %010d " % (unit, number)).ljust(32, b".") * (UNIT // 32)


@contextlib.contextmanager
def fio_load(uri: str) -> Iterator[None]:
    """Random writes that are verified, and trims, behind what the writers use; ends with the server."""
    job = ("--ioengine=nbd", f"--uri={uri}", "--bs=4k", f"--offset={SIZE}", f"--size={SIZE}", "--time_based")
    writes = (
        "--rw=randwrite",
        "--verify=crc32c",
        "--verify_backlog=64",
        "--verify_state_save=0",
        "--iodepth=8",
        "--numjobs=2",
    )
    jobs = [
        subprocess.Popen(["fio", "--name=load", *job, "--runtime=20", *options], **SILENT)
        for options in (writes, ("--rw=randtrim", "--iodepth=4"))
    ]
    try:
        yield
    finally:
        for each in jobs:
            each.kill()
            each.wait()


@QEMU
@needs("fio")
@pytest.mark.parametrize("seconds", [0.3, 1.5])
def test_what_was_flushed_survives_a_kill(seconds: float, tmp_path: Path) -> None:
    image, path = tmp_path / "disk.vhdx", str(tmp_path / "s")
    vhdx.create(image, 2 * SIZE, block_size=MIB)
    with (
        serving(image, "--write", "--socket", path) as process,
        Client.opened(path) as flusher,
        fio_load(process.uri),
    ):
        lock = threading.Lock()
        writers = [_Writer(path, which, flusher, lock) for which in range(3)]
        for writer in writers:
            writer.start()
        with Client.opened(path) as watcher:
            while not any(watcher.ask(READ, SIZE, SIZE).data):  # until the load is there
                time.sleep(0.05)
        writers[0].join(seconds)
        process.process.send_signal(signal.SIGKILL)
        for writer in writers:
            writer.join(20)
            assert not writer.is_alive()
    assert sum(writer.flushes for writer in writers) > 0
    checked = 0
    with vhdx.open(image) as disk:
        for writer in writers:
            for unit, number in writer.durable.items():
                found = disk.pread(UNIT, unit * UNIT)
                allowed = {number, *writer.since.get(unit, ())}
                assert found in {stamped(unit, each) if each else bytes(UNIT) for each in allowed}, unit
                checked += 1
        assert any(extent.kind is vhdx.ExtentKind.DATA for extent in disk.extents(offset=SIZE)), "no load"
    assert checked > 20
    vhdx.repair(image)
    run("qemu-img", "check", "-f", "vhdx", image)


def test_promise_24_what_nobody_flushed_survives_a_kill_some_time_later(tmp_path: Path) -> None:
    image, path = tmp_path / "disk.vhdx", str(tmp_path / "s")
    vhdx.create(image, 2 * SIZE, block_size=MIB)
    with (
        serving(image, "--write", "--socket", path, "--commit-interval", "0.2") as process,
        Client.opened(path) as client,
    ):
        for unit in range(0, UNITS, 64):
            assert not client.ask(WRITE, unit * UNIT, UNIT, stamped(unit, 1)).error
        wait_until_committed(image, stamped(UNITS - 64, 1), (UNITS - 64) * UNIT)
        process.process.send_signal(signal.SIGKILL)
        process.process.wait()
    vhdx.repair(image)
    assert_stamped(image)


def wait_until_committed(image: Path, data: bytes, offset: int) -> None:
    """Return when a copy of the file as it stands has this; the naive reader says so, not the library."""
    deadline = time.monotonic() + 20
    while True:
        with naively(copied(image, image.with_name("copy.vhdx"))) as look:
            if look.read(len(data), offset) == data:
                return
        assert time.monotonic() < deadline, "not committed"
        time.sleep(0.05)


@QEMU
def test_without_an_interval_it_is_lost(tmp_path: Path) -> None:
    """So the test above would fail if nothing were committed."""
    image, path = tmp_path / "disk.vhdx", str(tmp_path / "s")
    vhdx.create(image, 2 * SIZE, block_size=MIB)
    options = ("--write", "--socket", path, "--commit-interval", "0")
    with serving(image, *options) as process, Client.opened(path) as client:
        assert not client.ask(WRITE, 0, UNIT, stamped(0, 1)).error
        time.sleep(1)
        process.process.send_signal(signal.SIGKILL)
        process.process.wait()
    vhdx.repair(image)
    assert qemu_content(image)[:UNIT] == bytes(UNIT)


def assert_stamped(image: Path) -> None:
    """What was written stands in the image, as the naive reader sees it."""
    with naively(image) as look:
        for unit in range(0, UNITS, 64):
            assert look.read(UNIT, unit * UNIT) == stamped(unit, 1)
