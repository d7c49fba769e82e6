"""Files and block devices of the host, by positional system calls. The only opener of image files that exist.

Linux and macOS: ``pread``, ``preadv``, ``pwrite`` of ``os``, and `vhdx.storage.host` for what differs there.
Windows: functions of the same names, all of them in `vhdx.storage.windows`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from _thread import allocate_lock  # as `threading.Lock`, which takes longer to import
from functools import partial

from vhdx.errors import ImageLockedError
from vhdx.pieces import pieces
from vhdx.storage.base import ZEROS, HostReadError, ended_early
from vhdx.storage.sparse import is_without_holes, refusing
from vhdx.storage.stream import is_url
from vhdx.typed import TYPE_CHECKING
from vhdx.units import format_size

if sys.platform == "win32":
    from vhdx.storage import windows as host
    from vhdx.storage import windows as system
else:
    import os as system

    from vhdx.storage import host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
GIVES_BACK = "vhdx compact gives back what images keep for nothing"
"""What is said of a host that is full."""
ATTEMPTS = 16
"""How often a file is opened that was replaced before it was locked."""


@contextlib.contextmanager
def telling_if_full(words: Callable[[], str]) -> Iterator[None]:
    """Around what may find the host full: its sentence then ends with these words."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL and error.strerror:
            error.strerror += f"; {words()}"
        raise


def open_for_reading(path: str, *, lock: bool = True) -> FileStorage:
    """Open a regular file or block device to read it, holding a reader's lock unless ``lock`` is False.

    Raises OSError, ImageLockedError, and ValueError for what is neither file nor block device.
    """
    refuse_elsewhere(path)
    return FileStorage(host.open_to_read(path, lock=lock), path)


def refuse_elsewhere(path: str) -> None:
    """Raise ValueError for a URL where a file of this host is needed."""
    if is_url(path) and not os.path.exists(path):
        raise ValueError(
            f"{path} is elsewhere: this reads files of this host only; vhdx convert makes one of it"
        )


def open_for_writing(path: str, *, lock: bool = True) -> FileStorage:
    """Open a regular file to change it, as its only user unless ``lock`` is False.

    Raises OSError, ImageLockedError, and ValueError for what is no regular file: images grow and shrink.
    """
    refuse_as_target(path)
    for _ in range(ATTEMPTS):
        storage = FileStorage(host.open_to_write(path, lock=lock), path)
        storage.follow_wishes()
        storage.taken_when_opened = storage.allocated()
        try:
            # What was replaced before it was locked has no name any more: all that is written to it is lost.
            named = is_named(path, storage.identity(), follow=True)
        except BaseException:
            storage.close()
            raise
        if named:
            return storage
        storage.close()
    raise replaced_meanwhile(path)


def refuse_as_target(path: str) -> None:
    """Raise ValueError for ``-`` and URLs as names of what is made or changed: people mean no file by them.

    Every opening for writing and every new file asks here, and the command for each of its targets.
    """
    if path == "-":
        raise ValueError(
            "this goes into a file, not to standard output, which vhdx convert SOURCE - writes to; "
            "./- is the file of that name"
        )
    if is_url(path):
        raise ValueError(f"{path} is elsewhere: only files of this host are made or changed")


def is_named(path: str, identity: tuple[int, int], *, follow: bool = False) -> bool:
    """Whether a name stands for the file of this device and inode; what it links to if ``follow``."""
    try:
        return host.identity_at(path, follow=follow) == identity
    except FileNotFoundError:
        return False


def replaced_meanwhile(path: str) -> ImageLockedError:
    """The error for a name that does not stand any more for the file that was opened."""
    return ImageLockedError("other programs replaced the file meanwhile", image=path)


def temporary_file() -> FileStorage:
    """A new file without a name: gone when it is closed, so that nothing in it needs to be durable."""
    return _FleetingStorage(host.create_temporary(), "a temporary file")


def of_descriptor(descriptor: int, name: str) -> FileStorage:
    """A file that the caller has open, and keeps open, under a number of its own."""
    return FileStorage(host.duplicate(descriptor), name)


class FileStorage:
    """A descriptor that is read and written by offset; owns the descriptor."""

    def __init__(self, descriptor: host.Descriptor, name: str, *, is_dense: bool = False) -> None:
        self._descriptor = descriptor
        self._name = name
        self.salvage: str | None = None
        """The command that saves the disk that is read; None for one of the file alone."""
        self.taken_when_opened = 0
        """Bytes of the host's disk that the file took when it was opened to be changed."""
        self._closed = False
        self._process = os.getpid()
        self._is_dense = is_dense
        self._growing = allocate_lock()

    @property
    def name(self) -> str:
        """The path that was opened."""
        return self._name

    def size(self) -> int:
        """The file's length in bytes; of a block device its capacity, which ``st_size`` does not tell."""
        return host.size_of(self._descriptor)

    def identity(self) -> tuple[int, int]:
        """Device and inode: equal for two names of one file."""
        return host.identity_of(self._descriptor)

    @property
    def is_dense(self) -> bool:
        """Whether it gets no holes."""
        return self._is_dense

    def follow_wishes(self) -> None:
        """Make no holes from now on if `vhdx.storage.sparse` says so: what grows is filled up."""
        self._is_dense = is_without_holes(self.identity()[0], partial(host.is_ntfs, self._descriptor))

    @property
    def hole_remark(self) -> str | None:
        """What is to be said of the holes of a file that is written here."""
        place = refusing(self.identity()[0], partial(host.is_ntfs, self._descriptor))
        if place is None:
            return None
        if self._is_dense:
            return f"no holes were made: this is {place}, and Windows refuses images with holes"
        return self.has_refused_holes()

    def has_refused_holes(self) -> str | None:
        """Why Windows would refuse the file for its holes; None if it would not, as far as can be told."""
        place = refusing(self.identity()[0], partial(host.is_ntfs, self._descriptor))
        if place is None or not host.has_holes(self._descriptor):
            return None
        return f"the file has holes and stands on {place}: Windows refuses to attach it (0xC03A001A)"

    def allocated(self) -> int:
        """How many bytes of the host's disk the file takes."""
        return host.allocated(self._descriptor)

    def read(self, length: int, file_offset: int) -> bytes:
        """Exactly ``length`` bytes, in one system call unless the host gives fewer."""
        try:
            data = system.pread(self._descriptor, length, file_offset)
        except OSError as error:
            raise self._unread(error, file_offset, file_offset + length) from None
        return data if len(data) == length else self._read_rest(data, length, file_offset)

    def _read_rest(self, data: bytes, length: int, file_offset: int) -> bytes:
        buffer = bytearray(length)
        buffer[: len(data)] = data
        self._read_from(memoryview(buffer), len(data), file_offset)
        return bytes(buffer)

    def read_into(self, buffer: memoryview, file_offset: int) -> None:
        """Fill the buffer, in one system call unless the host gives fewer bytes at once."""
        try:
            count = system.preadv(self._descriptor, (buffer,), file_offset)
        except OSError as error:
            raise self._unread(error, file_offset, file_offset + len(buffer)) from None
        if count != len(buffer):
            self._read_from(buffer, count, file_offset)

    def _read_from(self, buffer: memoryview, done: int, file_offset: int) -> None:
        """Fill what is missing of a buffer of which the first ``done`` bytes were read."""
        while done < len(buffer):
            try:
                count = system.preadv(self._descriptor, (buffer[done:],), file_offset + done)
            except OSError as error:
                raise self._unread(error, file_offset + done, file_offset + len(buffer)) from None
            if count == 0:
                raise ended_early(self._name, file_offset, len(buffer))
            done += count

    def send(self, output: int, length: int, file_offset: int) -> int:
        """How many bytes of a range, from its start on, the kernel has copied to where a descriptor stands.

        Less than ``length``, or 0, where it can do no more or one of the two fails: then read, and write.
        """
        done = 0
        try:
            while done < length:
                count = host.send(self._descriptor, output, length - done, file_offset + done)
                if count == 0:
                    break
                done += count
        except OSError:  # whose failure it is tells whoever reads and writes
            pass
        return done

    def data_ranges(self, file_offset: int, length: int) -> Iterator[tuple[int, int]]:
        """The runs of a range that the host does not know to be holes."""
        return host.data_ranges(self._descriptor, file_offset, length)

    def write_at(self, data: bytes | bytearray | memoryview, file_offset: int) -> None:
        """Write all of ``data``, in one system call unless the host takes fewer bytes at once."""
        if self._is_dense and file_offset + len(data) > self.size():
            self._write_growing(data, file_offset)
            return
        self._write(data, file_offset)

    def _write_growing(self, data: bytes | bytearray | memoryview, file_offset: int) -> None:
        """Two that grow the file at once must not fill up what the other one wrote."""
        with self._growing:
            self._fill_up(file_offset)
            self._write(data, file_offset)

    def _fill_up(self, end: int) -> None:
        """Give the file space up to a place, by reserving it or by writing zeros."""
        start = self.size()
        if start >= end:
            return
        with self._naming(end - start):
            if host.reserve(self._descriptor, start, end - start):
                system.ftruncate(self._descriptor, end)
                return
        for place, count in pieces(start, end - start, len(ZEROS)):
            self._write(ZEROS[:count], place)

    def _write(self, data: bytes | bytearray | memoryview, file_offset: int) -> None:
        try:
            done = system.pwrite(self._descriptor, data, file_offset)
            while done < len(data):
                done += system.pwrite(self._descriptor, memoryview(data)[done:], file_offset + done)
        except OSError as error:
            raise self._named(error, len(data)) from None

    def flush(self) -> None:
        """Return when everything written before is durable."""
        with self._naming():
            host.synchronize(self._descriptor)

    def start_writing_back(self) -> None:
        """Let the host begin to write the file to its disk, so that the next flush finds less to do."""
        host.start_writing_back(self._descriptor)

    def resize(self, size: int) -> None:
        """Cut or extend the file; what is added reads as zeros."""
        if self._is_dense:
            with self._growing:
                self._fill_up(size)
        with self._naming():
            system.ftruncate(self._descriptor, size)

    def zero(self, file_offset: int, length: int) -> None:
        """Make a range inside the file read as zeros, keeping its space."""
        with self._naming(length):
            if host.zero_range(self._descriptor, file_offset, length):
                return
        for start, count in pieces(file_offset, length, len(ZEROS)):
            self.write_at(ZEROS[:count], start)

    def punch(self, file_offset: int, length: int) -> bool:
        """Give the space of a range back, so that it reads as zeros; False where the host cannot."""
        if self._is_dense:
            return False
        with self._naming():
            return host.punch(self._descriptor, file_offset, length)

    def clone_from(self, source: FileStorage, source_offset: int, length: int, file_offset: int) -> bool:
        """Share the space of a range of another file; False where the file system cannot.

        All three numbers are multiples of the file system's blocks.
        """
        with self._growing if self._is_dense else contextlib.nullcontext():
            if self._is_dense:
                self._fill_up(file_offset)
            with self._naming(length):
                return host.clone_range(
                    source._descriptor, source_offset, length, self._descriptor, file_offset
                )

    def may_share_with(self, source: FileStorage) -> bool:
        """Whether the file system lets this file share space of another one; nothing is changed."""
        return host.may_share(source._descriptor, self._descriptor)

    def shared_unit(self) -> int:
        """The blocks of the file system, which files may share; 0 where they cannot."""
        return host.shared_unit(self._descriptor)

    def reserve(self, file_offset: int, length: int) -> bool:
        """Claim space on the host for a range without changing the file's length.

        False where the host cannot. Raises OSError (ENOSPC) when the disk is full.
        """
        with self._naming(length):
            if host.reserve(self._descriptor, file_offset, length):
                return True
        return self._is_dense and file_offset + length <= self.size() <= self.allocated()

    @contextlib.contextmanager
    def _naming(self, wanted: int = 0) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._named(error, wanted) from None

    def _unread(self, error: OSError, failed_at: int, end: int) -> OSError:
        """The error with the file's name and, if it is the host's disk that fails, where."""
        if error.errno != errno.EIO:
            return self._named(error)
        return HostReadError(error, self._name, failed_at, end, self.salvage)

    def _named(self, error: OSError, wanted: int = 0) -> OSError:
        """The error with the file's name, which calls on a descriptor do not know.

        Where the host is full it says how many bytes were ``wanted``, how many there are, what the file takes
        and how much of that was written since it was opened.
        """
        if error.errno in _FULL and wanted:
            free = host.free_space(self._descriptor)
            told = free is not None and error.errno == errno.ENOSPC
            there = f" where {format_size(free or 0)} are free" if told else ""
            taken = self.allocated()
            grown = max(0, taken - self.taken_when_opened)
            error.strerror = (
                f"{error.strerror}: {format_size(wanted)} were wanted{there}, the file takes "
                f"{format_size(taken)} ({format_size(grown)} more than when it was opened); {GIVES_BACK}"
            )
        error.filename = self._name
        return error

    def close(self) -> None:
        """Let go of the file and its locks.

        The number of the descriptor stays taken until nobody holds this object any more: a read that is
        still running in another thread must not meet another file that was opened under the number.
        """
        if self._closed:
            return
        try:
            self._let_go()
        except BaseException:  # an interrupt must not leave the file locked
            self._let_go()
            raise
        finally:
            self._closed = True

    def lent(self) -> FileStorage:
        """The same opening once more: closing it lets go of nothing that this one holds, locks included."""
        return _LentStorage(host.duplicate(self._descriptor), self._name, is_dense=self._is_dense)

    def pinned(self) -> FileStorage:
        """The file once more, for its `identity` alone, which no other gets before this is closed."""
        return _PinnedStorage(host.pin(self._descriptor), self._name, self.identity())

    def _let_go(self) -> None:
        if os.getpid() == self._process:  # a fork shares the locks, which are not the child's to undo
            host.unlock(self._descriptor)
        host.release(self._descriptor)

    def __del__(self) -> None:
        host.close(self._descriptor)


class _LentStorage(FileStorage):
    """A file that somebody else keeps open, with its locks."""

    def _let_go(self) -> None:
        host.release(self._descriptor)


class _PinnedStorage(_LentStorage):
    """A file whose identity stays taken. Its path may be another here, which some hosts number otherwise."""

    def __init__(self, descriptor: host.Descriptor, name: str, identity: tuple[int, int]) -> None:
        super().__init__(descriptor, name)
        self._identity = identity

    def identity(self) -> tuple[int, int]:
        """That of the opening that was pinned."""
        return self._identity


class _FleetingStorage(FileStorage):
    """A file that does not outlive its process."""

    def flush(self) -> None:
        """Nothing: after a crash the file is gone."""


def identity_of(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Device and inode of the file under a name, as `FileStorage.identity` tells of one that is open."""
    return host.identity_at(os.fspath(path))
