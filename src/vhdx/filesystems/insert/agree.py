"""The directories of a FAT against its table, of which nobody else needs to know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.insert.base import ADVICE

if TYPE_CHECKING:
    from vhdx.filesystems.insert.fat import FatLayout


def check_tree(layout: FatLayout) -> None:
    """Raises NotFreeError where two names stand for one chain, or a name for clusters that are free.

    The first could be another file that is in the clusters of one that is replaced, the second one that a
    new file would be written over.
    """
    seen: set[int] = set()
    waiting = [layout.root()]
    while waiting:
        directory = waiting.pop()
        for old in {each.slot: each for each in directory.old.values()}.values():
            if not old.first:
                continue
            if old.first in seen:
                raise NotFreeError(f"two files of it begin at cluster {old.first}: {ADVICE}")
            seen.add(old.first)
            if layout.is_free(old.first):
                raise NotFreeError(f"a file of it begins at cluster {old.first}, which is free: {ADVICE}")
            if old.is_directory:
                waiting.append(layout.opened(directory, old))
