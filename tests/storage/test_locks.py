"""Promise 20: two writers never hold one image, nor a writer and a reader, be it this library or QEMU."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.tools import needs
from vhdx.storage.locks import acquire_reader, acquire_writer

Acquire = Callable[[int, str], None]


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return ImageBuilder(blocks={0: Block(b"x" * MIB)}).write(tmp_path / "image.vhdx")


@contextmanager
def held(path: Path, acquire: Acquire) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR)
    try:
        acquire(descriptor, str(path))
        yield
    finally:
        os.close(descriptor)


PAIRS: list[tuple[Acquire, Acquire, bool]] = [
    (acquire_reader, acquire_reader, True),
    (acquire_reader, acquire_writer, False),
    (acquire_writer, acquire_reader, False),
    (acquire_writer, acquire_writer, False),
]


@pytest.mark.parametrize(("first", "second", "together"), PAIRS)
def test_promise_20_who_may_hold_a_file_together_in_one_process(
    first: Acquire, second: Acquire, together: bool, path: Path
) -> None:
    with held(path, first):
        if together:
            with held(path, second):
                return
        with pytest.raises(vhdx.ImageLockedError) as caught, held(path, second):
            pass
        assert f"process {os.getpid()} " in str(caught.value)
    with held(path, second):
        pass


HOLD = """
import os, sys
from vhdx.storage import locks
descriptor = os.open(sys.argv[1], os.O_RDWR)
getattr(locks, sys.argv[2])(descriptor, sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_elsewhere(path: Path, acquire: Acquire) -> Iterator[int]:
    """Another process holds the file; its id."""
    command = [sys.executable, "-c", HOLD, str(path), acquire.__name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield process.pid
        finally:
            process.stdin.close()
            process.wait()


@pytest.mark.parametrize(("first", "second", "together"), PAIRS)
def test_promise_20_who_may_hold_a_file_together_in_two_processes(
    first: Acquire, second: Acquire, together: bool, path: Path
) -> None:
    with held_elsewhere(path, first) as process:
        if together:
            with held(path, second):
                return
        with pytest.raises(vhdx.ImageLockedError) as caught, held(path, second):
            pass
        assert f"process {process} " in str(caught.value)
        assert caught.value.fault == "machine"
        assert caught.value.image == str(path)


def test_promise_20_a_lock_dies_with_its_process(path: Path) -> None:
    with held_elsewhere(path, acquire_writer):
        pass
    with held(path, acquire_writer):
        pass


def test_promise_20_opening_takes_a_readers_lock_and_closing_gives_it_back(path: Path) -> None:
    with vhdx.open(path), vhdx.open(path), pytest.raises(vhdx.ImageLockedError), held(path, acquire_writer):
        pass
    with held(path, acquire_writer):
        with pytest.raises(vhdx.ImageLockedError):
            vhdx.open(path)
        with vhdx.open(path, lock=False) as disk:
            assert disk.pread(1, 0) == b"x"


def test_promise_20_closing_another_descriptor_of_the_file_keeps_the_lock(path: Path) -> None:
    # the trap of the older POSIX locks, which any close of the process lets go
    with vhdx.open(path):
        os.close(os.open(path, os.O_RDONLY))
        with pytest.raises(vhdx.ImageLockedError), held(path, acquire_writer):
            pass


def refusing(code: int) -> Callable[..., Any]:
    def call(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    return call


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_promise_20_where_there_are_no_locks_readers_go_on_and_writers_do_not(
    code: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "fcntl", refusing(code))
    with held(path, acquire_reader):
        pass
    with pytest.raises(vhdx.ImageLockedError, match="has no locks"), held(path, acquire_writer):
        pass


def test_other_failures_of_locking_are_the_hosts_own(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "fcntl", refusing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"), held(path, acquire_reader):
        pass


@pytest.mark.parametrize(("first", "second", "together"), PAIRS)
def test_promise_22_the_locks_of_macos_do_the_same(
    first: Acquire, second: Acquire, together: bool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with held(path, first):
        if together:
            with held(path, second):
                return
        with pytest.raises(vhdx.ImageLockedError), held(path, second):
            pass


@contextmanager
def qemu_io(path: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """qemu-io with the image open, waiting for commands."""
    command = ["qemu-io", "-f", "vhdx", *options, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"length\n")
        process.stdin.flush()
        seen = b""
        while b"MiB" not in seen:  # the answer: it has opened the image
            byte = process.stdout.read(1)
            assert byte, seen
            seen += byte
        try:
            yield process
        finally:
            process.stdin.close()
            process.stdout.read()
            process.wait()


@needs("qemu-io")
def test_promise_20_an_image_that_qemu_writes_to_is_refused_by_name(path: Path) -> None:
    with qemu_io(path) as process:
        with pytest.raises(vhdx.ImageLockedError, match=f"process {process.pid} \\(qemu-io\\)"):
            vhdx.open(path)
        with vhdx.open(path, lock=False) as disk:
            assert disk.pread(1, 0) == b"x"
    with vhdx.open(path) as disk:
        assert disk.pread(1, 0) == b"x"


@needs("qemu-io")
def test_promise_20_two_readers_may_be_qemu_and_this_library(path: Path) -> None:
    with qemu_io(path, "-r"), vhdx.open(path) as disk:
        assert disk.pread(1, 0) == b"x"


@needs("qemu-io")
def test_promise_20_no_writer_beside_a_qemu_that_reads(path: Path) -> None:
    with qemu_io(path, "-r"), pytest.raises(vhdx.ImageLockedError), held(path, acquire_writer):
        pass


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True)


@needs("qemu-io", "qemu-img")
def test_promise_20_while_this_library_reads_qemu_may_read_and_not_write(path: Path) -> None:
    before = path.read_bytes()
    with vhdx.open(path):
        assert run("qemu-img", "info", "-f", "vhdx", path).returncode == 0
        assert run("qemu-io", "-r", "-f", "vhdx", "-c", "read -P 0x78 0 512", path).returncode == 0
        refused = run("qemu-io", "-f", "vhdx", "-c", "write -P 1 0 512", path)
        assert refused.returncode != 0
        assert "lock" in refused.stderr
    assert path.read_bytes() == before


@needs("qemu-io", "qemu-img")
def test_promise_20_while_this_library_writes_qemu_may_neither_read_nor_write(path: Path) -> None:
    with held(path, acquire_writer):
        for command in (
            ("qemu-img", "info", "-f", "vhdx"),
            ("qemu-io", "-f", "vhdx", "-c", "write -P 1 0 512"),
        ):
            refused = run(*command, path)
            assert refused.returncode != 0
            assert "lock" in refused.stderr
