"""Say what a VHD is: everything that its structures tell without reading the disk."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from vhdx.disk.parents import first_sentence
from vhdx.disk.places import policy_from
from vhdx.disk.vhd import VhdDisk, vhd_layers
from vhdx.errors import VhdxError
from vhdx.examine.host_holes import refused_holes
from vhdx.format import vhd
from vhdx.image.vhd import VhdImage
from vhdx.ops.info import allocated_size, file_systems_info, table_info
from vhdx.storage.file import open_for_reading
from vhdx.text import brief

if TYPE_CHECKING:
    from uuid import UUID

    from vhdx.disk.places import Parents
    from vhdx.disk.volumes import FileSystemOn
    from vhdx.format.vhd import Geometry
    from vhdx.ops.info import TableInfo
    from vhdx.storage.base import ReadableStorage

_TAKEN_AT_THEIR_WORD = frozenset((b"win ", b"qem2", b"d2v ", b"CTXS", b"tap\0"))
"""Creators whose size QEMU takes from the footer; for all others it takes the geometry."""

_LOOKED_AT = 8
"""Blocks that are looked at for what their bitmaps hide: `info` is to answer at once."""


@brief("path", "format", "disk_type", "virtual_size", "file_size")
class VhdInfo(NamedTuple):
    """What a VHD is; sizes in bytes. ``chain`` is None where it was not asked for.

    ``parent`` is the file that was found to be the parent of a child, ``parent_problem`` why it or one of its
    own parents cannot be opened; ``partition_table`` and ``file_systems`` are None then.
    """

    path: str
    format: str
    virtual_size: int
    file_size: int
    allocated_size: int | None
    disk_type: str
    block_size: int | None
    logical_sector_size: int
    physical_sector_size: int
    disk_id: UUID
    creator: str
    created: str
    geometry: Geometry
    parent_id: UUID | None
    parent_names: tuple[str, ...]
    parent: str | None
    parent_problem: str | None
    chain: tuple[str, ...] | None
    partition_table: TableInfo | None
    file_systems: tuple[FileSystemOn, ...] | None
    notes: tuple[str, ...]


def vhd_info(
    path: str | os.PathLike[str], *, chain: bool = False, parents: Parents = None, lock: bool = True
) -> VhdInfo:
    """What the VHD at ``path`` is. ``chain`` needs the parents, which otherwise may be missing.

    Raises what opening raises.
    """
    return info_of_vhd(open_for_reading(os.fspath(path), lock=lock), chain=chain, parents=parents, lock=lock)


def info_of_vhd(storage: ReadableStorage, *, chain: bool, parents: Parents, lock: bool) -> VhdInfo:
    """The same of a file that is open; closes it."""
    try:
        leaf = VhdImage(storage)
        disk, problem = _disk_of(leaf, parents, lock=lock, required=chain)
        above = () if disk is None else disk.layers[1:]
        try:
            found = _vhd_info(leaf, disk, chain=chain)
            return found._replace(parent=above[0].name if above else None, parent_problem=problem)
        finally:
            for parent in above:
                parent.storage.close()
    finally:
        storage.close()


def _disk_of(
    leaf: VhdImage, parents: Parents, *, lock: bool, required: bool
) -> tuple[VhdDisk | None, str | None]:
    """The disk with its parents; None and why, where one of these cannot be opened and none is required."""
    try:
        return VhdDisk(vhd_layers(leaf, policy_from(parents), lock=lock, salvage=False)[0]), None
    except (VhdxError, OSError) as error:
        if required or not leaf.has_parent:
            raise
        return None, first_sentence(error)


def _vhd_info(image: VhdImage, disk: VhdDisk | None, *, chain: bool) -> VhdInfo:
    footer, header = image.footer, image.header
    made = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=footer.timestamp)
    creator = footer.creator.decode("ascii", "backslashreplace").strip(" \0")
    version = f"{footer.creator_version >> 16}.{footer.creator_version & 0xFFFF}"
    return VhdInfo(
        path=image.name,
        format="vhd",
        virtual_size=image.size,
        file_size=image.storage.size(),
        allocated_size=allocated_size(image.storage),
        disk_type=image.disk_type,
        block_size=None if header is None else header.block_size,
        logical_sector_size=vhd.SECTOR_SIZE,
        physical_sector_size=vhd.SECTOR_SIZE,
        disk_id=footer.unique_id,
        creator=f"{creator} {version}",
        created=made.isoformat(),
        geometry=footer.geometry,
        parent_id=header.parent_id if header is not None and image.has_parent else None,
        parent_names=tuple(name for _, name in image.parent_names()) if image.has_parent else (),
        parent=None,
        parent_problem=None,
        chain=tuple(layer.name for layer in disk.layers) if disk is not None and chain else None,
        partition_table=None if disk is None else table_info(disk),
        file_systems=None if disk is None else file_systems_info(disk),
        notes=(
            *(image.all_findings() if disk is None else disk.findings),
            *_notes(image),
            *_hidden(disk),
            *_holes(image),
        ),
    )


def _notes(image: VhdImage) -> list[str]:
    """What others see differently."""
    geometry, creator = image.footer.geometry, image.footer.creator
    if geometry == vhd.LARGEST_GEOMETRY or creator in _TAKEN_AT_THEIR_WORD or geometry.size >= image.size:
        return []
    return [f"Virtual PC and QEMU show only {geometry.size} bytes of the disk, what its geometry addresses"]


def _holes(image: VhdImage) -> list[str]:
    """Whether Windows would refuse the file for its holes."""
    return [finding.detail for finding in refused_holes(image.storage)]


def _hidden(disk: VhdDisk | None) -> list[str]:
    """What bitmaps hide, as far as the first blocks show."""
    hidden = 0 if disk is None else disk.hidden_bytes(_LOOKED_AT)
    if not hidden:
        return []
    where = f"its first blocks hold {hidden} bytes where bitmaps say that nothing is stored"
    return [f"{where}: QEMU and others show them, and vhdx convert --ignore-bitmaps; vhdx check counts all"]
