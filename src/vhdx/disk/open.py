"""Opening: a path or a file object becomes a virtual disk. Each file is opened once."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING, Literal

from vhdx.disk.chain import Disk
from vhdx.disk.parents import open_chain, policy_from
from vhdx.errors import UnsupportedImageError
from vhdx.format.identifier import SIGNATURE
from vhdx.image import image
from vhdx.storage.file import open_for_reading, open_for_writing
from vhdx.storage.stream import SeekableFile, StreamStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.disk.parents import Parents
    from vhdx.image.image import Image
    from vhdx.storage.base import ReadableStorage, Storage


def open_disk(
    file: str | os.PathLike[str] | SeekableFile,
    mode: Literal["r", "r+"] = "r",
    *,
    parents: Parents = None,
    lock: bool = True,
) -> Disk:
    """Open a VHDX image, fixed, dynamic or differencing, to read its virtual disk or to write to it.

    ``file`` is a path or, for reading, any seekable binary file object (which stays open when the disk is
    closed). With mode ``"r"`` nothing is written, also not for an image whose log is dirty: that is
    replayed in memory. With ``"r+"`` nothing is written before the first change; then a dirty log is
    replayed in its place. ``parents`` says where the parents of a differencing image may be beside its own
    directory: a path, several paths of files or directories, or a ParentPolicy. ``lock=False`` reads a
    file that somebody else writes to, or writes where the file system has no locks.

    Raises CorruptImageError, UnsupportedImageError, ParentNotFoundError, ParentMismatchError,
    ImageLockedError, OSError; ValueError for another mode.
    """
    if mode not in ("r", "r+"):
        raise ValueError(f'mode is {mode!r}, must be "r" or "r+"')
    if mode == "r":
        leaf = open_image(file, lock=lock)
        with closing_on_failure(leaf.storage):
            return with_parents(leaf, parents, lock=lock)
    if not isinstance(file, str | os.PathLike):
        raise TypeError(f"only a path can be written to, not a {type(file).__name__}")
    storage = open_for_writing(os.fspath(file), lock=lock)
    with closing_on_failure(storage):
        return writable_disk(storage, parents, lock=lock)


def writable_disk(storage: Storage, parents: Parents = None, *, lock: bool = True) -> Disk:
    """The disk of the image in a storage, to be written to. Takes the storage over."""
    from vhdx.image.write import Writer  # noqa: PLC0415  readers need not wait for it

    leaf = image.load(storage)
    if leaf.metadata.has_parent:
        raise UnsupportedImageError(
            "differencing images can be read but not written to",
            image=leaf.name,
            next_command=f"vhdx convert {leaf.name} FLAT.vhdx",
        )
    return Disk(open_chain(leaf, policy_from(parents), lock=lock), partial(Writer, storage, leaf))


@contextlib.contextmanager
def closing_on_failure(storage: ReadableStorage) -> Iterator[None]:
    """Close the storage if the block raises, whatever it raises."""
    try:
        yield
    except BaseException:
        storage.close()
        raise


def open_image(file: str | os.PathLike[str] | SeekableFile, *, lock: bool = True) -> Image:
    """Open one file without looking for its parents: what it says of itself. Raises as `open_disk` does."""
    storage = _storage_of(file, lock=lock)
    with closing_on_failure(storage):
        return image.load(storage)


def with_parents(leaf: Image, parents: Parents, *, lock: bool = True) -> Disk:
    """The disk of an image that is open: its parents are looked for now. Raises as `open_disk` does."""
    return Disk(open_chain(leaf, policy_from(parents), lock=lock))


def _storage_of(file: str | os.PathLike[str] | SeekableFile, *, lock: bool) -> ReadableStorage:
    if isinstance(file, str | os.PathLike):
        return open_for_reading(os.fspath(file), lock=lock)
    if not (hasattr(file, "seek") and hasattr(file, "read")):
        raise TypeError(f"a path or a seekable binary file object is needed, not {type(file).__name__}")
    return StreamStorage(file, owned=False)


def is_vhdx(storage: ReadableStorage) -> bool:
    """Whether a file says of itself that it is a VHDX."""
    return storage.size() >= len(SIGNATURE) and storage.read(len(SIGNATURE), 0) == SIGNATURE
