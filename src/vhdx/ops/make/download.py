"""Download: a page blob becomes a small image, of which only the pages that are stored are read."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vhdx.disk.open import readable_disk
from vhdx.disk.places import policy_from
from vhdx.disk.vhd import VhdDisk
from vhdx.errors import CorruptImageError
from vhdx.format.vhd import FOOTER_SIZE
from vhdx.image.vhd_load import has_sound_footer
from vhdx.ops.blobs.advice import revoke
from vhdx.ops.make.addresses import FILE, writable
from vhdx.ops.make.destination import FileDestination
from vhdx.ops.make.made import made_of
from vhdx.ops.make.plan import ImageOptions
from vhdx.ops.make.source import PIECE_SIZE, DiskSource
from vhdx.ops.make.target import format_of
from vhdx.ops.make.upload import DEFAULT_JOBS, MEMORY, MOST_JOBS
from vhdx.rules import VHD_FOOTER_NONE
from vhdx.storage.blob_address import blob_address
from vhdx.storage.blob_storage import BlobStorage
from vhdx.storage.page_blob import LARGEST_PIECE, PageBlob
from vhdx.storage.workers import piece_length, workers
from vhdx.text import brief

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.disk.formats import Format
    from vhdx.disk.opened import Disk
    from vhdx.progress import Progress
    from vhdx.storage.workers import Workers


@brief("path", "format", "virtual_size", "file_size", "fetched_size")
@dataclass(frozen=True, slots=True, repr=False)
class DownloadResult:
    """What was made. Sizes in bytes; ``source`` is the blob's address, without anything secret."""

    path: str
    format: str
    source: str
    source_format: str
    virtual_size: int
    file_size: int
    data_size: int
    """How much of the disk's contents was written."""
    fetched_size: int
    """How much of the blob was read for that."""
    remarks: tuple[str, ...]
    next_command: str | None
    """What to run in Azure's own program now; None where nothing waits for that."""


def download(
    source: str,
    target: str | os.PathLike[str],
    *,
    source_format: Format | None = None,
    target_format: Format | None = None,
    options: ImageOptions | None = None,
    overwrite: bool = False,
    jobs: int = DEFAULT_JOBS,
    progress: Progress | None = None,
) -> DownloadResult:
    """Make an image of the disk in the page blob ``source`` of Azure.

    ``source`` is an address as `upload` takes it, or the SAS of a managed disk or snapshot. Only pages that
    are stored are read, by ``jobs`` threads, and compared with the MD5 that the service says. ``target`` is a
    new file, whole or not at all; its suffix says whether it becomes a VHDX, VHD or raw disk, and ``options``
    how it is made. A blob that is changed meanwhile gives an OSError, and no file. A blob without the footer
    of a VHD, as an upload leaves it that was broken off, is only read with ``source_format="raw"``.

    Needs ``vhdx[cloud]``. Raises what `upload` and `convert` raise.
    """
    if not 1 <= jobs <= MOST_JOBS:
        raise ValueError(f"the number of jobs must be 1 to {MOST_JOBS}, not {jobs}")
    path = os.fspath(target)
    if writable(path) is not FILE:
        raise ValueError(f"{path}: what is downloaded goes into a new file; convert it from there")
    address = blob_address(source)
    destination = FileDestination(path, target_format or format_of(path), overwrite, sync=True)
    with workers(jobs) as crew, contextlib.closing(PageBlob(address, crew.stopped, jobs)) as blob:
        storage = BlobStorage(blob)
        if storage.kind != "PageBlob":
            raise ValueError(f"{blob.name} is a {storage.kind}, not a page blob: vhdx convert reads it")
        found = source_format or _format_of(storage)
        with readable_disk(storage, found, policy_from(None)) as disk:
            opened = _ParallelSource(disk, found, crew, jobs)
            made = made_of(opened, destination, options or ImageOptions(), progress=progress)
    return DownloadResult(
        path,
        destination.format,
        address.name,
        found,
        made.disk_size,
        made.file_size,
        made.written,
        storage.fetched,
        (*made.rounded, *opened.remarks(), *made.remarks, *made.left_over),
        revoke() if address.is_managed_disk else None,
    )


def _format_of(storage: BlobStorage) -> Format:
    """That of a VHD, by its footer: what stands at the beginning of a disk is the guest's.

    Raises CorruptImageError where there is none.
    """
    if has_sound_footer(storage):
        return "vhd"
    raise CorruptImageError(
        "it does not end like a VHD: an upload was broken off, or this is a raw disk: say -f raw or -f vhd",
        image=storage.name,
        structure="footer",
        file_offset=max(0, storage.size() - FOOTER_SIZE),
        rule=VHD_FOOTER_NONE.section,
    )


class _ParallelSource(DiskSource):
    """A disk that several threads read ahead of whoever takes its pieces."""

    def __init__(self, disk: Disk, name: Format, crew: Workers, jobs: int) -> None:
        # It waits for a network: what reads it must be one that can be interrupted.
        super().__init__(disk, name, image=disk if isinstance(disk, VhdDisk) else None, waits=True)
        self._crew = crew
        self._length = piece_length(jobs, MEMORY, LARGEST_PIECE, PIECE_SIZE)

    def pieces(self, buffers: Iterator[bytearray]) -> Iterator[tuple[int, bytearray]]:
        """What the disk does not know to be zeros; ``buffers`` only say how long they are wanted."""
        for start, data in self._crew.in_order(self._fetched, self._cut()):
            view, offset = memoryview(data), start
            while offset < start + len(data):
                if next(buffers, None) is None:
                    return
                count = min(PIECE_SIZE - offset % PIECE_SIZE, start + len(data) - offset)
                yield offset, bytearray(view[offset - start : offset - start + count])
                offset += count

    def _cut(self) -> Iterator[tuple[int, int]]:
        for start, length in self.ranges():
            offset, end = start, start + length
            while offset < end:
                count = min(self._length - offset % self._length, end - offset)
                yield offset, count
                offset += count

    def _fetched(self, run: tuple[int, int]) -> tuple[int, bytearray]:
        offset, length = run
        data = bytearray(length)
        self.read_into(data, offset)
        return offset, data
