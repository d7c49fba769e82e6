"""A new file that appears under its name whole or not at all.

It is written under a temporary name in the same directory, flushed, then given its name: by a hard link,
which fails if the name is taken, or by renaming over a file that is locked and meant to be replaced.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from vhdx.storage import host, locks
from vhdx.storage.file import FileStorage, closing_on_failure

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


@contextlib.contextmanager
def new_file(path: str, *, overwrite: bool, sync: bool = True) -> Iterator[FileStorage]:
    """A file to be filled inside the ``with``; published at its end, gone if anything raises.

    ``overwrite`` replaces an existing regular file, which is locked as by a writer until then. Raises
    FileExistsError, ImageLockedError, ValueError for something that is no regular file, OSError. Without
    ``sync`` nothing is waited for: after a loss of power the name may stand for less than was written.
    """
    with _replaced(path, overwrite=overwrite) as final:
        directory = os.path.dirname(final) or "."
        temporary = os.path.join(directory, f".vhdx-{os.urandom(8).hex()}.part")
        with _removed_at_end(temporary), _created(temporary, path) as storage:
            yield storage
            if sync:
                storage.flush()
            replaces = overwrite and os.path.lexists(final)
            with _withdrawn_on_failure(final, storage.identity(), replaces=replaces):
                _publish(temporary, final, overwrite=overwrite)
                if sync:
                    host.synchronize_directory(directory)


@contextlib.contextmanager
def _created(temporary: str, path: str) -> Iterator[FileStorage]:
    """A new file under its temporary name; what goes wrong with it is said of ``path``."""
    try:
        # Permissions follow the umask, as for any new file.
        descriptor = host.open_file(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, path) from None
    storage = FileStorage(descriptor, path)
    try:
        yield storage
    finally:
        storage.close()


@contextlib.contextmanager
def _removed_at_end(path: str) -> Iterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)


@contextlib.contextmanager
def _withdrawn_on_failure(final: str, identity: tuple[int, int], *, replaces: bool) -> Iterator[None]:
    """Take a new name away again if publishing fails: who is told of a failure must find no file."""
    try:
        yield
    except BaseException:
        if not replaces:
            with contextlib.suppress(OSError):
                status = os.lstat(final)
                if (status.st_dev, status.st_ino) == identity:
                    os.unlink(final)
        raise


@contextlib.contextmanager
def _replaced(path: str, *, overwrite: bool) -> Iterator[str]:
    """The final name, what stands under it held as by a writer."""
    if not os.path.lexists(path):
        yield path
        return
    final = os.path.realpath(path)  # what a link points at is replaced, not the link
    if os.path.exists(final) and not stat.S_ISREG(os.stat(final).st_mode):
        raise ValueError(f"{path} is there and no regular file, so it is not replaced")
    if not overwrite:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    if not os.path.exists(final):
        yield final
        return
    descriptor = host.open_file(final, os.O_RDONLY)
    with closing_on_failure(descriptor):
        locks.acquire_writer(descriptor, path)
    try:
        yield final
    finally:
        os.close(descriptor)


def _publish(temporary: str, final: str, *, overwrite: bool) -> None:
    if overwrite:
        os.replace(temporary, final)
        return
    try:
        os.link(temporary, final)
    except FileExistsError:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), final) from None
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        _publish_without_links(temporary, final)


def _publish_without_links(temporary: str, final: str) -> None:
    """Claim the name for ourselves first: then the renaming can replace nobody else's file."""
    os.close(host.open_file(final, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    try:
        os.replace(temporary, final)
    except BaseException:
        os.unlink(final)
        raise
