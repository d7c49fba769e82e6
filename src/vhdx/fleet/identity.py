"""What one file says of itself before anything is asked of it: identities, which tell chains apart."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from vhdx.errors import VhdxError
from vhdx.ops.tree import member_of
from vhdx.storage.stream import is_url

if TYPE_CHECKING:
    from vhdx.disk.places import ParentPolicy
    from vhdx.ops.tree import Member


class Identity(NamedTuple):
    """One file; all but ``path`` and ``place`` may be unknown.

    ``place`` is the path without links; ``own`` the identity that children know it by, ``linkages`` those
    that it knows its parent by, ``parent`` the place where it finds it, ``named`` what it calls it.
    """

    path: str
    place: str
    size: int | None = None
    mtime_ns: int | None = None
    format: str | None = None
    disk_type: str | None = None
    virtual_size: int | None = None
    disk_id: str | None = None
    own: str | None = None
    parent_state: str | None = None
    parent: str | None = None
    named: str | None = None
    linkages: tuple[str, ...] = ()


def identify(paths: tuple[str, ...], policy: ParentPolicy) -> list[Identity]:
    """What each of some files says of itself; of one that says nothing, only where it is."""
    return [_identity(path, policy) for path in paths]


def nameless(path: str) -> Identity:
    """A file of which nothing is known: whoever opens it says why. A URL is asked by nobody but the verb."""
    if is_url(path):
        return Identity(path, path)
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return Identity(path, os.path.abspath(path))
    return Identity(path, os.path.realpath(path), status.st_size, status.st_mtime_ns)


def _identity(path: str, policy: ParentPolicy) -> Identity:
    found = nameless(path)
    if found.size is None or not os.path.isfile(path):
        return found
    try:
        member = member_of(path, policy)
        return found if member is None else _of_image(found, member)
    except (VhdxError, OSError, ValueError):
        return found


def _of_image(found: Identity, member: Member) -> Identity:
    image = member.found
    return found._replace(
        format=image.format,
        disk_type=image.disk_type,
        virtual_size=image.virtual_size,
        disk_id=str(member.disk_id),
        own=str(image.data_write_guid),
        parent_state=image.parent_state,
        parent=member.parent,
        named=image.named,
        linkages=tuple(sorted(map(str, member.linkages))),
    )
