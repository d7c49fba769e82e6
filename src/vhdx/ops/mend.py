"""Give every image of a directory that lost its parent the one that its identity tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vhdx.disk.parents import first_sentence
from vhdx.errors import VhdxError
from vhdx.ops.rebase import rebase
from vhdx.ops.tree import MOVED, ORPHANED, tree

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from vhdx.ops.tree import TreeImage


_ONLY_READ = "this is a VHD, the older format, which is only read: --parent-dir opens it"


class Mend(NamedTuple):
    """A child, what it calls its parent, and the file that is its parent; why it was not mended, if so."""

    path: str
    format: str
    virtual_size: int
    named: str | None
    parent: str
    problem: str | None = None


class MendResult(NamedTuple):
    """What was mended, or would be, and which images are left without a parent."""

    directory: str
    dry_run: bool
    mended: tuple[Mend, ...]
    orphans: tuple[str, ...]


def mend_all(
    directory: str | os.PathLike[str],
    *,
    dry_run: bool = False,
    confirm: Callable[[tuple[Mend, ...]], bool] = lambda _: True,
) -> MendResult:
    """Rebase every child at or below ``directory`` whose parent is there and looked for elsewhere.

    Ancestors come first. ``confirm`` is shown what is to be done, and nothing is done where it says no.
    Identities decide; children of which several files may be the parent are left alone. What fails is told
    in the result, and the others are mended. Raises OSError if the directory cannot be listed.
    """
    found = tree(directory)
    images = {each.path: each for each in found.images}
    orphans = [each for each in found.images if each.parent_state in ORPHANED]
    lines = {each.path: _ancestors(each, images) for each in orphans if _is_known(each, images)}
    planned = tuple(
        _planned(images[path], lines[path][0]) for path in sorted(lines, key=lambda path: len(lines[path]))
    )
    possible = tuple(each for each in planned if each.problem is None)
    left = tuple(each.path for each in orphans if each.path not in lines or each.format == "vhd")
    if dry_run or not planned or (possible and not confirm(possible)):
        return MendResult(found.directory, True, planned, left)
    mended = tuple(each if each.problem else _mended(each, lines[each.path]) for each in planned)
    failed = tuple(each.path for each in mended if each.problem not in (None, _ONLY_READ))
    return MendResult(found.directory, False, mended, (*left, *failed))


def _planned(child: TreeImage, parent: str) -> Mend:
    problem = _ONLY_READ if child.format == "vhd" else None
    return Mend(child.path, child.format, child.virtual_size, child.named, parent, problem)


def _is_known(each: TreeImage, images: dict[str, TreeImage]) -> bool:
    """Whether the parent of an orphan is known, and the parents of that."""
    line = (each.path, *_ancestors(each, images))
    return not any(path in images and images[path].parent_state in ORPHANED - {MOVED} for path in line)


def _ancestors(each: TreeImage, images: dict[str, TreeImage]) -> tuple[str, ...]:
    """The parent of an image, its parent, and so on; there are no loops."""
    found = []
    while each.parent is not None:
        found.append(each.parent)
        if each.parent not in images:
            break
        each = images[each.parent]
    return tuple(found)


def _mended(planned: Mend, ancestors: tuple[str, ...]) -> Mend:
    try:
        rebase(planned.path, planned.parent, parents=ancestors[1:])
    except (VhdxError, OSError, ValueError) as error:
        told = str(error) if isinstance(error, ValueError) else first_sentence(error)
        return planned._replace(problem=told)
    return planned
