"""Which images of a directory have a file for their parent: whom a change of its contents would orphan.

Told by identity, whatever their names for it; but not those that find another file of it: copies of
an image can stand beside it.
"""

from __future__ import annotations

import contextlib
import os
from functools import lru_cache
from typing import TYPE_CHECKING

from vhdx.disk.parents import found_parent
from vhdx.disk.places import ParentPolicy
from vhdx.errors import UnsupportedImageError, VhdxError
from vhdx.format.identifier import SIGNATURE
from vhdx.image import image, metadata
from vhdx.storage.file import identity_of, open_for_reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID


class Families:
    """The images of some directories, each looked at once, by the identities that they know their parents by.

    Files that are no sound image are passed over: whose children they were nobody can tell.
    """

    def __init__(self) -> None:
        self._linkages = lru_cache(maxsize=None)(_linkages_in)

    def children_beside(self, path: str, identity: UUID) -> Iterator[str]:
        """The images beside ``path`` that have it for their parent, which has this identity.

        Beside it is where the name stands, and where the file does that it is a link to.
        """
        places = os.path.realpath(os.path.dirname(path) or "."), os.path.dirname(os.path.realpath(path))
        for directory in dict.fromkeys(places):
            yield from self.children_in(directory, path, identity)

    def children_in(self, directory: str, path: str, identity: UUID) -> Iterator[str]:
        """The same of one directory."""
        for other, known in self._linkages(directory):
            if identity in known and not _finds_another(other, path):
                yield other


def refuse_orphans(
    path: str, identity: UUID, what: str, families: Families | None = None, *, forcible: bool = True
) -> None:
    """Raise UnsupportedImageError if ``what`` would take their parent from images beside a file.

    ``families`` that are shared look at each directory once. ``forcible``: whoever asks may be asked to
    do it nevertheless.
    """
    children = list((families or Families()).children_beside(path, identity))
    if children:
        force = "; --force does it nevertheless" if forcible else ""
        raise UnsupportedImageError(
            f"{what} would take their parent from {', '.join(children)}{force}",
            image=path,
            rule="2.2.2.1",
        )


def _finds_another(child: str, path: str) -> bool:
    """Whether the parent that opening a child finds is another file than this one."""
    with contextlib.closing(open_for_reading(child, lock=False)) as file:
        parent = found_parent(image.load(file), ParentPolicy())
    if parent is None:
        return False
    with contextlib.closing(parent.file) as found:
        return found.identity() != identity_of(path)


def _linkages_in(directory: str) -> tuple[tuple[str, frozenset[UUID]], ...]:
    """(path, identities of its parent) of every child in a directory."""
    try:
        with os.scandir(directory) as entries:
            names = sorted(entry.name for entry in entries if entry.is_file())
    except PermissionError:  # a directory that may be entered, but not listed: nobody can tell
        return ()
    paths = [os.path.join(directory, name) for name in names]
    return tuple((path, known) for path in paths if (known := _known_parents(path)))


def _known_parents(path: str) -> frozenset[UUID]:
    try:
        file = open_for_reading(path, lock=False)
    except (OSError, ValueError):
        return frozenset()
    try:
        if file.size() < len(SIGNATURE) or file.read(len(SIGNATURE), 0) != SIGNATURE:
            return frozenset()
        return metadata.linkages(image.load(file).metadata.locator or {})
    except (OSError, VhdxError):
        return frozenset()
    finally:
        file.close()
