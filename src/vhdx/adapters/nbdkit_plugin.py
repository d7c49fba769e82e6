"""A plugin for `nbdkit`: its filters, its TLS and its socket handling in front of a VHDX disk.

    nbdkit python PATH/nbdkit_plugin.py image=disk.vhdx [write=yes] [partition=N] [parents=FILE …]

Read-only without ``write=yes``. nbdkit 1.28 or newer; its Python must find this package (``PYTHONPATH``).
nbdkit calls the functions of this file by their names; nbdkit-python-plugin(3) says when and with what.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Any

from vhdx.disk.open import open_disk
from vhdx.disk.parts import one_partition
from vhdx.extents import ExtentKind

with contextlib.suppress(ImportError):  # there is such a module only inside of nbdkit
    import nbdkit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.disk.base import VirtualDisk

API_VERSION = 2

_settings: dict[str, str] = {"write": "no"}
_parents: list[str] = []
_opened: list[VirtualDisk] = []
"""The one disk that all connections share; empty before nbdkit has forked, which no open disk survives."""


def config(key: str, value: str) -> None:
    """Take one ``key=value`` of the command line."""
    if key == "parents":
        _parents.append(os.path.abspath(value))
    elif key in ("image", "write", "partition"):
        _settings[key] = os.path.abspath(value) if key == "image" else value
    else:
        raise ValueError(f"unknown parameter {key}; there are image, write, partition and parents")


def config_complete() -> None:
    """Check that there is an image."""
    if "image" not in _settings:
        raise ValueError("say which image is served: image=disk.vhdx")
    if _settings["write"] not in ("yes", "no"):
        raise ValueError("write is yes or no")


def thread_model() -> int:
    """Disks are safe to use from several threads."""
    return int(nbdkit.THREAD_MODEL_PARALLEL)


def get_ready() -> None:
    """Find out whether the disk can be opened while nbdkit can still say so: after its fork clients wait."""
    _open().close()


def after_fork() -> None:
    """Open the disk, now that there will be no other process."""
    _opened.append(_open())


def _open() -> VirtualDisk:
    disk = open_disk(_settings["image"], "r+" if _settings["write"] == "yes" else "r", parents=_parents)
    number = _settings.get("partition")
    try:
        return disk if number is None else one_partition(disk, int(number))
    except BaseException:
        disk.close()
        raise


def cleanup() -> None:
    """Close the image clean."""
    while _opened:
        _opened.pop().close()


def open(readonly: bool) -> VirtualDisk:  # noqa: A001, ARG001  nbdkit's name; it refuses writes by itself
    """The disk for a connection."""
    return _opened[0]


def get_size(disk: VirtualDisk) -> int:
    """The capacity in bytes."""
    return disk.size


def can_write(disk: VirtualDisk) -> bool:
    """Whether it was opened to be written to."""
    return not disk.read_only


def can_multi_conn(disk: VirtualDisk) -> bool:  # noqa: ARG001
    """What one connection flushed, all others see: it is one disk."""
    return True


def can_fast_zero(disk: VirtualDisk) -> bool:  # noqa: ARG001
    """Zeros that would have to be written are refused at once."""
    return True


def can_fua(disk: VirtualDisk) -> int:  # noqa: ARG001
    """A flush after the request does it."""
    return int(nbdkit.FUA_EMULATE)


def pread(disk: VirtualDisk, buffer: bytearray, offset: int, flags: int) -> None:  # noqa: ARG001
    """Fill the buffer."""
    with _numbered():
        disk.preadinto(buffer, offset)


def pwrite(disk: VirtualDisk, data: bytes, offset: int, flags: int) -> None:  # noqa: ARG001
    """Write all of the data."""
    with _numbered():
        disk.pwrite(data, offset)


def flush(disk: VirtualDisk, flags: int) -> None:  # noqa: ARG001
    """Make everything durable."""
    with _numbered():
        disk.flush()


def trim(disk: VirtualDisk, length: int, offset: int, flags: int) -> None:  # noqa: ARG001
    """Let go of a range."""
    with _numbered():
        disk.trim(length=length, offset=offset)


def zero(disk: VirtualDisk, length: int, offset: int, flags: int) -> None:
    """Make a range read as zeros."""
    keep, fast = not flags & nbdkit.FLAG_MAY_TRIM, bool(flags & nbdkit.FLAG_FAST_ZERO)
    with _numbered():
        disk.zero(length=length, offset=offset, keep_allocated=keep, fast_only=fast)


def extents(disk: VirtualDisk, length: int, offset: int, flags: int) -> Iterator[tuple[int, int, int]]:
    """(offset, length, type) of what a range is made of."""
    one = flags & nbdkit.FLAG_REQ_ONE
    with _numbered():
        for extent in disk.extents(offset=offset, length=length):
            hole = nbdkit.EXTENT_HOLE if extent.file_offset is None else 0
            zeros = 0 if extent.kind is ExtentKind.DATA else nbdkit.EXTENT_ZERO
            yield extent.offset, extent.length, hole | zeros
            if one:
                return


@contextlib.contextmanager
def _numbered() -> Iterator[Any]:
    """Tell nbdkit the number of an error; the words go to its log."""
    try:
        yield
    except OSError as error:
        nbdkit.set_error(error.errno or errno.EIO)
        raise
