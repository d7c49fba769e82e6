"""What every mounted directory has in common: how it fails, when it is ready, and whether it was ever used.

Whatever goes wrong leaves an operation as an OSError with a number, which is all that a kernel can pass on;
the sentence goes to ``tell``.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import threading
from typing import TYPE_CHECKING, Any, Concatenate, NoReturn, ParamSpec, TypeVar

from vhdx.errors import VhdxError

if TYPE_CHECKING:
    from collections.abc import Callable

    P = ParamSpec("P")
    R = TypeVar("R")
    D = TypeVar("D", bound="Answering")

_NUMBERS: tuple[tuple[type[Exception], int], ...] = (
    (io.UnsupportedOperation, errno.EROFS),  # an OSError without a number
    (VhdxError, errno.EIO),
    (ValueError, errno.EINVAL),
    (MemoryError, errno.ENOMEM),
)


def answering(operation: Callable[Concatenate[D, P], R]) -> Callable[Concatenate[D, P], R]:
    """Every failure of the operation becomes an OSError with a number."""

    @functools.wraps(operation)
    def answered(self: D, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return operation(self, *args, **kwargs)
        except (VhdxError, OSError, ValueError, MemoryError) as error:
            raise self.numbered(error) from error

    return answered


class Answering:
    """A directory that is served, with FUSE's operations as methods; any number of threads may call them.

    ``ready`` is called once the kernel talks to the file system; ``tell`` hears what went wrong with the
    image, in words, the same sentence not twice in a row.
    """

    use_ns = True
    """Times are whole nanoseconds (read by mfusepy)."""
    read_only = True
    options: dict[str, Any] = {}  # noqa: RUF012  never changed
    """Options of FUSE beside those that all mounts have."""

    def __init__(self, *, ready: Callable[[], None], tell: Callable[[str], None]) -> None:
        self._ready = ready
        self._tell = tell
        self._told = ""
        self._opening = threading.Lock()
        self._was_opened = self._ends_unused = False

    def init(self, path: str) -> None:  # noqa: ARG002  FUSE's signature
        """The kernel has made contact."""
        self._ready()

    def end_if_unused(self) -> bool:
        """Refuse from now on to open any file, unless somebody has; whether nobody had."""
        with self._opening:
            self._ends_unused = not self._was_opened
        return self._ends_unused

    def note_opened(self) -> None:
        """Somebody opens a file. Raises OSError (ENODEV) where the mount ends because nobody had."""
        with self._opening:
            if self._ends_unused:
                raise failure(errno.ENODEV)
            self._was_opened = True

    def numbered(self, error: Exception) -> OSError:
        """The error as a number, having told in words what is wrong with the image or its host."""
        if isinstance(error, VhdxError) or getattr(error, "filename", None) is not None:
            self._say(str(error))
        for kind, number in _NUMBERS:
            if isinstance(error, kind):
                return failure(number)
        assert isinstance(error, OSError)
        return error if error.errno else failure(errno.EIO)

    def _say(self, sentence: str) -> None:
        if sentence != self._told:
            self._told = sentence
            self._tell(sentence)

    def _refuse(self, *_: Any) -> NoReturn:
        raise failure(errno.EROFS if self.read_only else errno.EPERM)

    chmod = chown = utimens = create = mknod = mkdir = unlink = rmdir = symlink = rename = link = _refuse


def failure(number: int) -> OSError:
    """An error of which the kernel hears."""
    return OSError(number, os.strerror(number))
