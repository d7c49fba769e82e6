"""What a blob service refuses, as errors of the host, in words that hold no secret."""

from __future__ import annotations

import errno
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vhdx.storage.blob_address import BlobAddress

GONE = errno.ECONNABORTED
"""Not EIO: nothing is wrong with what is read, and nobody should go on without it."""
NOBODY = "nobody is logged in whom the service could know, and no SAS and no key is set; try: az login"
_DEEPEST = 8
"""How many reasons of reasons are looked into."""


class ChangedError(OSError):
    """The blob is not the one any more that a request was meant for."""


_KINDS: dict[int, tuple[type[OSError], int, str]] = {
    401: (PermissionError, errno.EACCES, "the service does not know who asks"),
    403: (PermissionError, errno.EACCES, "the service does not allow it"),
    404: (FileNotFoundError, errno.ENOENT, "there is no such blob, or no such container"),
    409: (OSError, errno.EBUSY, "the service does not do this to it now"),
    412: (ChangedError, errno.ESTALE, "it was changed meanwhile"),
    416: (OSError, errno.EINVAL, "it has fewer bytes than it had"),
}
_CODES: dict[str, tuple[type[OSError], int, str]] = {
    "BlobAlreadyExists": (FileExistsError, errno.EEXIST, "it exists already"),
    "ContainerNotFound": (OSError, errno.ENOENT, "there is no such container: make it first"),
    "InvalidBlobOrBlock": (
        OSError,
        errno.EBUSY,
        "blocks of another program's unfinished upload are in the way, for a week: choose another name",
    ),
    "InvalidBlockList": (
        OSError,
        errno.ESTALE,
        "the service has not all blocks of this upload any more: another one to it ended meanwhile",
    ),
    "SequenceNumberConditionNotMet": (
        ChangedError,
        errno.ESTALE,
        "another upload to it was begun meanwhile, and has it now",
    ),
    "LeaseIdMissing": (OSError, errno.EBUSY, "somebody holds a lease on it"),
}


def refused(address: BlobAddress, status: int, code: str) -> OSError:
    kind, number, sentence = _CODES.get(code) or _KINDS.get(
        status, (OSError, GONE, "the service did not do it")
    )
    told = " ".join(filter(None, (str(status), code if code.isalnum() else "")))
    return kind(number, f"{sentence} ({told}){_about_sas(address) if status == 403 else ''}", address.name)


def _about_sas(address: BlobAddress) -> str:
    """Why a SAS may be refused, as it says itself."""
    if address.ends is None:
        return "" if address.sas else "; no SAS and no key is known for this account"
    try:
        ends = datetime.fromisoformat(address.ends)
    except ValueError:
        return ""
    ends = ends if ends.tzinfo else ends.replace(tzinfo=UTC)
    if ends.timestamp() < time.time():
        return f"; the SAS ended at {ends.isoformat()}: get a new one"
    return f"; the SAS lasts until {ends.isoformat()}, see what it allows"


def why(error: BaseException) -> str:
    """The innermost reason, in words that hold no address: those of the libraries show the whole query."""
    seen: BaseException | None = error
    reasons: list[BaseException] = []
    while seen is not None and len(reasons) < _DEEPEST:
        reasons.append(seen)
        inner = getattr(seen, "reason", None) or getattr(seen, "inner_exception", None)
        seen = inner if isinstance(inner, BaseException) else seen.__cause__ or seen.__context__
    told = [each.strerror for each in reasons if isinstance(each, OSError) and each.strerror]
    if told and "?" not in told[-1] and "://" not in told[-1]:
        return told[-1]
    text = str(error)
    return text if "?" not in text and "/" not in text and len(text) < 100 else type(reasons[-1]).__name__
