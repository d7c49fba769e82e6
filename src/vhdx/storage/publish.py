"""A new file that appears under its name whole or not at all.

It is written under a temporary name in the same directory, locked as by a writer, flushed, then given its
name in a way that fails if the name is taken; or by renaming over a file that is meant to be replaced, once
that is locked and still is the one that the name stands for. Windows renames nothing over a file that is
open: there the lock is let go of right before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys

from vhdx.storage.file import (
    ATTEMPTS,
    FileStorage,
    is_named,
    refuse_as_target,
    replaced_meanwhile,
)
from vhdx.storage.parts import part_name, remove_left_over, withdrawn_on_failure
from vhdx.typed import TYPE_CHECKING

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
def new_file(
    path: str, *, overwrite: bool, sync: bool = True, remark: Callable[[str], None] | None = None
) -> Iterator[FileStorage]:
    """A file to be filled inside the ``with``; published at its end, gone if anything raises.

    ``overwrite`` replaces an existing regular file, which is locked as by a writer until then; also one that
    comes in the meantime. Without ``sync`` nothing is waited for: after a loss of power the name may stand
    for less than was written. ``remark`` is told what dead processes had left beside it, which is removed.
    Raises FileExistsError, ImageLockedError, ValueError for something that is no regular file, OSError.
    """
    refuse_as_target(path)
    if sys.platform == "win32":
        refuse_as_new(path)
    # Links stay: what they name is replaced.
    final = os.path.realpath(path) if os.path.lexists(path) else path
    for sentence in remove_left_over(final):
        if remark is not None:
            remark(sentence)
    if _is_taken(path):
        _refuse_other_kinds(final, path)
        if not overwrite:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    with _old_file(final, path) if overwrite else contextlib.nullcontext() as old:
        directory, name = os.path.split(final)
        temporary = os.path.join(directory or ".", part_name(name))
        with _removed_at_end(temporary), _created(temporary, path) as storage:
            storage.follow_wishes()
            yield storage
            if remark is not None and storage.hole_remark is not None:
                remark(storage.hole_remark)
            if sync:
                storage.flush()
            if overwrite:
                _publish_over(temporary, final, path, storage, old, sync=sync)
            else:
                _publish(temporary, final, storage, sync=sync)


def remove_file(path: str, held: FileStorage) -> None:
    """Take the name of a file away that we hold, durably."""
    if sys.platform == "win32":
        held.close()  # nothing is removed that is open
    os.unlink(path)
    host.synchronize_directory(os.path.dirname(path) or ".")


@contextlib.contextmanager
def _created(temporary: str, path: str) -> Iterator[FileStorage]:
    """A new file under its temporary name; what goes wrong with it is said of ``path``.

    That it is held shows that somebody still writes to the part, and keeps others out until all is published.
    """
    try:
        descriptor = host.create(temporary, path)
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
def _old_file(final: str, path: str) -> Iterator[host.Descriptor | None]:
    """Hold what stands under a name as a writer does; its descriptor, None if nothing does.

    Raises ImageLockedError if it is in use, ValueError for what is no regular file.
    """
    descriptor = _held(final, path)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            host.close(descriptor)


def _held(final: str, path: str) -> host.Descriptor | None:
    for _ in range(ATTEMPTS):
        _refuse_other_kinds(final, path)
        try:
            descriptor = host.open_to_replace(final, path)
        except FileNotFoundError:
            return None
        try:
            named = is_named(final, host.identity_of(descriptor))
        except BaseException:
            host.close(descriptor)
            raise
        if named:
            return descriptor
        host.close(descriptor)
    raise replaced_meanwhile(path)


def _is_taken(path: str) -> bool:
    """Whether anything has a name. Raises OSError for one that nothing can have, before all is done."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _refuse_other_kinds(final: str, path: str) -> None:
    if os.path.lexists(final) and not stat.S_ISREG(os.lstat(final).st_mode):
        raise ValueError(f"{path} is there and no regular file, so it is not replaced")


def _publish_over(
    temporary: str,
    final: str,
    path: str,
    storage: FileStorage,
    old: host.Descriptor | None,
    *,
    sync: bool,
) -> None:
    """Give the file its name: that of the file ``old``, which is held, or of whatever came meanwhile.

    Raises ImageLockedError if that is in use.
    """
    if old is not None and is_named(final, host.identity_of(old)):
        _replace(temporary, final, old, sync=sync)
        return
    for _ in range(ATTEMPTS):
        with _old_file(final, path) as other:
            if other is not None:
                _replace(temporary, final, other, sync=sync)
                return
            with contextlib.suppress(FileExistsError):  # somebody made one between the two calls
                _publish(temporary, final, storage, sync=sync)
                return
    raise replaced_meanwhile(path)


def _replace(temporary: str, final: str, old: host.Descriptor, *, sync: bool) -> None:
    if sys.platform == "win32":
        host.close(old)  # twice is as good as once there
    rename(temporary, final, overwrite=True)
    if sync:
        host.synchronize_directory(os.path.dirname(final) or ".")


def _publish(temporary: str, final: str, storage: FileStorage, *, sync: bool) -> None:
    """Give the file a name that nothing has. Raises FileExistsError."""
    with withdrawn_on_failure(final, storage.identity()):
        rename(temporary, final, overwrite=False)
        if sync:
            host.synchronize_directory(os.path.dirname(final) or ".")
