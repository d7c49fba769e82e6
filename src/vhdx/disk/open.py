"""Opening: a path or a file object becomes a virtual disk. Each file is opened once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from vhdx.disk.chain import Disk
from vhdx.disk.parents import open_chain, policy_from
from vhdx.format.identifier import SIGNATURE
from vhdx.image import image
from vhdx.storage.file import open_for_reading
from vhdx.storage.stream import SeekableFile, StreamStorage

if TYPE_CHECKING:
    from vhdx.disk.parents import Parents
    from vhdx.image.image import Image
    from vhdx.storage.base import ReadableStorage


def open_disk(
    file: str | os.PathLike[str] | SeekableFile,
    mode: Literal["r"] = "r",
    *,
    parents: Parents = None,
    lock: bool = True,
) -> Disk:
    """Open a VHDX image, fixed, dynamic or differencing, to read its virtual disk.

    ``file`` is a path, or any seekable binary file object (which stays open when the disk is closed).
    Nothing is written, also not for an image whose log is dirty: that is replayed in memory. ``parents``
    says where the parents of a differencing image may be beside its own directory: a path, several paths
    of files or directories, or a ParentPolicy. ``lock=False`` reads a file that somebody else writes to.

    Raises CorruptImageError, UnsupportedImageError, ParentNotFoundError, ParentMismatchError,
    ImageLockedError, OSError; ValueError for a mode other than ``"r"``.
    """
    if mode != "r":
        raise ValueError(f'mode is {mode!r}, must be "r"')
    leaf = open_image(file, lock=lock)
    try:
        return with_parents(leaf, parents, lock=lock)
    except BaseException:
        leaf.storage.close()
        raise


def open_image(file: str | os.PathLike[str] | SeekableFile, *, lock: bool = True) -> Image:
    """Open one file without looking for its parents: what it says of itself. Raises as `open_disk` does."""
    storage = _storage_of(file, lock=lock)
    try:
        return image.load(storage)
    except BaseException:
        storage.close()
        raise


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
