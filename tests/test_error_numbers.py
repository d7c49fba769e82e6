"""Numbers of errors: Python has others on each host, and saying what is wrong must not fail."""

import errno
import re
from pathlib import Path

import vhdx

EVERYWHERE = {
    *("EACCES", "EBADF", "EBUSY", "ECHILD", "ECONNABORTED", "ECONNRESET"),
    *("EDQUOT", "EEXIST", "EFBIG", "EILSEQ", "EINVAL", "EIO"),
    *("EISDIR", "ELOOP", "EMLINK", "ENAMETOOLONG", "ENODATA", "ENODEV"),
    *("ENOENT", "ENOLCK", "ENOMEM", "ENOSPC", "ENOSYS", "ENOTCONN"),
    *("ENOTDIR", "ENOTEMPTY", "ENOTSOCK", "ENOTSUP", "ENOTTY", "ENXIO"),
    *("EOPNOTSUPP", "EPERM", "EPROTO", "EROFS", "ESHUTDOWN", "ESTALE"),
    *("ETIMEDOUT", "EXDEV"),
}


def test_every_number_is_everywhere() -> None:
    sources = Path(vhdx.__file__).parent.rglob("*.py")
    used = {name for path in sources for name in re.findall(r"errno\.(E[A-Z0-9]+)", path.read_text("utf-8"))}
    assert used - EVERYWHERE == set()
    assert {name for name in EVERYWHERE if not hasattr(errno, name)} == set()
