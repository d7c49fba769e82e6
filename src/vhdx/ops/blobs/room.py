"""The blob that an upload writes to: made, found empty, cleared, or gone on with."""

from __future__ import annotations

import errno
import os
import uuid
from typing import TYPE_CHECKING

from vhdx.format import vhd
from vhdx.ops.blobs.advice import room_for
from vhdx.ops.blobs.journal import Identity, Journal, journal_of, read_journal
from vhdx.storage.blob import Found
from vhdx.storage.page_blob import PAGE_SIZE
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
    if resume is None:
        _make(blob, found, size, _number_of(uuid.uuid4()), overwrite=overwrite)
        return None
    journal = journal_of(resume, told, Identity(source or [], blob.name, size))
    if told is not None and found is not None and _is_marked(blob, found, size, journal):
        blob.take(_number_of(journal.upload), found.etag)
        return journal
    if journal.done:
        raise ValueError(
            f"{blob.name} was removed or written over since {resume} was begun: nothing was sent; remove "
            f"{resume} to begin anew"
        )
    journal.save()  # before anything is cleared: where it cannot be kept nothing is lost
    try:
        _make(blob, found, size, _number_of(journal.upload), overwrite=overwrite)
    except BaseException:
        journal.remove()
        raise
    blob.write(_mark(journal), size - PAGE_SIZE)
    return journal


def _number_of(upload: uuid.UUID) -> int:
    """By what the blob knows an upload: few enough bits for every program."""
    return upload.int >> 80


def _mark(journal: Journal) -> bytes:
    """What stands in the place of the footer until all is there."""
    return f"not complete, number {journal.upload}".encode().ljust(PAGE_SIZE, b"\0")


def _is_marked(blob: PageBlob, found: Found, size: int, journal: Journal) -> bool:
    """Whether nobody began anew with the blob since; what is not seen is believed to be as it was."""
    if blob.address.hides_contents:
        return bool(journal.done)
    if found.size != size:
        return False
    page = blob.read(PAGE_SIZE, size - PAGE_SIZE, found.etag)
    if page == _mark(journal):
        return True
    return vhd.footer_damage(page) is None and vhd.unpack_footer(page).unique_id == journal.upload


def _unseen(blob: PageBlob, size: int) -> Found:
    """The blob that a SAS lets be written to, but not be looked at."""
    if blob.ends_at(size):
        return Found(size, PAGE_BLOB, "")
    raise ValueError(
        f"{blob.name} does not have the {size} bytes that this disk takes as a VHD, as far as can be told "
        "with a SAS that does not allow reading"
    )


def _make(blob: PageBlob, found: Found | None, size: int, number: int, *, overwrite: bool) -> None:
    """Let it be there, all zeros, and have this number."""
    if found is None:
        if not blob.address.allows_creation:
            raise FileNotFoundError(
                errno.ENOENT, "there is no such blob, and this SAS does not allow to make one", blob.name
            )
        blob.create(size, number)
    elif found.size != size:
        _replace(blob, found, size, number, overwrite=overwrite)
    elif found.etag and next(blob.page_ranges(found.etag), None) is None:
        blob.take(number, found.etag)
    elif not overwrite:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), blob.name)
    else:
        blob.clear(size, blob.take(number, found.etag))


def _replace(blob: PageBlob, found: Found, size: int, number: int, *, overwrite: bool) -> None:
    """Make it anew with another size, where that may be."""
    if not blob.address.allows_creation:
        advice = f"; make one that takes it: {room_for(size)}" if blob.address.is_managed_disk else ""
        raise ValueError(
            f"{blob.name} has {size_text(found.size)}, this disk takes {size_text(size)} as a VHD, and this "
            f"address does not allow another size{advice}"
        )
    if not overwrite:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), blob.name)
    blob.create(size, number, over=found.etag)
