"""Say what an image is: everything that its structures tell without reading the disk."""

from __future__ import annotations

import os
from collections import Counter

from vhdx import rules
from vhdx.disk.formats import open_image
from vhdx.errors import VhdxError
from vhdx.examine.host_holes import refused_holes
from vhdx.extents import BlockState, ExtentKind
from vhdx.format.bat import BITMAP_PRESENT, STATE_MASK, file_offset_of, state_of
from vhdx.image.bat import WINDOW
from vhdx.image.states import PRESENT, READ_ANSWERS, Answer
from vhdx.ops.tracking import tracking_files
from vhdx.storage.file import FileStorage
from vhdx.text import brief
from vhdx.typed import TYPE_CHECKING, NamedTuple
from vhdx.write.survey import Conflict, survey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from uuid import UUID

    from vhdx.disk.base import VirtualDisk
    from vhdx.disk.chain import VhdxDisk
    from vhdx.disk.places import Parents
    from vhdx.disk.volumes import FileSystemOn
    from vhdx.image.image import Image
    from vhdx.partitions.table import Partition
    from vhdx.progress import Progress
    from vhdx.rules import Finding
    from vhdx.storage.base import ReadableStorage


_READ_AS_ZEROS = frozenset(
    state.name.lower() for state, answer in READ_ANSWERS.items() if answer in (Answer.ZEROS, Answer.NOBODY)
)
"""States whose blocks, where no parent is asked, hold nothing."""


class LogInfo(NamedTuple):
    """The state of a log: of a dirty one, how many entries would be replayed and their numbers."""

    state: str
    size: int
    version: int
    entries: int
    first_sequence_number: int | None
    last_sequence_number: int | None


class BlockInfo(NamedTuple):
    """Payload blocks by state, present sector bitmap blocks, and how scattered the blocks are.

    ``fragmentation`` is the share of neighbouring present blocks that are not neighbours in the file,
    None if there are no two neighbouring blocks. ``free_size`` are bytes of the file that nothing owns, None
    of fixed images, which keep them, and where two claim the same space.
    """

    total: int
    by_state: Mapping[str, int]
    sector_bitmaps: int
    fragmentation: float | None
    free_size: int | None


class LayerInfo(NamedTuple):
    """One file of a chain."""

    path: str
    disk_type: str
    virtual_size: int
    file_size: int
    block_size: int
    data_write_guid: UUID
    log_state: str
    data_size: int
    """Bytes of the disk that are read from this layer."""


class Note(NamedTuple):
    """Something unusual, by the rule it concerns."""

    code: str
    severity: str
    structure: str
    file_offset: int
    text: str


class TableInfo(NamedTuple):
    """The partition table as it reads: ``kind`` is ``"none"``, ``"mbr"``, ``"gpt"`` or ``"hybrid"``."""

    kind: str
    sector_size: int
    disk_id: str | None
    partitions: tuple[Partition, ...]
    findings: tuple[str, ...]


@brief("path", "format", "disk_type", "virtual_size", "file_size")
class ImageInfo(NamedTuple):
    """What a VHDX is; sizes in bytes. ``blocks`` and ``chain`` are None where they were not asked for.

    ``parent`` is the file that was found to be the parent of a child, ``parent_problem`` why it or one of its
    own parents cannot be opened; ``partition_table`` and ``file_systems`` are None then.
    """

    path: str
    format: str
    virtual_size: int
    file_size: int
    allocated_size: int | None
    disk_type: str
    block_size: int
    logical_sector_size: int
    physical_sector_size: int
    disk_id: UUID
    creator: str
    header_sequence_number: int
    file_write_guid: UUID
    data_write_guid: UUID
    log_guid: UUID
    log: LogInfo
    blocks: BlockInfo | None
    parent_locator: Mapping[str, str] | None
    parent: str | None
    parent_problem: str | None
    chain: tuple[LayerInfo, ...] | None
    partition_table: TableInfo | None
    file_systems: tuple[FileSystemOn, ...] | None
    tracking_files: tuple[str, ...]
    """Files of Windows' change tracking beside the image."""
    notes: tuple[Note, ...]


def info(
    path: str | os.PathLike[str],
    *,
    chain: bool = False,
    blocks: bool | None = None,
    parents: Parents = None,
    lock: bool = True,
    progress: Progress | None = None,
) -> ImageInfo:
    """What the image at ``path`` is.

    ``blocks`` None counts the blocks only where the table is at most 1 MiB. ``chain`` tells of every layer,
    and needs the parents, which otherwise may be missing. ``progress`` is called with the bytes of the disk
    that were counted and its size. Raises what opening raises.
    """
    path = os.fspath(path)
    return info_of_image(
        open_image(path, lock=lock), chain=chain, blocks=blocks, parents=parents, lock=lock, progress=progress
    )


def info_of_image(
    image: Image,
    *,
    chain: bool,
    blocks: bool | None,
    parents: Parents,
    lock: bool,
    progress: Progress | None,
) -> ImageInfo:
    """The same of an image that is open; closes it."""
    try:
        small = image.geometry.bat_entry_count <= WINDOW
        counted = _block_info(image, progress) if (small if blocks is None else blocks) else None
        if _reads_as_zeros(image, counted) and not chain:
            nothing = TableInfo("none", image.geometry.logical_sector_size, None, (), ())
            return _image_info(image, _findings([image]), counted)._replace(
                partition_table=nothing, file_systems=()
            )
        return _with_contents(image, counted, chain=chain, parents=parents, lock=lock, progress=progress)
    finally:
        image.storage.close()


def _reads_as_zeros(image: Image, blocks: BlockInfo | None) -> bool:
    """Whether there is nothing on the disk, as far as that is known without opening parents or reading."""
    return blocks is not None and not image.metadata.has_parent and _READ_AS_ZEROS.issuperset(blocks.by_state)


def _with_contents(
    image: Image,
    blocks: BlockInfo | None,
    *,
    chain: bool,
    parents: Parents,
    lock: bool,
    progress: Progress | None,
) -> ImageInfo:
    """What the image is, its parents, and what stands on its disk."""
    disk, problem = _disk_of(image, parents, lock=lock, required=chain)
    layers = (image,) if disk is None else disk.layers
    try:
        return _image_info(image, _findings(layers), blocks)._replace(
            parent=layers[1].name if layers[1:] else None,
            parent_problem=problem,
            chain=_layer_infos(disk, progress) if disk is not None and chain else None,
            partition_table=None if disk is None else table_info(disk),
            file_systems=None if disk is None else file_systems_info(disk),
        )
    finally:
        for parent in layers[1:]:
            parent.storage.close()


def _disk_of(
    image: Image, parents: Parents, *, lock: bool, required: bool
) -> tuple[VhdxDisk | None, str | None]:
    """The disk with its parents; None and why, where one of these cannot be opened and none is required."""
    from vhdx.disk.open import with_parents  # noqa: PLC0415  of an empty image nobody needs the disk

    try:
        return with_parents(image, parents, lock=lock), None
    except (VhdxError, OSError) as error:
        if required or not image.metadata.has_parent:
            raise
        from vhdx.disk.parents import first_sentence  # noqa: PLC0415  most parents can be opened

        return None, first_sentence(error)


def allocated_size(storage: ReadableStorage) -> int | None:
    """What a file takes on the host's disk, if that is known."""
    return storage.allocated() if isinstance(storage, FileStorage) else None


def table_info(disk: VirtualDisk) -> TableInfo:
    """The partition table of a disk; that it cannot be read is a finding like others."""
    try:
        from vhdx.disk.partitions import partition_table  # noqa: PLC0415  an empty disk need not wait for it

        return TableInfo(*partition_table(disk)[:5])
    except (VhdxError, OSError) as error:
        finding = f"the partition table cannot be read: {error}"
        return TableInfo("none", disk.logical_sector_size, None, (), (finding,))


def file_systems_info(disk: VirtualDisk) -> tuple[FileSystemOn, ...]:
    """What stands on a disk, by a look at a few sectors; that it cannot be read is a reason like others."""
    from vhdx.disk.volumes import file_systems  # noqa: PLC0415  an empty disk need not wait for it

    try:
        return file_systems(disk, quick=True)
    except (VhdxError, OSError) as error:
        from vhdx.disk.volume_places import WHOLE_DISK  # noqa: PLC0415  most disks can be read
        from vhdx.disk.volumes import FileSystemOn  # noqa: PLC0415
        from vhdx.filesystems.base import FileSystem  # noqa: PLC0415

        reason = f"the disk cannot be read: {error}"
        nothing = FileSystem("unknown", None, None, disk.size, 0, None, None, "unknown", (reason,))
        return (FileSystemOn(None, WHOLE_DISK, 0, *nothing),)


def _layer_infos(disk: VhdxDisk, progress: Progress | None) -> tuple[LayerInfo, ...]:
    from vhdx.ops.map import summary  # noqa: PLC0415  whoever asks for no chain need not wait for it

    shares: Counter[int] = Counter()
    for row in summary(disk, progress=progress).rows:
        if row.kind == ExtentKind.DATA.value:
            shares[row.depth] += row.length
    return tuple(_layer_info(layer, shares[depth]) for depth, layer in enumerate(disk.layers, 1))


def _layer_info(layer: Image, data_size: int) -> LayerInfo:
    return LayerInfo(
        path=layer.name,
        disk_type=layer.metadata.disk_type,
        virtual_size=layer.geometry.disk_size,
        file_size=layer.file.size(),
        block_size=layer.geometry.block_size,
        data_write_guid=layer.header.data_write_guid,
        log_state=layer.header.log_state,
        data_size=data_size,
    )


def _findings(layers: Sequence[Image]) -> Iterator[Finding]:
    """What was found out about an image, and about the parents that were opened."""
    yield from layers[0].findings
    for parent in layers[1:]:
        yield from (finding for finding in parent.findings if finding.rule is rules.PARENT_SEVERAL)
    yield from refused_holes(layers[0].file)


def _image_info(image: Image, findings: Iterator[Finding], blocks: BlockInfo | None) -> ImageInfo:
    """What the image says of itself, without its parents and what stands on its disk."""
    header, items = image.header, image.metadata
    return ImageInfo(
        path=image.name,
        format="vhdx",
        virtual_size=items.disk_size,
        file_size=image.file.size(),
        allocated_size=allocated_size(image.file),
        disk_type=items.disk_type,
        block_size=items.block_size,
        logical_sector_size=items.logical_sector_size,
        physical_sector_size=items.physical_sector_size,
        disk_id=items.disk_id,
        creator=image.creator,
        header_sequence_number=header.sequence_number,
        file_write_guid=header.file_write_guid,
        data_write_guid=header.data_write_guid,
        log_guid=header.log_guid,
        log=_log_info(image),
        blocks=blocks,
        parent_locator=items.locator,
        parent=None,
        parent_problem=None,
        chain=None,
        partition_table=None,
        file_systems=None,
        tracking_files=tracking_files(image.name),
        notes=tuple(
            Note(f.rule.code, f.rule.severity.value, f.place.structure, f.place.file_offset, f.detail)
            for f in findings
        ),
    )


def _log_info(image: Image) -> LogInfo:
    sequence = image.sequence
    return LogInfo(
        state=image.header.log_state,
        size=image.header.log_length,
        version=image.header.log_version,
        entries=len(sequence.positions) if sequence else 0,
        first_sequence_number=sequence.first_sequence_number if sequence else None,
        last_sequence_number=sequence.head.sequence_number if sequence else None,
    )


def _block_info(image: Image, progress: Progress | None) -> BlockInfo:
    counts: Counter[BlockState] = Counter()
    neighbours = apart = 0
    end_block = end_place = -1
    for run in image.bat.runs(0, image.geometry.block_count):
        if progress is not None:
            progress(run.first_block * image.geometry.block_size, image.geometry.disk_size)
        state = state_of(run.entry)
        counts[state] += run.block_count
        if state not in PRESENT:
            continue
        place = file_offset_of(run.entry)
        if run.first_block == end_block:
            neighbours += 1
            apart += place != end_place
        neighbours += run.block_count - 1
        end_block = run.first_block + run.block_count
        end_place = place + run.block_count * image.geometry.block_size
    return BlockInfo(
        total=image.geometry.block_count,
        by_state={state.name.lower(): counts[state] for state in BlockState if counts[state]},
        sector_bitmaps=_bitmap_count(image),
        fragmentation=apart / neighbours if neighbours else None,
        free_size=_free_size(image),
    )


def _free_size(image: Image) -> int | None:
    if image.metadata.disk_type == "fixed":
        return None
    try:
        space = survey(image.regions, image.bat, image.geometry, image.storage.size())
    except Conflict:  # which check tells
        return None
    return max(0, space.end - space.used_size)


def _bitmap_count(image: Image) -> int:
    if not image.geometry.differencing:
        return 0
    return sum(
        image.bat.bitmap(chunk) & STATE_MASK == BITMAP_PRESENT for chunk in range(image.geometry.chunk_count)
    )
