"""Upload: a disk becomes a fixed VHD in a page blob, with no file between them."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from vhdx.build.vhd import new_footer
from vhdx.disk.free_space import VolumeSelection
from vhdx.format import vhd
from vhdx.ops.blobs.advice import after_upload
from vhdx.ops.blobs.pages import ZERO_UNIT, page_runs
from vhdx.ops.blobs.room import room_of
from vhdx.ops.make.ahead import pieces_of
from vhdx.ops.make.opening import open_source
from vhdx.ops.make.plan import ImageOptions, Rounding
from vhdx.ops.make.resector import with_sectors_of
from vhdx.ops.make.source import IS_SOURCE, DiskSource, stored_size
from vhdx.ops.make.target import target_for
from vhdx.storage.blob_address import blob_address
from vhdx.storage.page_blob import LARGEST_PIECE, PageBlob
from vhdx.storage.workers import piece_length, workers
from vhdx.text import brief
from vhdx.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.disk.formats import Format, Openable
    from vhdx.disk.places import Parents
    from vhdx.ops.blobs.journal import Journal
    from vhdx.ops.make.ahead import Piece
    from vhdx.ops.make.source import Source
    from vhdx.progress import Progress
    from vhdx.storage.workers import Workers

DEFAULT_JOBS = 8
MOST_JOBS = 32
MEMORY = 16 * MIB
"""For all pieces that are under way at once."""
_SMALLEST_PIECE = 64 * KIB
_NO_FILE = (
    "only what is a file of this host says whether it was changed: without that nothing is gone on with"
)


@brief("path", "source_format", "virtual_size", "sent_size", "skipped_size")
@dataclass(frozen=True, slots=True, repr=False)
class UploadResult:
    """What went where. Sizes in bytes; ``path`` is the blob's address, without anything secret."""

    path: str
    format: str
    source_format: str
    virtual_size: int
    file_size: int
    """That of the blob: the disk and the footer of a VHD."""
    sent_size: int
    """What of it was sent now, the footer included."""
    skipped_size: int
    """What was not, because it is zeros."""
    resumed_size: int
    """What had been sent before, as the journal says."""
    remarks: tuple[str, ...]
    next_command: str
    """What to run in Azure's own program to use it."""


def upload(
    source: Openable,
    target: str,
    *,
    source_format: Format | None = None,
    partition: int | None = None,
    parents: Parents = None,
    overwrite: bool = False,
    lock: bool = True,
    resume: str | os.PathLike[str] | None = None,
    jobs: int = DEFAULT_JOBS,
    ignore_bitmaps: bool = False,
    discard_free: bool = False,
    volumes: VolumeSelection | None = None,
    progress: Progress | None = None,
) -> UploadResult:
    """Write the disk of ``source`` as a fixed VHD into the page blob ``target`` of Azure.

    ``source`` is what `convert` takes. ``target`` is an address such as
    ``https://ACCOUNT.blob.core.windows.net/CONTAINER/NAME.vhd``, with or without a SAS, the SAS of a managed
    disk that awaits an upload, or ``az://CONTAINER/NAME.vhd``; what an address lacks the environment says
    (AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or
    AZURE_STORAGE_CONNECTION_STRING). The size is rounded up
    to whole MiB, as Azure wants it. Only pages that are not zeros are sent, by ``jobs`` threads, each piece
    with its MD5; the footer goes last, so that what is not whole does not look so.

    A blob that is not there is made. One of the right size that holds nothing is filled, whatever made it;
    one that holds something only with ``overwrite``, which clears it first. ``resume`` is a file that says
    which pieces are done, made if it is not there and removed at the end: with it an upload that was broken
    off goes on, if neither the source nor the blob was changed. ``partition``, ``discard_free`` and
    ``volumes`` are as for `convert`.

    Needs ``vhdx[cloud]``. Raises ImportError without it, FileExistsError, PermissionError and other OSErrors
    for what the service refuses, ValueError for addresses and journals that do not fit, and what opening
    raises. None of them shows a SAS or a key.
    """
    if not 1 <= jobs <= MOST_JOBS:
        raise ValueError(f"the number of jobs must be 1 to {MOST_JOBS}, not {jobs}")
    address = blob_address(target)
    chosen = (volumes or VolumeSelection()) if discard_free else None
    with (
        open_source(
            source,
            source_format,
            parents=parents,
            lock=lock,
            partition=partition,
            ignore_bitmaps=ignore_bitmaps,
            volumes=chosen,
            whole=True,
        ) as opened,
        workers(jobs) as crew,
        contextlib.closing(PageBlob(address, crew.stopped, jobs)) as blob,
    ):
        taken = (partition, ignore_bitmaps, None if chosen is None else list(chosen))
        known = None if resume is None else _identity(opened, taken, lock=lock)
        wanted = _Wanted(overwrite, None if resume is None else os.fspath(resume), known)
        return _uploaded(opened, blob, crew, wanted, progress)


class _Wanted(NamedTuple):
    """What may be done to the blob; with a journal, by what the source is known again."""

    overwrite: bool
    resume: str | None
    source: list[Any] | None


def _uploaded(
    opened: Source, blob: PageBlob, crew: Workers, wanted: _Wanted, progress: Progress | None
) -> UploadResult:
    """Send a source that is open."""
    if opened.disk is not None and any(map(blob.is_named_by, opened.disk.chain)):
        raise ValueError(IS_SOURCE.format(blob.name))
    rounding = Rounding()
    made = target_for(opened, "vhd", ImageOptions(), rounding)
    if opened.size is None:
        raise ValueError("the size of what comes through the pipe must be known: write a file first")
    disk_size = made.disk_size(opened.size, rounding)
    size = disk_size + vhd.FOOTER_SIZE
    read, remarks = with_sectors_of(opened, made.sector_size, disk_size)
    journal = room_of(blob, size, overwrite=wanted.overwrite, resume=wanted.resume, source=wanted.source)
    before = 0 if journal is None else journal.sent
    sending = _Sending(blob, crew, journal)
    sending.run(read, piece_length(crew.count, MEMORY, LARGEST_PIECE, _SMALLEST_PIECE), progress)
    identity = None if journal is None else journal.upload
    blob.write(new_footer(vhd.FIXED, disk_size, identity), disk_size)
    if journal is not None:
        journal.remove()
    sent = sending.sent + vhd.FOOTER_SIZE
    return UploadResult(
        path=blob.name,
        format="vhd",
        source_format=opened.format,
        virtual_size=disk_size,
        file_size=size,
        sent_size=sent,
        skipped_size=max(0, size - sent - before),
        resumed_size=before,
        remarks=(*rounding.sentences, *opened.remarks(), *remarks),
        next_command=after_upload(blob.address),
    )


def _identity(source: Source, taken: tuple[Any, ...], *, lock: bool) -> list[Any]:
    """By what the source is known again. Raises ValueError for what does not say that it was changed."""
    if source.disk is None or not lock:
        raise ValueError(_NO_FILE)
    files: list[Any] = []
    opened = source.disk.files()
    for path in source.disk.chain:
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            raise ValueError(f"{path}: {_NO_FILE}") from None
        if not stat.S_ISREG(status.st_mode) or (status.st_dev, status.st_ino) not in opened:
            raise ValueError(f"{path}: {_NO_FILE}")
        files.append([status.st_size, status.st_mtime_ns, status.st_ctime_ns])
    return [source.format, source.size, *taken, files]


class _Sending:
    """The pieces of one disk on their way. ``sent`` counts bytes."""

    def __init__(self, blob: PageBlob, crew: Workers, journal: Journal | None) -> None:
        self._blob, self._crew, self._journal = blob, crew, journal
        self._counting = threading.Lock()
        self.sent = 0

    def run(self, source: Source, limit: int, progress: Progress | None) -> None:
        """Send everything that is not done, at most ``limit`` bytes at once."""
        if self._journal is not None and isinstance(source, DiskSource):
            source = source.without_done(self._journal.done)
        total = None if progress is None else stored_size(source)
        with pieces_of(source, ZERO_UNIT) as pieces:
            runs = page_runs(_watched(pieces, progress, total), limit)
            for _ in self._crew.in_order(self._send, _with_gaps(runs)):
                pass

    def _send(self, piece: tuple[int, int, bytes]) -> None:
        covered_from, offset, data = piece
        self._blob.write(data, offset)
        with self._counting:
            self.sent += len(data)
        if self._journal is not None:
            self._journal.add(covered_from, offset + len(data), len(data))


def _with_gaps(runs: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, int, bytes]]:
    """(where the zeros before it begin, offset, bytes) of each piece: they are done with it."""
    reached = 0
    for offset, data in runs:
        yield reached, offset, data
        reached = offset + len(data)


def _watched(pieces: Iterator[Piece], progress: Progress | None, total: int | None) -> Iterator[Piece]:
    done = 0
    for piece in pieces:
        yield piece
        done += len(piece.data)
        if progress is not None:
            progress(done, total)
