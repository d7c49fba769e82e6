"""Requests as libfuse hands them over, where the binding makes too much or too little of them.

What each read and write costs decides how fast a mount is.

libfuse answers in threads of its own, of which Python knows nothing. For each call from such a thread Python
makes the state of a thread, with a stack that it asks the host for, and throws it away at the end: that takes
longer than a small read. So the state is kept with the first request of a thread, as long as the process is.
"""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[..., int]

_KEPT = 64
"""For how many threads at most: libfuse ends idle ones, and what is kept of these is not given back."""


def handlers() -> dict[str, Handler]:
    """The methods of mfusepy's class that are done otherwise here."""
    threads = _Threads()

    def read(fuse: Any, _: bytes, buffer: Any, size: int, offset: int, info: Any) -> int:
        threads.keep()
        data: bytes = fuse.operations.read("", size, offset, info.contents.fh)
        ctypes.memmove(buffer, data, len(data))
        return len(data)

    def write(fuse: Any, _: bytes, buffer: Any, size: int, offset: int, info: Any) -> int:
        threads.keep()
        written: int = fuse.operations.write("", ctypes.string_at(buffer, size), offset, info.contents.fh)
        return written

    return {"read": read, "write": write, "truncate_fuse_3": _truncate}


def _truncate(fuse: Any, path: bytes | None, length: int, info: Any) -> int:
    """The binding does not pass on whether an open file is to get another size, or a name."""
    name = None if path is None else path.decode(fuse.encoding, fuse.errors)
    done: int = fuse.operations.truncate(name, length, info.contents.fh if info else None)
    return done


class _Threads:
    """The threads whose state is kept."""

    def __init__(self) -> None:
        self._known = threading.local()
        self._left = _KEPT

    def keep(self) -> None:
        """Keep the state of this thread: enter Python once more than it is left."""
        if self._left > 0 and not hasattr(self._known, "is_kept"):
            self._known.is_kept = True
            self._left -= 1
            ctypes.pythonapi.PyGILState_Ensure()
