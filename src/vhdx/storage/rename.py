"""How a new file gets its name on POSIX: by a hard link, which replaces nothing, or by renaming."""

from __future__ import annotations

import errno
import os
import sys

from vhdx.storage import host

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
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), final) from None
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        _rename_without_links(temporary, final)


def _rename_without_links(temporary: str, final: str) -> None:
    """Claim the name for ourselves first: then the renaming can replace nobody else's file."""
    os.close(host.open_file(final, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    try:
        os.replace(temporary, final)
    except BaseException:
        os.unlink(final)
        raise
