"""The binding to libfuse: a directory of operations is served until somebody unmounts it.

libfuse 3 is preferred: it passes on ``SEEK_DATA`` and ``SEEK_HOLE``, and larger requests.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import tempfile
import threading
from ctypes.util import find_library
from typing import TYPE_CHECKING, Any

from vhdx.errors import missing_extra
from vhdx.mount import requests
from vhdx.text import command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdx.mount.answering import Answering

FILE_SYSTEM_TYPE = "vhdx"
_DEVICE = "/dev/fuse"


def check_directory(directory: str) -> None:
    """Raise OSError unless the directory is there, empty, and no mount is left over in it."""
    try:
        names = os.listdir(directory)
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            said = f"the process of an earlier mount died; try: {command('unmount {}', directory)}"
            raise OSError(errno.ENOTCONN, said, directory) from None
        raise
    if names:
        raise OSError(errno.ENOTEMPTY, "the directory to mount in is not empty", directory)


def source_name(place: str) -> str:
    """What the list of mounts says of where a mount comes from: the process that serves it, and the image."""
    return f"{FILE_SYSTEM_TYPE}:{os.getpid()}:{place}"


def serve(
    make: Callable[..., Answering],
    mount_point: str,
    *,
    source: str,
    ready: Callable[[], None],
    shared: bool = False,
    timeout: float | None = None,
) -> None:
    """Mount a directory and answer the kernel until it is unmounted, or a signal (TERM, INT, HUP) comes.

    ``make`` makes it; its ``ready`` is what to call once the kernel has made contact. ``ready`` is called
    once the mount is there; where it fails the mount ends, and this raises what it raised. ``shared`` says
    that others change the image meanwhile, so that the kernel must not keep what it read. ``timeout`` is
    after how many seconds the mount ends, as by a signal, if nobody has opened a file. Only for the main
    thread. Raises OSError, in words, where FUSE or its binding is missing or refuses.
    """
    mfusepy = _binding()
    if sys.platform == "linux" and not os.path.exists(_DEVICE):
        said = "this machine has no FUSE; try: modprobe fuse, or give the container the device /dev/fuse"
        raise OSError(errno.ENODEV, said, _DEVICE)
    heard = _LibfuseHeard()

    failures: list[Exception] = []

    def mounted() -> None:
        heard.stop()
        try:
            ready()
        except Exception as error:  # noqa: BLE001  libfuse would go on, and who waits for the mount wait for ever
            failures.append(error)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        if timeout is not None:
            timer = threading.Timer(timeout, _end_unused, (directory,))
            timer.daemon = True
            timer.start()

    directory = make(ready=mounted)
    options = {
        "foreground": True,
        "fsname": _escaped(source),
        "subtype": FILE_SYSTEM_TYPE,
        "default_permissions": True,
        "kernel_cache": not shared,
        "ro": directory.read_only,
        "big_writes": mfusepy.fuse_version_major == 2,
        **directory.options,
    }
    with heard, _default_signals():
        try:
            fuse = type("Fuse", (mfusepy.FUSE,), {"lseek": _seek, **requests.handlers()})
            fuse(directory, mount_point, **options)
        except RuntimeError as error:
            # The binding's only word for everything. Once the mount was there it also says that a signal
            # came, which is how mounts in the foreground are meant to end.
            if heard.listening:
                raise OSError(errno.EIO, f"FUSE refuses: {heard.stop() or error}", mount_point) from None
    if failures:
        raise failures[0]


def _end_unused(directory: Answering) -> None:
    """End the mount, by the signal that libfuse takes for that, unless somebody has opened the file."""
    if directory.end_if_unused():
        os.kill(os.getpid(), signal.SIGTERM)


def _binding() -> Any:
    """The package mfusepy, which loads libfuse when it is imported."""
    if find_library("fuse3") is not None:
        os.environ.setdefault("FUSE_LIBRARY_NAME", "fuse3")
    try:
        import mfusepy  # noqa: PLC0415  an extra that only mounting needs
    except ImportError:
        raise missing_extra("mount", "mounting needs a package that is not installed") from None
    except (OSError, AttributeError) as error:
        said = f"mounting needs libfuse ({error}); try: apt-get install fuse3, or on macOS install macFUSE"
        raise OSError(errno.ENOSYS, said) from None
    return mfusepy


def _seek(fuse: Any, path: bytes, offset: int, whence: int, _: object) -> int:
    """The one operation that the binding declares to libfuse and does not pass on."""
    found = fuse.operations.lseek(path.decode(fuse.encoding, fuse.errors), offset, whence)
    assert isinstance(found, int)
    return found


def _escaped(value: str) -> str:
    """A value as libfuse's option parser wants it: commas and backslashes are its own."""
    return value.replace("\\", "\\\\").replace(",", "\\,")


@contextlib.contextmanager
def _default_signals() -> Iterator[None]:
    """Let libfuse handle the signals: it leaves alone those that somebody handles or ignores."""
    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if callable(signal.getsignal(number))]
    handlers = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


class _LibfuseHeard:
    """While mounting, what libfuse and its helper print on standard error, to be told in one sentence."""

    def __init__(self) -> None:
        self.listening = False

    def __enter__(self) -> None:
        self._file = tempfile.TemporaryFile()
        self._before = os.dup(2)
        os.dup2(self._file.fileno(), 2)
        self.listening = True

    def stop(self) -> str:
        """Give standard error back; the last line that was printed meanwhile."""
        self.listening = False
        os.dup2(self._before, 2)
        os.close(self._before)
        with self._file as file:
            file.seek(0)
            lines = file.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def __exit__(self, *_: object) -> None:
        if self.listening:
            self.stop()
