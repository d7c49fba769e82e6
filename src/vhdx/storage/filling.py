"""Reading pipes to their end: they give what is there, and may say that nothing is for the moment.

Whoever has the other end, or shares ours, decides whether a pipe waits: a program that set ``O_NONBLOCK`` for
itself did so for all. What has not come yet is then no end.
"""

from __future__ import annotations

from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_AT_ONCE = 64 * 1024


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


def lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of a stream with their ends, as they come."""
    buffer, begun = bytearray(_AT_ONCE), list[bytes]()
    while (count := stream.readinto1(buffer)) != 0:  # type: ignore[attr-defined]
        if count is None:
            wait_for(stream)
            continue
        *ended, rest = bytes(buffer[:count]).split(b"\n")
        for end in ended:
            yield b"".join((*begun, end, b"\n"))
            begun.clear()
        begun.append(rest)
    if any(begun):
        yield b"".join(begun)


def wait_for(stream: BinaryIO) -> None:
    """Until something has come. Raises OSError for what is no pipe, and has nothing."""
    import select  # noqa: PLC0415  pipes hardly ever need it

    select.select((stream.fileno(),), (), ())
