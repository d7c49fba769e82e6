"""What a request costs: a thread that answers is known to Python from one request to the next."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.patterns import pattern

from .mounting import FUSE

pytestmark = FUSE
PROGRAM = """
import sys, threading, vhdx
from functools import partial
from vhdx.mount import fuse
from vhdx.mount.directory import DiskDirectory

local, calls, fresh = threading.local(), 0, 0

def counted(method):
    def call(*arguments):
        global calls, fresh
        calls, fresh = calls + 1, fresh + (not hasattr(local, "seen"))
        local.seen = True
        return method(*arguments)
    return call

class Counting:
    def __init__(self, disk):
        self.pread, self.pwrite, self._disk = counted(disk.pread), counted(disk.pwrite), disk
    def __getattr__(self, name):
        return getattr(self._disk, name)

with vhdx.open(sys.argv[1], "r+") as disk:
    make = partial(DiskDirectory, Counting(disk), tell=print)
    fuse.serve(make, sys.argv[2], source="x", ready=lambda: print("ready", flush=True))
print(calls, fresh)
"""


@pytest.mark.parametrize("writes", [False, True])
def test_threads_are_kept(tmp_path: Path, writes: bool) -> None:
    vhdx.create(tmp_path / "a.vhdx", "4M")
    folder = tmp_path / "mnt"
    folder.mkdir()
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "a.vhdx"), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        opened = os.open(folder / "disk.raw", os.O_RDWR | os.O_SYNC)
        for number in range(100):
            if writes:
                os.pwrite(opened, pattern(number, 512, 1), number * 512)
            else:
                os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
                os.pread(opened, 512, number % 4 * MIB)
        os.close(opened)
        process.send_signal(signal.SIGTERM)
        calls, fresh = map(int, process.stdout.read().split())
    assert calls >= 100
    assert fresh <= 20  # libfuse has up to 10 threads
