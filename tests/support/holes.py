"""Files with holes, read without them."""

import os
from collections.abc import Iterator
from pathlib import Path

from tests.support.calls import OPEN_FLAGS, pread
from tests.support.layout import MIB


def data_ranges(descriptor: int) -> Iterator[tuple[int, int]]:
    """The (offset, length) runs of a file that are no holes."""
    end = os.fstat(descriptor).st_size
    offset = 0
    if not hasattr(os, "SEEK_DATA") and end:  # nobody tells
        yield 0, end
        return
    while offset < end:
        try:
            start = os.lseek(descriptor, offset, os.SEEK_DATA)
        except OSError:  # nothing but a hole
            return
        offset = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, offset - start


def data_pieces(path: Path) -> Iterator[tuple[int, bytes]]:
    """What is in a file, as (offset, bytes) of a MiB at most; holes are left out."""
    descriptor = os.open(path, os.O_RDONLY | OPEN_FLAGS)
    try:
        for start, length in data_ranges(descriptor):
            for at in range(start, start + length, MIB):
                yield at, pread(descriptor, min(MIB, start + length - at), at)
    finally:
        os.close(descriptor)
