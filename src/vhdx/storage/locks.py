"""Who may use a file at the same time: the advisory locks that QEMU's raw file driver takes, too.

QEMU takes shared locks on a byte for each thing it does (100 reads, 101 writes, 103 resizes) and on a
byte for each thing it lets nobody else do (200 + the same numbers), then looks whether somebody holds a
counterpart. Open-file-description locks belong to the descriptor, so two objects of one process exclude
each other as two processes do. On macOS ``flock`` stands for the two roles. Windows: `windows_locks`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import sys

from vhdx.errors import ImageLockedError
from vhdx.typed import TYPE_CHECKING

assert sys.platform != "win32"

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_READS, _WRITES, _RESIZES = 0, 1, 3
_DOES = 100
_LETS_NOBODY = 200

# struct flock: type, whence, start, length, process; F_OFD_* wants zero for the process
_FLOCK = struct.Struct("@hhqqi0q")
_NO_LOCKS_HERE = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


def acquire_reader(descriptor: int, path: str) -> None:
    """Hold the file as a reader: others may read. Where the file system has no locks, go on without.

    Raises ImageLockedError if a writer holds it.
    """
    _acquire(descriptor, path, does=(_READS,), exclusive=False)


def acquire_writer(descriptor: int, path: str) -> None:
    """Hold the file as its only user. Raises ImageLockedError if anybody else holds it.

    Raises ImageLockedError, too, where the file system has no locks: nothing would keep a second writer out.
    """
    if not _acquire(descriptor, path, does=(_READS, _WRITES, _RESIZES), exclusive=True):
        raise ImageLockedError(
            "the file system has no locks to keep other writers out; lock=False writes all the same",
            image=path,
        )


def is_held(descriptor: int) -> bool | None:
    """Whether anybody else holds the file, as reader or writer; None where the file system has no locks.

    Linux can be asked without taking a lock, which whoever is about to take it would meet.
    """
    if not sys.platform.startswith("linux"):
        try:
            held = _acquire(descriptor, "", does=(), exclusive=True)
        except ImageLockedError:
            return True
        release(descriptor)
        return False if held else None
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _DOES, 2 * _LETS_NOBODY, 0)
    try:
        answer = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise
        return None
    return bool(answer[0] != fcntl.F_UNLCK)


def release(descriptor: int) -> None:
    """Let go of every lock on the file, also for processes that inherited the descriptor by a fork."""
    with contextlib.suppress(OSError):  # file systems without locks; /dev/null behind a released descriptor
        if sys.platform.startswith("linux"):
            everything = _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0)
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, everything)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _acquire(descriptor: int, path: str, does: Iterable[int], *, exclusive: bool) -> bool:
    try:
        if sys.platform.startswith("linux"):
            _acquire_bytes(descriptor, path, tuple(does))
        else:
            _acquire_whole(descriptor, path, exclusive=exclusive)
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise
        return False
    return True


def _acquire_whole(descriptor: int, path: str, *, exclusive: bool) -> None:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ImageLockedError("another process is using the file", image=path) from error


def _acquire_bytes(descriptor: int, path: str, does: tuple[int, ...]) -> None:
    forbids = (_WRITES, _RESIZES)
    for byte in (*(_DOES + what for what in does), *(_LETS_NOBODY + what for what in forbids)):
        wanted = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
        except (BlockingIOError, PermissionError):  # somebody has an exclusive lock, which QEMU never takes
            raise ImageLockedError(_conflict(descriptor, byte), image=path) from None
    for byte in (*(_DOES + what for what in forbids), *(_LETS_NOBODY + what for what in does)):
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
        answer = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))
        if answer[0] != fcntl.F_UNLCK:
            raise ImageLockedError(_conflict(descriptor, byte), image=path)


def _conflict(descriptor: int, byte: int) -> str:
    use = "is writing to it" if byte == _DOES + _WRITES else "holds it"
    holders = sorted(set(_holders(descriptor)))
    return f"{' and '.join(holders) or 'another process'} {use}"


def _holders(descriptor: int) -> Iterator[str]:
    """The processes whose /proc/PID/fdinfo shows such a lock; the lock calls themselves only say -1."""
    status = os.fstat(descriptor)
    inode = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    own = f"/proc/{os.getpid()}/fdinfo/{descriptor}"
    with contextlib.suppress(OSError):
        for process in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                for number in os.listdir(f"/proc/{process}/fdinfo"):
                    info = f"/proc/{process}/fdinfo/{number}"
                    if info != own and _shows_lock(info, inode):
                        yield f"process {process} ({_command_of(process)})"


def _shows_lock(info: str, inode: str) -> bool:
    with contextlib.suppress(OSError), open(info, encoding="ascii", errors="replace") as lines:
        return any(line.startswith("lock:") and inode in line.split() for line in lines)
    return False


def _command_of(process: str) -> str:
    with (
        contextlib.suppress(OSError),
        open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as name,
    ):
        return name.read().strip()
    return "?"
