"""A new file that appears under its name whole or not at all.

It is written under a temporary name in the same directory, flushed, then given its name: by a hard link,
which fails if the name is taken, or by renaming over a file that is locked and meant to be replaced. Windows
renames without replacing, too, but nothing over a file that is open: the lock is let go of right before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from typing import TYPE_CHECKING

from vhdx.storage.file import FileStorage, identity_of

if sys.platform == "win32":
    from vhdx.storage import windows as host
    from vhdx.storage.windows import rename
    from vhdx.storage.windows_paths import refuse_as_new
else:
    from vhdx.storage import host
    from vhdx.storage.rename import rename

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def new_file(path: str, *, overwrite: bool) -> Iterator[FileStorage]:
    """A file to be filled inside the ``with``; published at its end, gone if anything raises.

    ``overwrite`` replaces an existing regular file, which is locked as by a writer until then. Raises
    FileExistsError, ImageLockedError, ValueError for something that is no regular file, OSError.
    """
    if sys.platform == "win32":
        refuse_as_new(path)
    with _replaced(path, overwrite=overwrite) as (final, let_go):
        directory = os.path.dirname(final) or "."
        temporary = os.path.join(directory, f".vhdx-{os.urandom(8).hex()}.part")
        with _removed_at_end(temporary), _created(temporary, path) as storage:
            yield storage
            storage.flush()
            replaces = overwrite and os.path.lexists(final)
            if sys.platform == "win32":
                let_go()
            with _withdrawn_on_failure(final, storage.identity(), replaces=replaces):
                rename(temporary, final, overwrite=overwrite)
                host.synchronize_directory(directory)


def remove_file(path: str) -> None:
    """Take a name away, durably."""
    os.unlink(path)
    host.synchronize_directory(os.path.dirname(path))


@contextlib.contextmanager
def _created(temporary: str, path: str) -> Iterator[FileStorage]:
    """A new file under its temporary name; what goes wrong with it is said of ``path``."""
    try:
        descriptor = host.create(temporary)
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
                if not os.path.islink(final) and identity_of(final) == identity:
                    os.unlink(final)
        raise


@contextlib.contextmanager
def _replaced(path: str, *, overwrite: bool) -> Iterator[tuple[str, Callable[[], None]]]:
    """The final name, what stands under it held as by a writer; and what lets go of it early."""
    with contextlib.ExitStack() as held:
        if not os.path.lexists(path):
            yield path, held.close
            return
        final = os.path.realpath(path)  # what a link points at is replaced, not the link
        if os.path.exists(final) and not stat.S_ISREG(os.stat(final).st_mode):
            raise ValueError(f"{path} is there and no regular file, so it is not replaced")
        if not overwrite:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        if os.path.exists(final):
            held.callback(host.close, host.open_to_replace(final, path))
        yield final, held.close
