"""Convert between raw disks and images, in one forward pass."""

from __future__ import annotations

import os

from vhdx.format.vhd import FOOTER_SIZE
from vhdx.ops.make.addresses import shown
from vhdx.ops.make.destination import FileDestination, destination_of, goes_into_pages
from vhdx.ops.make.made import made_of
from vhdx.ops.make.opening import open_source
from vhdx.ops.make.plan import ImageOptions
from vhdx.ops.make.target import refuse_options
from vhdx.storage.sharing import NOT_SHARED
from vhdx.text import brief
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vhdx.disk.formats import Format, Openable
    from vhdx.disk.free_space import VolumeSelection
    from vhdx.disk.places import Parents
    from vhdx.extents import Doubt
    from vhdx.known import KnownDisk
    from vhdx.ops.make.carve import CarvedBlock
    from vhdx.ops.make.source import Source
    from vhdx.ops.make.upload import UploadResult
    from vhdx.ops.make.writing import Destination
    from vhdx.progress import Progress
    from vhdx.storage.sharing import Clone

_BY_MAP = (
    "tables that go first follow the map of the source, and zeros are not looked for: leave --scan-zeros "
    "out, or write a file first"
)
_NOT_INTO_PAGES = (
    "into a page blob only whole disks go: what is to be salvaged, carved, shared or read back goes into a "
    "file first, which vhdx upload takes"
)


@brief("path", "source_format", "target_format", "virtual_size", "file_size")
class ConvertResult(NamedTuple):
    """What was made. Sizes in bytes; ``data_size`` is how much of the disk's contents was written."""

    path: str
    source_format: str
    target_format: str
    virtual_size: int
    file_size: int
    data_size: int
    remarks: tuple[str, ...]
    doubts: int = 0
    """How many ranges of a salvaged source may be wrong."""
    carved: int = 0
    """How many blocks that no table names were written to files of their own."""


def convert(
    source: Openable,
    target: str | os.PathLike[str],
    *,
    source_format: Format | None = None,
    target_format: Format | None = None,
    options: ImageOptions | None = None,
    partition: int | None = None,
    parents: Parents = None,
    overwrite: bool = False,
    lock: bool = True,
    salvage: bool = False,
    state: str | os.PathLike[str] | None = None,
    sync: bool = True,
    verify: bool = False,
    resume: str | os.PathLike[str] | None = None,
    clone: Clone = "auto",
    scan_zeros: bool = False,
    on_doubt: Callable[[Doubt], None] | None = None,
    ignore_bitmaps: bool = False,
    discard_free: bool = False,
    volumes: VolumeSelection | None = None,
    known: KnownDisk | None = None,
    carve_to: str | os.PathLike[str] | None = None,
    on_carved: Callable[[CarvedBlock], None] | None = None,
    progress: Progress | None = None,
) -> ConvertResult:
    """Write the contents of ``source`` into a new file ``target``.

    ``source`` is what `vhdx.open` takes: a raw file, a block device, a VHDX or VHD with all its parents; or
    ``"-"`` for standard input: raw, or an image, which goes through a temporary file unless it can be read
    front to back. ``target`` is a path, or ``"-"`` for standard output, into which a VHDX or dynamic VHD goes
    front to back, too: what is stored of the source is written, its zeros included. Formats are told by
    content and by the target's suffix unless given. A VHDX target is made as ``options`` say; from a VHDX it
    keeps disk id, sector sizes and the user items that belong to the disk. A VHD target is fixed, as Azure
    wants it, unless ``options`` say that it is dynamic, and rounded up to whole MiB. ``partition`` takes the
    partition of this number alone, which becomes a disk of its own. Where the target has other logical
    sectors than the source, MBR and GPT are rewritten so that the partitions stay where they are; where that
    is impossible the table stays, too. The remarks say so, and which file systems are made for the old
    sectors. Holes and blocks of zeros are not stored. ``progress`` is called with the bytes done and the size
    of the disk (None while that is not known). ``lock=False`` reads a source that somebody else writes to.
    ``salvage=True`` reads what can be read of a damaged source; once the target is there ``on_doubt`` is
    called with each range that may be wrong, from the source's tables. ``ignore_bitmaps`` takes every sector
    of a stored block of a VHD without a parent as it stands, as QEMU does. ``sync=False`` returns when the
    host has taken everything, without waiting for its disk: a loss of power may then leave a target that is
    not whole. ``known`` is what you know of a disk to be salvaged whose metadata are lost. ``clone`` shares
    the space of what is stored where source and target are files of one file system that can (XFS, btrfs and
    others): nothing is read then, and zeros that are stored stay stored unless ``scan_zeros`` reads them;
    ``"never"`` does not, ``"always"`` raises ValueError where it cannot, and OSError where the host refuses.
    ``target`` may be a block device of Linux that nobody uses, or the ``nbd://`` URI of an export, with
    ``overwrite``: it gets the disk itself if that fits, zeros included, and the backup of a GPT at its end.
    ``verify`` reads it back and compares. ``target`` may be ``"s3://BUCKET/KEY"``, ``"gs://BUCKET/KEY"``,
    ``"az://CONTAINER/NAME"`` or the ``https://`` URL of a blob of Azure, with the extra `vhdx[cloud]`: the
    object appears whole or not at all, and what is stored of the source is written, its zeros included. A
    fixed VHD goes into a page blob of Azure as `upload` does it, all else into a block blob. ``resume`` is a
    file, a journal of the parts that were sent: a later call with the same words reads the source again, and
    sends what the store does not have. ``state`` is a map file, as GNU ddrescue has them, of a conversion to
    a raw target with ``salvage``: the target is written in its place, and a later call goes on where this one
    was broken off. ``carve_to`` is a directory, new or empty unless ``overwrite``, for the blocks of a VHDX
    to be salvaged that no table names any more: each in a file named by its place; ``on_carved`` is called
    with each.

    ``discard_free`` neither reads nor stores what the file systems on the disk call free, once all that they
    keep of it was read and agreed; it reads as zeros then. ``volumes`` says of which, by default of all but
    swap areas; the remarks say of which it is kept.

    Raises what opening and `create` raise; ValueError for a target that is part of the source.
    """
    target, state = os.fspath(target), None if state is None else os.fspath(state)
    wanted = _Wanted(
        target, options or ImageOptions(), salvage, clone, scan_zeros, state, carve_to, overwrite, progress
    )
    journal = None if resume is None else os.fspath(resume)
    selected = (volumes or _all_volumes()) if discard_free else None
    if goes_into_pages(target, target_format, wanted.options):
        _refuse_pages(wanted, verify=verify)
        from vhdx.ops.make.upload import upload  # noqa: PLC0415  an extra; most targets are files

        sent = upload(
            source,
            target,
            source_format=source_format,
            partition=partition,
            parents=parents,
            overwrite=overwrite,
            lock=lock,
            resume=journal,
            ignore_bitmaps=ignore_bitmaps,
            discard_free=discard_free,
            volumes=selected,
            progress=progress,
        )
        return _as_converted(sent)
    place = destination_of(
        target, target_format, overwrite=overwrite, sync=sync, verify=verify, resume=journal
    )
    with (
        place as destination,
        open_source(
            source,
            source_format,
            parents=parents,
            lock=lock,
            partition=partition,
            salvage=salvage,
            ignore_bitmaps=ignore_bitmaps,
            volumes=selected,
            known=known,
            whole=state is not None or destination.needs_map(wanted.options),
        ) as opened,
    ):
        return _converted(opened, destination, wanted, on_doubt, on_carved)


class _Wanted(NamedTuple):
    """What a target is to be, and how it is made."""

    target: str
    options: ImageOptions
    salvage: bool
    clone: Clone
    scan_zeros: bool
    state: str | None
    carve_to: str | os.PathLike[str] | None
    overwrite: bool
    progress: Progress | None


def _converted(
    opened: Source,
    destination: Destination,
    wanted: _Wanted,
    on_doubt: Callable[[Doubt], None] | None,
    on_carved: Callable[[CarvedBlock], None] | None,
) -> ConvertResult:
    """Make a target of a source that is open, or go on with one."""
    _refuse_target(opened, destination, wanted)
    carving = None
    if wanted.carve_to is not None:
        from vhdx.ops.make.carving import Carving, damaged_image  # noqa: PLC0415  sound images need none

        image = damaged_image(opened, salvage=wanted.salvage and wanted.state is None)
        carving = Carving(image, os.fspath(wanted.carve_to), wanted.overwrite, on_carved)
    if wanted.state is not None:
        is_raw = wanted.salvage and isinstance(destination, FileDestination) and destination.format == "raw"
        how = _Resuming(wanted.target, wanted.state, overwrite=wanted.overwrite, is_raw=is_raw)
        return _resumed(opened, how, on_doubt, wanted.progress)
    made = made_of(
        opened,
        destination,
        wanted.options,
        salvage=wanted.salvage,
        clone=wanted.clone,
        scan_zeros=wanted.scan_zeros,
        carving=carving,
        progress=wanted.progress,
    )
    doubts = _report_doubts(opened, on_doubt)
    remarks = (*opened.remarks(), *made.remarks)
    return ConvertResult(
        shown(wanted.target),
        opened.format,
        destination.format,
        made.disk_size,
        made.file_size,
        made.written,
        (*made.rounded, *remarks, *made.left_over),
        doubts,
        0 if carving is None else carving.run(wanted.progress),
    )


def _refuse_pages(wanted: _Wanted, *, verify: bool) -> None:
    """Raise ValueError for what no page blob can be, or be made by."""
    refuse_options("vhd", wanted.options)
    by_file = wanted.salvage or verify or wanted.state is not None or wanted.carve_to is not None
    if by_file or wanted.clone == "always":
        raise ValueError(_NOT_INTO_PAGES)


def _refuse_target(opened: Source, destination: Destination, wanted: _Wanted) -> None:
    """Raise ValueError, before anything is written over, for what cannot be made so."""
    destination.refuse_source(opened)
    if wanted.scan_zeros and destination.needs_map(wanted.options):
        raise ValueError(_BY_MAP)
    if wanted.clone == "always" and wanted.salvage:
        raise ValueError("what is salvaged is read, and no space of it shared: leave --clone always out")
    if wanted.clone == "always" and not isinstance(destination, FileDestination):
        raise ValueError(NOT_SHARED)


def _as_converted(sent: UploadResult) -> ConvertResult:
    """What went into a page blob, as conversions tell it."""
    return ConvertResult(
        sent.path,
        sent.source_format,
        sent.format,
        sent.virtual_size,
        sent.file_size,
        sent.sent_size + sent.resumed_size - FOOTER_SIZE,
        (*sent.remarks, f"next: {sent.next_command}"),
    )


def _all_volumes() -> VolumeSelection:
    from vhdx.disk.free_space import VolumeSelection  # noqa: PLC0415  who keeps all need not wait for it

    return VolumeSelection()


class _Resuming(NamedTuple):
    """Where a conversion goes that can be broken off."""

    target: str
    state: str
    overwrite: bool
    is_raw: bool


def _resumed(
    source: Source, how: _Resuming, on_doubt: Callable[[Doubt], None] | None, progress: Progress | None
) -> ConvertResult:
    from vhdx.ops.make.resume import Resumed  # noqa: PLC0415  whoever waits for no dying drive needs none

    if not how.is_raw or source.disk is None:
        raise ValueError("a map file goes with salvage, a disk in a file, and a raw target")
    copy = Resumed(source.disk, how.target, how.state)
    copy.run(overwrite=how.overwrite, progress=progress)
    count = _report(copy.doubts(), on_doubt)
    size = source.disk.size
    return ConvertResult(how.target, source.format, "raw", size, size, copy.written, source.remarks(), count)


def _report_doubts(source: Source, on_doubt: Callable[[Doubt], None] | None) -> int:
    """Tell what is doubtful about the source; how many ranges that are."""
    return _report(source.disk.doubts if source.disk is not None else (), on_doubt)


def _report(doubts: Iterable[Doubt], on_doubt: Callable[[Doubt], None] | None) -> int:
    count = 0
    for doubt in doubts:
        count += 1
        if on_doubt is not None:
            on_doubt(doubt)
    return count
