"""Put an image right where nothing has to be guessed: a dirty log, a damaged copy of what stands twice."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from vhdx import rules
from vhdx.format import guids
from vhdx.image import image
from vhdx.image.write import Writer
from vhdx.storage.file import open_for_writing

if TYPE_CHECKING:
    from vhdx.image.image import Image

_MENDED_BY_REWRITING = frozenset(
    {rules.HEADER_DAMAGED, rules.REGION_TABLE_DAMAGED, rules.REGION_TABLES_DIFFER}
)


class RepairResult(NamedTuple):
    """What was done, as sentences; empty if nothing was needed."""

    path: str
    done: tuple[str, ...]


def repair(path: str | os.PathLike[str], *, lock: bool = True) -> RepairResult:
    """Replay a dirty log in its place and put damaged copies of a header or the region table right.

    Parents are not looked for. What a read of the disk returns stays as it is, and so does the identity
    that children know it by. Raises what opening for writing raises; an image that cannot be opened, or
    that needs nothing, is not touched.
    """
    storage = open_for_writing(os.fspath(path), lock=lock)
    try:
        opened = image.load(storage)
        needed = tuple(_needed(opened))
        writer = Writer(storage, opened, on_failure=_ignore)
        writer.mend()
        writer.close()
    finally:
        storage.close()
    return RepairResult(os.fspath(path), needed)


def _ignore() -> None:
    """Nobody else uses the image."""


def _needed(opened: Image) -> list[str]:
    done = []
    if opened.header.log_guid != guids.NIL and opened.sequence is not None:
        count = len(opened.sequence.positions)
        done.append(f"log: replayed {count} {'entry' if count == 1 else 'entries'}")
    return done + [
        f"{finding.place.structure}: rewritten; it was not as it should be: {finding.detail}"
        for finding in opened.findings
        if finding.rule in _MENDED_BY_REWRITING
    ]
