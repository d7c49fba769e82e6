"""What a new differencing image takes from its parent [MS-VHDX 2.6.1.2, 2.6.2.6]."""

from __future__ import annotations

import os
import re

from vhdx.build.plan import UserItem
from vhdx.disk.places import is_below
from vhdx.errors import UnsupportedImageError
from vhdx.format import guids, locator
from vhdx.format.metadata import USER_ITEMS_LIMIT
from vhdx.ops.make.plan import Rounding, disk_size_from, plan_from
from vhdx.storage.file import identity_of
from vhdx.storage.stream import is_url
from vhdx.storage.windows_paths import literal, plain
from vhdx.text import command
from vhdx.typed import TYPE_CHECKING
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.build.plan import ImagePlan
    from vhdx.disk.chain import VhdxDisk
    from vhdx.image.image import Image
    from vhdx.ops.make.plan import ImageOptions

DEFAULT_BLOCK_SIZE = 2 * MIB
"""As Windows makes differencing images."""
NOT_FOUND_BY_DEFAULT = (
    "the parent is not at or below the child's directory: to open the child will take "
    "--parent-dir or --any-parent"
)


def child_plan(
    child: str,
    parent: VhdxDisk,
    size: int | None,
    options: ImageOptions,
    rounding: Rounding,
    *,
    smaller: bool = False,
) -> tuple[ImagePlan, int]:
    """The plan of an empty child of ``parent`` and its disk size in bytes, which may be ``smaller``.

    Raises UnsupportedImageError for a parent with a dirty log, ValueError for options that contradict the
    parent, and for a child that would take the place of one of its ancestors.
    """
    image = parent.layers[0]
    if os.path.exists(child) and identity_of(child) in parent.files():
        raise ValueError(f"{child} is the parent or one of its parents")
    if image.header.log_guid != guids.NIL:
        raise UnsupportedImageError(
            "the log is dirty: a replay would change what the child is based on",
            image=image.name,
            structure="log",
            file_offset=image.header.log_offset,
            next_command=command("repair {}", image.name),
        )
    wanted = parent.size if size is None else size
    if wanted < parent.size and not smaller:
        raise ValueError(f"a child cannot be smaller than its parent of {parent.size} bytes")
    plan = plan_from(_options_from(image, options), wanted, rounding, user_items_of(image))
    disk_size = disk_size_from(wanted, plan.logical_sector_size, rounding)
    return plan._replace(locator=tuple(locator_values(child, image))), disk_size


def _options_from(image: Image, options: ImageOptions) -> ImageOptions:
    items = image.metadata
    if options.disk_type not in (None, "dynamic") or options.zero_blocks:
        raise ValueError("a child is neither fixed nor dynamic, and its blocks begin as not present")
    for name, asked, given in (
        ("logical sector size", options.logical_sector_size, items.logical_sector_size),
        ("physical sector size", options.physical_sector_size, items.physical_sector_size),
        ("disk id", options.disk_id, items.disk_id),
    ):
        if asked is not None and str(asked).lower() != str(given).lower():
            raise ValueError(f"{name}: a child has what its parent has, {given}, not {asked}")
    return options._replace(
        block_size=options.block_size or DEFAULT_BLOCK_SIZE,
        logical_sector_size=items.logical_sector_size,
        physical_sector_size=items.physical_sector_size,
        disk_id=items.disk_id,
    )


def user_items_of(image: Image) -> Iterator[UserItem]:
    """The user items that belong to the virtual disk and follow it into copies and children.

    Raises UnsupportedImageError if they are larger than 40 MiB in all, more than Microsoft's own code takes.
    """
    entries = [entry for entry in image.metadata.entries if entry.is_user and entry.is_virtual_disk]
    if sum(entry.length for entry in entries) > USER_ITEMS_LIMIT:
        raise UnsupportedImageError(
            "the user items have more than 40 MiB", image=image.name, structure="metadata"
        )
    for entry in entries:
        yield UserItem(entry.item_id, image.metadata.item(image.storage, entry), entry.flags)


def locator_values(child: str, parent: Image) -> Iterator[tuple[str, str]]:
    """Keys and values of a locator in the child's file, as Windows writes them.

    Tells where the parent is from the child's directory, unless that is on another drive, an absolute path
    only where Windows has a name for it, and nothing else about the machine. Raises ValueError for names
    that Windows cannot have, and for parents that are no files of this host.
    """
    if is_url(parent.name):
        raise ValueError(f"{parent.name} is elsewhere: a child names a file of this host as its parent")
    target = os.path.realpath(parent.name)
    relative = _relative(target, os.path.dirname(os.path.realpath(child)))
    if "\\" in relative and os.sep != "\\":
        raise ValueError(f"{relative}: a backslash in a name of the path separates folders on Windows")
    yield locator.PARENT_LINKAGE, braced(parent.header.data_write_guid)
    windows = _windows_path(target)
    if windows is not None:
        yield locator.ABSOLUTE_WIN32_PATH, windows
    parts = relative.replace(os.sep, "\\")
    if parts:
        yield locator.RELATIVE_PATH, parts if parts.startswith("..") else f".\\{parts}"
    yield locator.PARENT_LINKAGE2, braced(guids.NIL)


def _relative(target: str, home: str) -> str:
    """Where a file is from a directory; nothing where no path leads from one to the other."""
    if os.name != "nt":
        return os.path.relpath(target, home)
    target, home = plain(target), plain(home)
    same = os.path.normcase(os.path.splitdrive(target)[0]) == os.path.normcase(os.path.splitdrive(home)[0])
    return os.path.relpath(target, home) if same else ""


def braced(guid: object) -> str:
    """A GUID as locators write it: lower case, in braces."""
    return f"{{{str(guid).lower()}}}"


def _windows_path(path: str) -> str | None:
    """The path under which Windows knows a file: its own, or that of a drive that WSL mounts."""
    if os.name == "nt":
        return literal(path)
    drive = re.fullmatch(r"/mnt/([a-z])/(.*)", path)
    return f"\\\\?\\{drive[1].upper()}:\\{drive[2]}".replace("/", "\\") if drive else None


def is_found_by_default(child: str, parent: str) -> bool:
    """Whether opening the child will look for the parent there without being asked to."""
    home = os.path.dirname(os.path.realpath(child))
    return is_below(os.path.realpath(parent), home)
