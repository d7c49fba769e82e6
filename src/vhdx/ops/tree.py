"""Whose parent is whose in a directory: told by identities, so also where files have other names by now."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from vhdx.disk.formats import format_of_name
from vhdx.disk.parents import first_sentence, found_parent
from vhdx.disk.places import is_named, policy_from
from vhdx.disk.vhd import named_parent, names_of_parent
from vhdx.errors import VhdxError
from vhdx.format.identifier import SIGNATURE
from vhdx.format.locator import RELATIVE_PATH
from vhdx.image import image, metadata
from vhdx.image.vhd import VhdImage
from vhdx.image.vhd_load import has_sound_footer
from vhdx.storage.file import open_for_reading, refuse_elsewhere

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from uuid import UUID

    from vhdx.disk.places import Parents
    from vhdx.image.image import Image
    from vhdx.storage.base import ReadableStorage

FOUND = "found"
"""Opening the child finds the parent."""
NAMED = "named"
"""The child names the parent, which is not at or below its directory: to open it takes --parent-dir."""
MOVED = "moved"
"""The parent is here, and the child looks for it elsewhere."""
SEVERAL = "several"
"""More than one file has the identity of the parent, and not one of them its name."""
MISSING = "missing"
"""No file here has the identity of the parent."""
LOOP = "loop"
"""The image is its own ancestor."""
ORPHANED = frozenset({MOVED, SEVERAL, MISSING, LOOP})


class TreeImage(NamedTuple):
    """One image: its parent as far as it is known, how that stands, and how many have it for their parent.

    ``parent_state`` is None of images without a parent; ``named`` is what a child calls its parent.
    ``virtual_size`` and ``file_size`` are bytes. ``data_write_guid`` is by what children know it, of a VHD
    its unique id.
    """

    path: str
    format: str
    disk_type: str
    virtual_size: int
    file_size: int
    data_write_guid: UUID
    parent: str | None
    parent_state: str | None
    named: str | None
    children: int


class Unread(NamedTuple):
    """A file that is an image, by its contents or its name, and cannot be opened."""

    path: str
    reason: str


class Tree(NamedTuple):
    """The images at or below a directory, and those that cannot be opened."""

    directory: str
    images: tuple[TreeImage, ...]
    unread: tuple[Unread, ...]


class Member(NamedTuple):
    """What one file says of itself, and which file opening it finds for its parent."""

    found: TreeImage
    disk_id: UUID
    linkages: frozenset[UUID]
    parent: str | None


def tree(directory: str | os.PathLike[str]) -> Tree:
    """The VHDX and VHD images at or below ``directory``, each with its parent.

    Links to directories are not followed. Raises OSError if the directory cannot be listed.
    """
    directory = os.fspath(directory)
    refuse_elsewhere(directory)
    members: dict[str, Member] = {}
    unread: list[Unread] = []
    for path in _files(directory):
        try:
            member = member_of(path)
        except (VhdxError, OSError) as error:
            unread.append(Unread(path, first_sentence(error)))
            continue
        if member is not None:
            members[path] = member
        elif os.path.isfile(path) and format_of_name(path) in ("vhdx", "vhd"):
            unread.append(Unread(path, "it is named like an image and does not look like one"))
    return Tree(directory, tuple(_linked(members)), tuple(unread))


def _files(directory: str) -> Iterator[str]:
    os.listdir(directory)  # which raises, unlike a walk
    for folder, folders, names in os.walk(directory):
        folders.sort()
        yield from (os.path.join(folder, name) for name in sorted(names))


def member_of(path: str, parents: Parents = None) -> Member | None:
    """What a file says of itself; None if it is no image, or nothing that can be read without waiting.

    ``parents`` says where its parent may be. Raises what opening raises.
    """
    if not os.path.isfile(path):
        return None
    file = open_for_reading(path, lock=False)
    try:
        if file.read(min(len(SIGNATURE), file.size()), 0) == SIGNATURE:
            return _described(image.load(file), file, parents)
        return _described_vhd(VhdImage(file), parents) if has_sound_footer(file) else None
    finally:
        file.close()


def _described(loaded: Image, file: ReadableStorage, parents: Parents) -> Member:
    items = loaded.metadata
    values = items.locator or {}
    found = TreeImage(
        path=file.name,
        format="vhdx",
        disk_type=items.disk_type,
        virtual_size=items.disk_size,
        file_size=file.size(),
        data_write_guid=loaded.header.data_write_guid,
        parent=None,
        parent_state=MISSING if items.has_parent else None,
        named=values.get(RELATIVE_PATH) or next((each for each in values.values() if "\\" in each), None),
        children=0,
    )
    return Member(found, items.disk_id, metadata.linkages(values), _parent_by_name(loaded, parents))


def _parent_by_name(loaded: Image, parents: Parents) -> str | None:
    """The file that opening the image finds for its parent."""
    parent = found_parent(loaded, policy_from(parents))
    if parent is None:
        return None
    parent.file.close()
    return os.path.realpath(parent.name)


def _described_vhd(loaded: VhdImage, parents: Parents) -> Member:
    """The same of a VHD, which children know by its unique id."""
    header = loaded.header if loaded.has_parent else None
    named = next((name for name, _ in names_of_parent(loaded, header) if name), None) if header else None
    found = TreeImage(
        path=loaded.name,
        format="vhd",
        disk_type=loaded.disk_type,
        virtual_size=loaded.size,
        file_size=loaded.storage.size(),
        data_write_guid=loaded.footer.unique_id,
        parent=None,
        parent_state=MISSING if header else None,
        named=named,
        children=0,
    )
    parent = _parent_of_vhd_by_name(loaded, parents) if header else None
    return Member(found, loaded.footer.unique_id, frozenset({header.parent_id} if header else ()), parent)


def _parent_of_vhd_by_name(loaded: VhdImage, parents: Parents) -> str | None:
    try:
        parent = named_parent(loaded, policy_from(parents))
    except (VhdxError, OSError):
        return None
    parent.storage.close()
    return os.path.realpath(parent.name)


def _linked(members: dict[str, Member]) -> Iterator[TreeImage]:
    by_place = {os.path.realpath(path): path for path in members}
    by_identity: dict[tuple[str, UUID], list[str]] = defaultdict(list)
    for path in by_place.values():
        found = members[path].found
        by_identity[found.format, found.data_write_guid].append(path)
    linked = {}
    for path, member in members.items():
        names = [(member.found.format, guid) for guid in member.linkages]
        same = sorted({other for name in names for other in by_identity[name]} - {path})
        linked[path] = _with_parent(member, by_place, same)
    _break_loops(linked)
    children: dict[str | None, int] = defaultdict(int)
    for each in linked.values():
        children[each.parent] += 1
    for path, each in linked.items():
        yield each._replace(children=children[path])


def _with_parent(member: Member, by_place: Mapping[str, str], same: list[str]) -> TreeImage:
    """The image with its parent: by name if that is the right one, else by identity if that is one."""
    found = member.found
    if found.parent_state is None:
        return found
    if member.parent is not None:
        return found._replace(parent=by_place.get(member.parent, member.parent), parent_state=FOUND)
    places = {os.path.realpath(path): path for path in same}
    parent, state = parent_among(os.path.realpath(found.path), found.named, places)
    return found._replace(parent=parent, parent_state=state)


def parent_among(place: str, named: str | None, same: Mapping[str, str]) -> tuple[str | None, str]:
    """Which file with the identity of its parent is that of an image which does not find it, and how.

    ``place`` is the image without links, ``named`` what it calls its parent; ``same`` are paths by
    their places.
    """
    at = os.path.normpath(os.path.join(os.path.dirname(place), *(named or "").split("\\")))
    if at in same:
        return same[at], NAMED
    likely = [path for path in same.values() if len(same) == 1 or is_named(path, [named or ""])]
    if len(likely) == 1:
        return likely[0], MOVED
    return None, SEVERAL if same else MISSING


def _break_loops(linked: dict[str, TreeImage]) -> None:
    """Take the parent from images that are their own ancestors."""
    sound: set[str] = set()
    for path in linked:
        way: dict[str, None] = {}
        at: str | None = path
        while at is not None and at in linked and at not in way and at not in sound:
            way[at] = None
            at = linked[at].parent
        if at is not None and at in way:
            linked[at] = linked[at]._replace(parent=None, parent_state=LOOP)
        sound.update(way)
