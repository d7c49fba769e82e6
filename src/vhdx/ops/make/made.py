"""A target made of a source that is open, in one forward pass: shared where that can be, else copied."""

from __future__ import annotations

from vhdx.ops.make.ahead import pieces_of
from vhdx.ops.make.plan import NOT_RESERVED, ImageOptions, Rounding
from vhdx.ops.make.resector import with_sectors_of
from vhdx.ops.make.source import stored_size
from vhdx.ops.make.target import target_for
from vhdx.storage.file import telling_if_full
from vhdx.storage.sharing import NOT_SHARED, SHARED
from vhdx.storage.write_back import WriteBack
from vhdx.typed import TYPE_CHECKING, NamedTuple
from vhdx.units import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vhdx.ops.make.carving import Carving
    from vhdx.ops.make.cloning import Cloned
    from vhdx.ops.make.source import Source
    from vhdx.ops.make.writing import Destination, Writing
    from vhdx.progress import Progress
    from vhdx.storage.sharing import Clone


class Made(NamedTuple):
    """What was made, in bytes, and what is to be said of it."""

    disk_size: int
    file_size: int
    written: int
    rounded: Sequence[str]
    remarks: Sequence[str]
    left_over: Sequence[str]


def made_of(
    source: Source,
    destination: Destination,
    options: ImageOptions,
    *,
    salvage: bool = False,
    clone: Clone = "never",
    scan_zeros: bool = False,
    carving: Carving | None = None,
    progress: Progress | None = None,
) -> Made:
    """Make it of a source that is open."""
    rounding = Rounding()
    target = target_for(source, destination.format, options, rounding, salvage=salvage)
    disk_size = None if source.size is None else target.disk_size(source.size, rounding)
    size, sector_size = destination.medium or (disk_size, target.sector_size)
    read, remarks = with_sectors_of(source, sector_size, size)
    left_over: list[str] = []
    with destination.opened(target, read, disk_size, left_over.append) as writing:
        if carving is not None:
            carving.prepare()
        cloned = None if salvage else _shared(read, writing, clone, scan_zeros, progress)
        if cloned is not None and cloned.shared and target.is_fixed:
            left_over.append(SHARED)
        written = _copy(read, writing, progress) if cloned is None else cloned.stored
        if disk_size is None:
            disk_size = target.disk_size(source.size or 0, rounding)
        with telling_if_full(lambda: _told_written(written, writing)):
            file_size = writing.sink.finish(disk_size)
    if not writing.sink.reserved:
        left_over.insert(0, NOT_RESERVED)
    return Made(disk_size, file_size, written, rounding.sentences, remarks, left_over)


def _shared(
    source: Source, writing: Writing, clone: Clone, scan_zeros: bool, progress: Progress | None
) -> Cloned | None:
    """Share what is stored of the source; None, before anything is written, where it is to be copied."""
    if clone == "never":
        return None
    done, storage = None, writing.storage
    if storage is not None and storage.may_share_with(storage):
        from vhdx.ops.make import cloning  # noqa: PLC0415  most file systems cannot

        wish = cloning.Wish(must_be_shared=clone == "always", scan_zeros=scan_zeros)
        if cloning.can_be_tried(source, writing):
            done = cloning.clone(source, writing, wish, progress)
    if clone == "always" and (done is None or (done.stored and not done.shared)):
        raise ValueError(NOT_SHARED)
    return done


def _told_written(written: int, writing: Writing) -> str:
    """How much data a target has whose host is full; through a pipe zeros and tables may have gone, too."""
    if not written:
        return "no data had been written"
    fate = "which is not the whole disk" if writing.storage is None else "and went with the new file"
    return f"{format_size(written)} of data had been written, {fate}"


def _copy(source: Source, writing: Writing, progress: Progress | None) -> int:
    """Copy what is not zeros; how many bytes that were."""
    written = done = 0
    write_back = WriteBack(writing.start_writing_back)
    total = None if progress is None else stored_size(source)
    with (
        telling_if_full(lambda: _told_written(written, writing)),
        pieces_of(source) as pieces,
    ):
        for offset, data, runs in pieces:
            view = memoryview(data)
            for start, stop in runs:
                writing.sink.put(view[start:stop], offset + start)
                written += stop - start
                write_back.wrote(stop - start)
            done += len(data)
            if progress is not None:
                progress(done, total)
    return written
