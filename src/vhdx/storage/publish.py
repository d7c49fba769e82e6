"""A new file that appears under its name whole or not at all.

It is written under a temporary name in the same directory, locked as by a writer, flushed, then given its
name in a way that fails if the name is taken; or by renaming over a file that is meant to be replaced, once
that is locked and still is the one that the name stands for.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from vhdx.errors import ImageLockedError
from vhdx.storage import host, locks
from vhdx.storage.file import (
    ATTEMPTS,
    FileStorage,
    closing_on_failure,
    is_named,
    refuse_standard_output,
    replaced_meanwhile,
)
from vhdx.storage.parts import part_name, remove_left_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
_NO_FOLLOWING = getattr(os, "O_NOFOLLOW", 0)
_NO_WAITING = getattr(os, "O_NONBLOCK", 0)


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
    refuse_standard_output(path)
    # Links stay: what they name is replaced.
    final = os.path.realpath(path) if os.path.lexists(path) else path
    for sentence in remove_left_over(final):
        if remark is not None:
            remark(sentence)
    if os.path.lexists(path):
        _refuse_other_kinds(final, path)
        if not overwrite:
            raise _exists(path)
    with _old_file(final, path) if overwrite else contextlib.nullcontext() as old:
        directory, name = os.path.split(final)
        temporary = os.path.join(directory or ".", part_name(name))
        with _removed_at_end(temporary), _created(temporary, path) as storage:
            yield storage
            if sync:
                storage.flush()
            if overwrite:
                _publish_over(temporary, final, path, storage, old, sync=sync)
            else:
                _publish(temporary, final, storage, sync=sync)


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
        # It shows that somebody still writes to the part, and keeps others out until all is published.
        with contextlib.suppress(ImageLockedError):  # hosts without locks
            locks.acquire_writer(descriptor, path)
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
def _withdrawn_on_failure(final: str, identity: tuple[int, int]) -> Iterator[None]:
    """Take a new name away again if publishing fails: who is told of a failure must find no file."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            if is_named(final, identity):
                os.unlink(final)
        raise


@contextlib.contextmanager
def _old_file(final: str, path: str) -> Iterator[int | None]:
    """Hold what stands under a name as a writer does; its descriptor, None if nothing does.

    Raises ImageLockedError if it is in use, ValueError for what is no regular file.
    """
    descriptor = _held(final, path)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _held(final: str, path: str) -> int | None:
    for _ in range(ATTEMPTS):
        _refuse_other_kinds(final, path)
        try:
            descriptor = host.open_file(final, os.O_RDONLY | _NO_FOLLOWING | _NO_WAITING)
        except FileNotFoundError:
            return None
        with closing_on_failure(descriptor):
            locks.acquire_writer(descriptor, path)
            if is_named(final, host.identity_of(descriptor)):
                return descriptor
        os.close(descriptor)
    raise replaced_meanwhile(path)


def _refuse_other_kinds(final: str, path: str) -> None:
    if os.path.lexists(final) and not stat.S_ISREG(os.lstat(final).st_mode):
        raise ValueError(f"{path} is there and no regular file, so it is not replaced")


def _publish_over(
    temporary: str, final: str, path: str, storage: FileStorage, old: int | None, *, sync: bool
) -> None:
    """Give the file its name: that of the file ``old``, which is held, or of whatever came meanwhile.

    Raises ImageLockedError if that is in use.
    """
    if old is not None and is_named(final, host.identity_of(old)):
        _replace(temporary, final, sync=sync)
        return
    for _ in range(ATTEMPTS):
        with _old_file(final, path) as other:
            if other is not None:
                _replace(temporary, final, sync=sync)
                return
            with contextlib.suppress(FileExistsError):  # somebody made one between the two calls
                _publish(temporary, final, storage, sync=sync)
                return
    raise replaced_meanwhile(path)


def _replace(temporary: str, final: str, *, sync: bool) -> None:
    os.replace(temporary, final)
    if sync:
        host.synchronize_directory(os.path.dirname(final) or ".")


def _publish(temporary: str, final: str, storage: FileStorage, *, sync: bool) -> None:
    """Give the file a name that nothing has. Raises FileExistsError."""
    with _withdrawn_on_failure(final, storage.identity()):
        _name(temporary, final)
        if sync:
            host.synchronize_directory(os.path.dirname(final) or ".")


def _name(temporary: str, final: str) -> None:
    try:
        os.link(temporary, final)
    except FileExistsError:
        raise _exists(final) from None
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if not host.rename_to_new(temporary, final):
            _rename_over_claim(temporary, final)


def _rename_over_claim(temporary: str, final: str) -> None:
    """Claim the name with an empty file first: then the renaming can replace nobody else's file.

    Whoever is killed between the two leaves it: `remove_left_over` knows it by the part beside it.
    """
    descriptor = host.open_file(final, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        claim = host.identity_of(descriptor)
        with _withdrawn_on_failure(final, claim):
            with contextlib.suppress(ImageLockedError):  # hosts without locks
                locks.acquire_writer(descriptor, final)
            if not is_named(final, claim):
                raise _exists(final)
            os.replace(temporary, final)
    finally:
        os.close(descriptor)


def _exists(path: str) -> FileExistsError:
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
