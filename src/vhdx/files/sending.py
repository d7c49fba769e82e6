"""Contents of a guest's file into a descriptor of the host, the shortest way that there is."""

from __future__ import annotations

import contextlib
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
_LAST = 4 << 20
"""More than a pipe holds that anyone may widen without privileges, and another few behind it."""


def poured(content: Content, output: int, length: int, offset: int) -> Iterator[int]:
    """Write a range to where a descriptor stands; the lengths of the pieces, one after the other.

    Into a pipe the kernel puts the image's own pages, and who reads them later sees what the image has become
    meanwhile. While it is open here that is as good as a copy. So the last of it, more than a pipe holds, is
    one: once that is in, all before it is out. A socket keeps pages until the other side has them: it gets
    copies only.
    """
    mode = os.fstat(output).st_mode
    is_pipe = stat.S_ISFIFO(mode)
    copied = length if stat.S_ISSOCK(mode) else _LAST if is_pipe else 0
    if is_pipe and length > PIECE:
        copied = max(copied, _widened(output))
    while length:
        by_kernel = min(length - copied, _AT_ONCE)
        count = content.sent(output, by_kernel, offset) if by_kernel > 0 else 0
        if not count:
            data = content.pread(min(length, PIECE), offset)
            count = len(data)
            _write(output, data)
        yield count
        length, offset = length - count, offset + count


def _widened(pipe: int) -> int:
    """Let a pipe take a piece at once, where the host allows it: fewer turns of the two at its ends.

    What it holds then.
    """
    try:
        import fcntl  # noqa: PLC0415  not on Windows

        if fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) < PIECE:
            with contextlib.suppress(OSError):  # each user has so much only
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIECE)
        return fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
    except (ImportError, AttributeError):  # only of Linux
        return 0


def _write(output: int, data: bytes) -> None:
    done = os.write(output, data)
    while done < len(data):
        done += os.write(output, memoryview(data)[done:])
