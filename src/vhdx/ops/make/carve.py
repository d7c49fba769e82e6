"""The blocks that no table names any more, as files of a directory, named by their places."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from vhdx.examine.carve import unowned_blocks
from vhdx.ops.files.target import Target, truncate
from vhdx.progress import Meter
from vhdx.storage.zeros import stored_nonzero_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.examine.carve import UnownedBlock
    from vhdx.image.image import Image
    from vhdx.progress import Progress


class CarvedBlock(NamedTuple):
    """A block that no table names: its place in the image's file, and the file that it was written to.

    ``looks_like`` is a guess: ``"boot sector"``, ``"partition table"``, ``"file system superblock"``,
    ``"directory"``, ``"file records"``, ``"text"``, ``"compressed"``, ``"random"`` or ``"data"``; ``detail``
    is more of it where more is known. ``unreadable`` bytes the host could not give; they are zeros there.
    """

    file_offset: int
    length: int
    looks_like: str
    detail: str | None
    unreadable: int
    path: str


def prepare(directory: str, *, overwrite: bool) -> None:
    """Make a directory, or take one that is empty. Raises FileExistsError for another, unless told so."""
    try:
        os.mkdir(directory)
    except FileExistsError:
        with os.scandir(directory) as entries:
            if not overwrite and next(entries, None) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), directory) from None
    Target(directory).close()  # where that cannot be held open nothing is converted first


def carve(
    image: Image, directory: str, *, overwrite: bool, progress: Progress | None = None
) -> Iterator[CarvedBlock]:
    """Write each block of an image that nothing names, one after the other, sparse.

    Nothing is written to but new files of the directory; with ``overwrite`` those of the same names go first.
    """
    with Target(directory, force=overwrite, distinct=True) as target:
        for block in unowned_blocks(image, Meter(progress).advance):
            name = _name_of(block)
            with target.new_file((name,)) as descriptor:
                _write(image, block, descriptor)
            place, end = block.file_offset, block.file_offset + block.length
            lost = sum(stop - start for start, stop in image.unreadable(place, end))
            path = os.path.join(directory, name)
            yield CarvedBlock(place, block.length, block.looks.kind, block.looks.detail, lost, path)


def _name_of(block: UnownedBlock) -> str:
    """Names in the order of the file: 64 TiB have fourteen digits."""
    return f"{block.file_offset:014}-{block.looks.kind.replace(' ', '-')}"


def _write(image: Image, block: UnownedBlock, descriptor: int) -> None:
    truncate(descriptor, block.length)
    with os.fdopen(os.dup(descriptor), "wb", buffering=0) as file:
        for start, length in stored_nonzero_runs(image.storage, block.file_offset, block.length):
            file.seek(start - block.file_offset)
            data = memoryview(image.storage.read(length, start))
            while data:
                data = data[file.write(data) :]
