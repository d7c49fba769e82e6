"""What the words for SOURCE and TARGET stand for: the table of all places that a disk comes from or goes to.

`vhdx.ops.make.opening` reads what is read, `vhdx.ops.make.destination` writes what is written; what is not
says so here, in one sentence each.
"""

from __future__ import annotations

import os
import stat

from vhdx.storage.stream import is_url
from vhdx.typed import NamedTuple


class Address(NamedTuple):
    """A kind of place; where it is not read or not written, the sentence that says so and what else works."""

    kind: str
    unread: str = ""
    unwritten: str = ""


PIPE = Address("a pipe")
DEVICE = Address("a block device")
FILE = Address("a file")
EXPORT = Address("an NBD export")
_ENCRYPTED = Address(
    "an NBD export behind TLS",
    unread="TLS is not spoken to NBD servers: nbdcopy URI - | vhdx convert -f raw - TARGET",
    unwritten="TLS is not spoken to NBD servers: vhdx convert -O raw SOURCE - | nbdcopy - URI",
)
_WEB = Address(
    "a web server",
    unwritten="web servers are only read: write a file, or into S3, Google Cloud Storage or Azure",
)
OBJECT = Address("an object")
BLOB = Address("a blob of Azure")
_ELSEWHERE = Address("a URL", unwritten="URLs of this kind are only read: write a file, and upload that")
SCHEMES = {
    "nbd": EXPORT,
    "nbd+unix": EXPORT,
    "nbds": _ENCRYPTED,
    "nbds+unix": _ENCRYPTED,
    "http": _WEB,
    "https": _WEB,
    "s3": OBJECT,
    "gs": OBJECT,
    "az": BLOB,
}
"""What is in front of ``://``; hosts of Azure's blobs are known besides, other schemes are read by fsspec."""


def address_of(place: object) -> Address:
    """The kind of place that a word stands for; file objects are read as files are."""
    if place == "-":
        return PIPE
    if is_url(place):
        from vhdx.storage.blob_address import names_blob  # noqa: PLC0415  most places are files

        if names_blob(place):
            return BLOB
        return SCHEMES.get(place.partition("://")[0].lower(), _ELSEWHERE)
    if isinstance(place, str | os.PathLike) and is_block_device(os.fspath(place)):
        return DEVICE
    return FILE


def readable(place: object) -> Address:
    """The kind of place that a disk comes from. Raises ValueError for one that is not read."""
    address = address_of(place)
    if address.unread:
        raise ValueError(f"{shown(str(place))}: {address.unread}")
    return address


def writable(place: str) -> Address:
    """The kind of place that a disk goes to. Raises ValueError for one that is not written."""
    address = address_of(place)
    if address.unwritten:
        raise ValueError(f"{shown(place)}: {address.unwritten}")
    return address


def shown(place: str) -> str:
    """A place as it may be shown: of a URL nothing secret."""
    if not is_url(place):
        return place
    from vhdx.storage.blob_address import without_secrets  # noqa: PLC0415  most places are files

    return without_secrets(place)


def is_block_device(path: str) -> bool:
    """Whether a path names one."""
    try:
        return stat.S_ISBLK(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False
