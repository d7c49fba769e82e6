"""Holes that the host's file system keeps in the file of an image."""

from __future__ import annotations

from vhdx import rules
from vhdx.rules import Finding, Place
from vhdx.storage.file import FileStorage
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from vhdx.storage.base import ReadableStorage


def refused_holes(storage: ReadableStorage) -> tuple[Finding, ...]:
    """A note if Windows would refuse the file for its holes."""
    reason = storage.has_refused_holes() if isinstance(storage, FileStorage) else None
    return () if reason is None else (Finding(rules.FILE_HOLES, Place("file", 0), reason),)
