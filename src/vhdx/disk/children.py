"""Which images beside a file have it for their parent: whom a change of its contents would orphan."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vhdx.errors import VhdxError
from vhdx.format.identifier import SIGNATURE
from vhdx.image import image, metadata
from vhdx.storage.file import open_for_reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from uuid import UUID


def children_beside(path: str, identity: UUID) -> Iterator[str]:
    """The images in the directory of ``path`` that know ``identity`` for their parent's, by name.

    Files that are no sound image are passed over: whose children they were nobody can tell.
    """
    directory = os.path.dirname(os.path.realpath(path))
    for name in sorted(_names_in(directory)):
        other = os.path.join(directory, name)
        if identity in _known_parents(other):
            yield other


def _names_in(directory: str) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries if entry.is_file()]


def _known_parents(path: str) -> Iterable[UUID]:
    try:
        file = open_for_reading(path, lock=False)
    except OSError:
        return ()
    try:
        if file.size() < len(SIGNATURE) or file.read(len(SIGNATURE), 0) != SIGNATURE:
            return ()
        return metadata.linkages(image.load(file).metadata.locator or {})
    except (OSError, VhdxError):
        return ()
    finally:
        file.close()
