"""What is said where a package is missing that an extra of this one names."""

from __future__ import annotations

import errno


def missing_extra(extra: str, why: object = "") -> OSError:
    """The error for what only the packages of an extra can read or write."""
    told = f"{why}; " if why else "this needs packages that are not installed; "
    return OSError(errno.ENOSYS, f"{told}try: pip install 'vhdx[{extra}]'")
