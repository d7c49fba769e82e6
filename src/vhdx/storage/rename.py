"""How a new file gets its name on POSIX: by a hard link, which replaces nothing, or by renaming."""

from __future__ import annotations

import contextlib
import errno
import os
import sys

from vhdx.errors import ImageLockedError
from vhdx.storage import host, locks
from vhdx.storage.file import is_named
from vhdx.storage.parts import withdrawn_on_failure

assert sys.platform != "win32"

_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


def rename(temporary: str, final: str, *, overwrite: bool) -> None:
    """Give a file its name: instead of another file, or only if nothing has the name yet.

    Raises FileExistsError, OSError.
    """
    if overwrite:
        os.replace(temporary, final)
        return
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
        with withdrawn_on_failure(final, claim):
            with contextlib.suppress(ImageLockedError):  # hosts without locks
                locks.acquire_writer(descriptor, final)
            if not is_named(final, claim):
                raise _exists(final)
            os.replace(temporary, final)
    finally:
        os.close(descriptor)


def _exists(path: str) -> FileExistsError:
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
