"""Contents of a guest's file into a descriptor of the host, the shortest way that there is."""

from __future__ import annotations

import os
import stat

from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.files.base import Content

PIECE = 256 << 10
"""Larger pieces are several times as slow: the host gives each new one in fresh pages."""
_AT_ONCE = 16 << 20
"""How much is left to the kernel between two looks at signals and progress."""


def poured(content: Content, output: int, length: int, offset: int) -> Iterator[int]:
    """Write a range to where a descriptor stands; the lengths of the pieces, one after the other.

    What goes into a pipe is read and written: the kernel would put the image's own pages there, and who reads
    them later would see what the image has become meanwhile.
    """
    mode = os.fstat(output).st_mode
    sends = not stat.S_ISFIFO(mode) and not stat.S_ISSOCK(mode)
    if stat.S_ISFIFO(mode) and length > PIECE:
        _widen(output)
    while length:
        count = content.sent(output, min(length, _AT_ONCE), offset) if sends else 0
        if not count:
            data = content.pread(min(length, PIECE), offset)
            count = len(data)
            _write(output, data)
        yield count
        length, offset = length - count, offset + count


def _widen(pipe: int) -> None:
    """Let a pipe take a piece at once, where the host allows it: fewer turns of the two at its ends."""
    try:
        import fcntl  # noqa: PLC0415  not on Windows

        if fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) < PIECE:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIECE)
    except (ImportError, AttributeError, OSError):  # only of Linux, and each user has so much only
        return


def _write(output: int, data: bytes) -> None:
    done = os.write(output, data)
    while done < len(data):
        done += os.write(output, memoryview(data)[done:])
