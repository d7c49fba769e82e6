"""Reading pipes to their end: they give what is there, and may say that nothing is for the moment.

Whoever has the other end, or shares ours, decides whether a pipe waits: a program that set ``O_NONBLOCK`` for
itself did so for all. What has not come yet is then no end.
"""

from __future__ import annotations

from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO


def filled(stream: BinaryIO, view: memoryview) -> int:
    """Read on until a buffer is full or the stream ends; how many bytes it has."""
    done = 0
    while done < len(view):
        count = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if count is None:
            wait_for(stream)
        elif count:
            done += count
        else:
            break
    return done


def read_whole(stream: BinaryIO, length: int) -> bytearray:
    """So many bytes of a stream that need not read into buffers, less at its end."""
    taken = bytearray()
    while len(taken) < length:
        piece: bytes | None = stream.read(length - len(taken))
        if piece is None:
            wait_for(stream)
        elif piece:
            taken += piece
        else:
            break
    return taken


def wait_for(stream: BinaryIO) -> None:
    """Until something has come. Raises OSError for what is no pipe, and has nothing."""
    import select  # noqa: PLC0415  pipes hardly ever need it

    select.select((stream.fileno(),), (), ())
