"""What a new differencing image takes from its parent [MS-VHDX 2.6.1.2, 2.6.2.6]."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from vhdx.disk.open import open_image
from vhdx.errors import UnsupportedImageError
from vhdx.format import guids, locator
from vhdx.image.build import UserItem
from vhdx.ops.plan import Rounding, disk_size_from, plan_from
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.image.build import ImagePlan
    from vhdx.image.image import Image
    from vhdx.ops.plan import ImageOptions

DEFAULT_BLOCK_SIZE = 2 * MIB
"""As Windows makes differencing images."""


def child_plan(
    child: str, parent: str, size: int | None, options: ImageOptions, rounding: Rounding
) -> tuple[ImagePlan, int]:
    """The plan of an empty child of ``parent`` and its disk size in bytes.

    Raises UnsupportedImageError for a parent with a dirty log, ImageLockedError for one that is being
    written to, ValueError for options that contradict the parent.
    """
    image = open_image(parent)
    try:
        if image.header.log_guid != guids.NIL:
            raise UnsupportedImageError(
                "the log is dirty: a replay would change what the child is based on",
                image=parent,
                structure="log",
                file_offset=image.header.log_offset,
                next_command=f"vhdx repair {parent}",
            )
        if size is not None and size < image.metadata.disk_size:
            raise ValueError(f"a child cannot be smaller than its parent of {image.metadata.disk_size} bytes")
        kept = _options_from(image, options)
        wanted = image.metadata.disk_size if size is None else size
        plan = plan_from(kept, wanted, rounding, user_items_of(image))
        return replace(plan, locator=tuple(locator_values(child, image))), disk_size_from(
            wanted, plan.logical_sector_size, rounding
        )
    finally:
        image.storage.close()


def _options_from(image: Image, options: ImageOptions) -> ImageOptions:
    items = image.metadata
    for name, asked, given in (
        ("type", options.disk_type, "dynamic"),
        ("logical sector size", options.logical_sector_size, items.logical_sector_size),
        ("physical sector size", options.physical_sector_size, items.physical_sector_size),
        ("disk id", options.disk_id, items.disk_id),
        ("zero blocks", options.zero_blocks or None, None),
    ):
        if asked is not None and str(asked) != str(given):
            raise ValueError(f"{name}: a child has what its parent has, {given}, not {asked}")
    return replace(
        options,
        block_size=options.block_size or DEFAULT_BLOCK_SIZE,
        logical_sector_size=items.logical_sector_size,
        physical_sector_size=items.physical_sector_size,
        disk_id=items.disk_id,
    )


def user_items_of(image: Image) -> Iterator[UserItem]:
    """The user items that belong to the virtual disk and follow it into copies and children."""
    for entry in image.metadata.entries:
        if entry.is_user and entry.is_virtual_disk:
            yield UserItem(entry.item_id, image.metadata.item(image.storage, entry), entry.flags)


def locator_values(child: str, parent: Image) -> Iterator[tuple[str, str]]:
    """Keys and values of a locator in the child's file, as Windows writes them.

    Tells where the parent is from the child's directory, an absolute path only where Windows has a name
    for it, and nothing else about the machine. Raises ValueError for names that Windows cannot have.
    """
    target = os.path.realpath(parent.name)
    relative = os.path.relpath(target, os.path.dirname(os.path.realpath(child)))
    if "\\" in relative and os.sep != "\\":
        raise ValueError(f"{relative}: a backslash in a name of the path separates folders on Windows")
    yield locator.PARENT_LINKAGE, braced(parent.header.data_write_guid)
    windows = _windows_path(target)
    if windows is not None:
        yield locator.ABSOLUTE_WIN32_PATH, windows
    parts = relative.replace(os.sep, "\\")
    yield locator.RELATIVE_PATH, parts if parts.startswith("..") else f".\\{parts}"
    yield locator.PARENT_LINKAGE2, braced(guids.NIL)


def braced(guid: object) -> str:
    """A GUID as locators write it: lower case, in braces."""
    return f"{{{str(guid).lower()}}}"


def _windows_path(path: str) -> str | None:
    """The path under which Windows knows a file: its own, or that of a drive that WSL mounts."""
    if os.name == "nt":
        return f"\\\\?\\{path}"
    drive = re.fullmatch(r"/mnt/([a-z])/(.*)", path)
    return f"\\\\?\\{drive[1].upper()}:\\{drive[2]}".replace("/", "\\") if drive else None


def is_found_by_default(child: str, parent: str) -> bool:
    """Whether opening the child will look for the parent there without being asked to."""
    home = os.path.dirname(os.path.realpath(child))
    return os.path.commonpath([os.path.realpath(parent), home]) == home
