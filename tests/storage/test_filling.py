"""Pipes that do not wait: what has not come yet is no end."""

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import BinaryIO

import pytest

from vhdx.storage.filling import filled, lines, read_whole

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no pipe of Windows can be told not to wait")
DATA = bytes(range(256)) * 4


def by_filling(stream: BinaryIO, length: int) -> bytes:
    buffer = bytearray(length)
    return bytes(buffer[: filled(stream, memoryview(buffer))])


@pytest.mark.parametrize("take", [by_filling, read_whole])
@pytest.mark.parametrize("buffering", [0, -1])
@pytest.mark.parametrize("length", [1, len(DATA) - 1, len(DATA), len(DATA) + 1])
def test_all_that_comes_is_taken(take: Callable[[BinaryIO, int], bytes], buffering: int, length: int) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with open(reader, "rb", buffering=buffering) as stream:
        # What comes first is read before anything else is there, or nothing is.
        thread = threading.Thread(target=write_in_pieces, args=(writer,))
        thread.start()
        assert take(stream, length) == DATA[:length]
        thread.join()
        assert take(stream, 2 * len(DATA)) == DATA[length:]


def test_lines_are_whole() -> None:
    wanted = [b"one\n", b"\n", b"x" * 200_000 + b"\n", b"two\0three\n", b"no end"]
    for listed in (wanted, wanted[:-1], [], [b"one"]):
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        with open(reader, "rb") as stream:
            thread = threading.Thread(target=write_in_pieces, args=(writer, b"".join(listed)))
            thread.start()
            assert list(lines(stream)) == listed
            thread.join()


def write_in_pieces(writer: int, data: bytes = DATA) -> None:
    for start in range(0, len(data), 100):
        time.sleep(0)
        os.write(writer, data[start : start + 100])
    os.close(writer)
