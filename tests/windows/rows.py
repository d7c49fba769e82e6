"""What random reads and allocating writes cost on this host, beside `os.read` of Python with a lock."""

import os
import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import vhdx
from vhdx.storage.file import open_for_reading

COUNT = 400
LENGTH = 4096
SPAN = 8 << 20


def each(work: Callable[[int], object], threads: int = 1) -> float:
    """Microseconds of one call, several threads making them."""
    chance = random.Random(1)
    offsets = [chance.randrange(SPAN // LENGTH) * LENGTH for _ in range(COUNT)]
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        list(pool.map(work, offsets))
        return (time.perf_counter() - started) / COUNT * 1e6


def show(what: str, microseconds: float) -> None:
    sys.stdout.write(f"{what + ':':32}{microseconds:6.0f} µs\n")


def main(path: str) -> None:
    """Print the rows."""
    descriptor, lock = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)), threading.Lock()

    def locked(offset: int) -> bytes:
        with lock:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.read(descriptor, LENGTH)

    storage = open_for_reading(path, lock=False)
    show("os.read with a lock, 4 threads", each(locked, 4))
    show("positional reads, 4 threads", each(lambda offset: storage.read(LENGTH, offset), 4))
    show("positional reads, 1 thread", each(lambda offset: storage.read(LENGTH, offset)))
    storage.close()
    os.close(descriptor)
    with vhdx.open(path, "r+") as disk:
        places = iter(range(1 << 30, 2 << 30, 2 << 20))
        show("allocating writes, 1 thread", each(lambda _: disk.pwrite(b"x" * LENGTH, next(places))))


main(sys.argv[1])
