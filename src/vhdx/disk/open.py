"""Opening: a path or a file object becomes a virtual disk. Nothing is read before its kind is known."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from functools import partial
from typing import TYPE_CHECKING, Literal

from vhdx.disk.chain import Disk
from vhdx.disk.parents import open_chain, policy_from
from vhdx.disk.raw import RawDisk
from vhdx.format.identifier import SIGNATURE
from vhdx.image import image
from vhdx.storage.file import open_for_reading, open_for_writing
from vhdx.storage.stream import SeekableFile, StreamStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.disk.parents import Parents
    from vhdx.image.image import Image
    from vhdx.storage.base import ReadableStorage, Storage

Format = Literal["raw", "vhdx"]
Mode = Literal["r", "r+"]
SUFFIXES: dict[str, Format] = {
    ".vhdx": "vhdx",
    ".avhdx": "vhdx",
    ".raw": "raw",
    ".img": "raw",
    ".dd": "raw",
    ".bin": "raw",
}
"""What the name of a file says of its format."""


def open_disk(
    file: str | os.PathLike[str] | SeekableFile,
    mode: Mode = "r",
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


def readable_disk(storage: ReadableStorage, parents: Parents = None, *, lock: bool = True) -> Disk:
    """The disk of the image in a storage, to be read. Takes the storage over."""
    with closing_on_failure(storage):
        return with_parents(image.load(storage), parents, lock=lock)


def writable_disk(storage: Storage, parents: Parents = None, *, lock: bool = True) -> Disk:
    """The disk of the image in a storage, to be written to. Takes the storage over."""
    from vhdx.image.write import Writer  # noqa: PLC0415  readers need not wait for it

    leaf = image.load(storage)
    layers = open_chain(leaf, policy_from(parents), lock=lock)
    below = Disk(layers[1:]) if layers[1:] else None
    return Disk(layers, partial(Writer, storage, leaf, below=below))


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
    if not getattr(file, "seekable", lambda: True)():
        raise io.UnsupportedOperation("the file object is not seekable, so no image can be read from it")
    return StreamStorage(file, owned=False)


def lone_disk(storage: Storage) -> Disk:
    """The image in a storage without its parents: for changes of its metadata. Takes the storage over."""
    from vhdx.image.write import Writer  # noqa: PLC0415  readers need not wait for it

    leaf = image.load(storage)
    return Disk([leaf], partial(Writer, storage, leaf))


def open_any(
    path: str,
    name: Format | None = None,
    mode: Mode = "r",
    *,
    parents: Parents = None,
    lock: bool = True,
) -> Disk | RawDisk:
    """Open a raw disk or a VHDX with its parents; None as ``name`` tells by the contents.

    Raises what `open_disk` raises, and ValueError where the format cannot be told without doubt and for
    a raw disk that is to be written to and is no file of whole sectors.
    """
    if mode == "r+":
        return _any_writable(path, name, parents, lock=lock)
    storage = open_for_reading(path, lock=lock and name != "vhdx")
    with closing_on_failure(storage):
        found = name or _format_of_contents(path, storage)
        if found == "raw":
            return RawDisk(storage)
    storage.close()
    return open_disk(path, parents=parents, lock=lock)


def _any_writable(path: str, name: Format | None, parents: Parents, *, lock: bool) -> Disk | RawDisk:
    storage = open_for_writing(path, lock=lock)
    with closing_on_failure(storage):
        if (name or _format_of_contents(path, storage)) == "raw":
            return RawDisk(storage, storage)
        return writable_disk(storage, parents, lock=lock)


def _format_of_contents(path: str, storage: ReadableStorage) -> Format:
    by_suffix = SUFFIXES.get(os.path.splitext(path)[1].lower())
    is_vhdx = storage.size() >= len(SIGNATURE) and storage.read(len(SIGNATURE), 0) == SIGNATURE
    if is_vhdx and (by_suffix == "raw" or stat.S_ISBLK(os.stat(path).st_mode)):
        # Whoever may write to a raw disk, a guest for one, can make it look like an image that names files.
        raise ValueError(f"{path} is named like a raw disk but begins like a VHDX; say -f raw or -f vhdx")
    if not is_vhdx and by_suffix == "vhdx":
        raise ValueError(f"{path} is named like a VHDX but does not begin like one; say -f raw or -f vhdx")
    return "vhdx" if is_vhdx else "raw"
