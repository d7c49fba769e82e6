"""The blob that an upload writes to: made, found empty, cleared, or gone on with."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from vhdx.ops.blobs.advice import room_for
from vhdx.ops.blobs.journal import Identity, Journal, journal_of, read_journal
from vhdx.storage.page_blob import Found
from vhdx.units import size_text

if TYPE_CHECKING:
    from typing import Any

    from vhdx.storage.page_blob import PageBlob

PAGE_BLOB = "PageBlob"


def room_of(
    blob: PageBlob, size: int, *, overwrite: bool, resume: str | None, source: list[Any] | None
) -> Journal | None:
    """Let there be a page blob of so many zeros, or what a journal at ``resume`` tells of; that journal.

    Nothing is made or resized where the address does not allow it: then the blob is there and has its size.
    Raises FileExistsError for one that holds something, unless ``overwrite``; ValueError for other kinds of
    blobs, for a size that stays wrong, and for the journal of another upload.
    """
    told = None if resume is None else read_journal(resume)
    found = _unseen(blob, size) if blob.address.hides_contents else blob.look()
    if found is not None and found.kind != PAGE_BLOB:
        raise ValueError(f"{blob.name} is a {found.kind}, and disks are page blobs: choose another name")
    if told is not None and (found is None or found.size != size):
        raise ValueError(
            f"{resume} tells of an upload to a blob of {size} bytes; {blob.name} is none any more"
        )
    if told is None:
        found = _made(blob, found, size, overwrite=overwrite)
    assert found is not None
    if resume is None:
        return None
    journal = journal_of(resume, told, Identity(source or [], blob.name, found.created, size))
    journal.save()
    return journal


def _unseen(blob: PageBlob, size: int) -> Found:
    """The blob that a SAS lets be written to, but not be looked at."""
    if blob.ends_at(size):
        return Found(size, PAGE_BLOB, "", "")
    raise ValueError(
        f"{blob.name} does not have the {size} bytes that this disk takes as a VHD, as far as can be told "
        "with a SAS that does not allow reading"
    )


def _made(blob: PageBlob, found: Found | None, size: int, *, overwrite: bool) -> Found:
    """The blob, all zeros."""
    if found is None:
        if not blob.address.allows_creation:
            raise FileNotFoundError(
                errno.ENOENT, "there is no such blob, and this SAS does not allow to make one", blob.name
            )
        blob.create(size)
    elif found.size != size:
        _replace(blob, found, size, overwrite=overwrite)
    elif found.etag and next(blob.page_ranges(found.etag), None) is None:
        return found
    elif not overwrite:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), blob.name)
    else:
        blob.clear(0, size)
        return found
    made = blob.look()
    if made is None:
        raise FileNotFoundError(errno.ENOENT, "the blob was deleted while it was written to", blob.name)
    return made


def _replace(blob: PageBlob, found: Found, size: int, *, overwrite: bool) -> None:
    """Make it anew with another size, where that may be."""
    if not blob.address.allows_creation:
        advice = f"; make one that takes it: {room_for(size)}" if blob.address.is_managed_disk else ""
        raise ValueError(
            f"{blob.name} has {size_text(found.size)}, this disk takes {size_text(size)} as a VHD, and this "
            f"address does not allow another size{advice}"
        )
    if not overwrite:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), blob.name)
    blob.create(size, over=found.etag)
