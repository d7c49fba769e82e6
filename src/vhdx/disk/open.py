"""Opening: a path or a file object becomes a virtual disk. Nothing is read before its kind is known."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from functools import partial
from typing import TYPE_CHECKING, Literal

from vhdx.disk.chain import Disk
from vhdx.disk.parents import closing_parents, open_chain, salvaged_chain
from vhdx.disk.places import policy_from
from vhdx.disk.raw import RawDisk
from vhdx.errors import CorruptImageError, UnsupportedImageError
from vhdx.format.foreign import PREFIX_SIZE, foreign, foreign_to_images
from vhdx.format.identifier import SIGNATURE
from vhdx.image import image
from vhdx.rules import IDENTIFIER_SIGNATURE
from vhdx.storage.base import read_copy
from vhdx.storage.file import open_for_reading, open_for_writing
from vhdx.storage.stream import SeekableFile, StreamStorage
from vhdx.text import command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.disk.places import ParentPolicy, Parents
    from vhdx.disk.vhd import VhdDisk
    from vhdx.image.image import Image
    from vhdx.known import KnownDisk
    from vhdx.storage.base import ReadableStorage, Storage

Format = Literal["raw", "vhdx", "vhd"]
Mode = Literal["r", "r+"]
SUFFIXES: dict[str, Format] = {
    ".vhdx": "vhdx",
    ".avhdx": "vhdx",
    ".vhd": "vhd",
    ".avhd": "vhd",
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
    salvage: bool = False,
    commit_interval: float = 0,
    known: KnownDisk | None = None,
) -> Disk:
    """Open a VHDX image, fixed, dynamic or differencing, to read its virtual disk or to write to it.

    ``file`` is a path or, for reading, any seekable binary file object (which stays open when the disk is
    closed). With mode ``"r"`` nothing is written, also not for an image whose log is dirty: that is
    replayed in memory. With ``"r+"`` nothing is written before the first change; then a dirty log is
    replayed in its place. ``parents`` says where the parents of a differencing image may be beside its own
    directory: a path, several paths of files or directories, or a ParentPolicy. ``lock=False`` reads a
    file that somebody else writes to, or writes where the file system has no locks. ``salvage=True`` reads
    what can be read of a damaged image, whatever is wrong with single blocks, the log, or parents that are
    not there; ``disk.doubts`` then lists the ranges that may be wrong and why. ``known`` is what you know of
    a disk to be salvaged whose metadata are lost. ``commit_interval`` lets a
    thread make durable every so many seconds what was written, without anybody's flush; 0 does not.

    Raises CorruptImageError, UnsupportedImageError, ParentNotFoundError, ParentMismatchError,
    ImageLockedError, OSError; ValueError for another mode, another interval, or to salvage in place.
    """
    if commit_interval:
        from vhdx.disk.commits import check_interval  # noqa: PLC0415  most callers need not wait for it

        check_interval(commit_interval)
    if mode not in ("r", "r+"):
        raise ValueError(f'mode is {mode!r}, must be "r" or "r+"')
    if salvage:
        if mode != "r":
            raise ValueError('salvage goes with mode "r": a damaged image is only read')
        return _salvaged_disk(_storage_of(file, lock=lock), policy_from(parents), known, lock=lock)
    if mode == "r":
        leaf = open_image(file, lock=lock)
        with closing_on_failure(leaf.storage):
            return with_parents(leaf, parents, lock=lock)
    if not isinstance(file, str | os.PathLike):
        raise TypeError(f"only a path can be written to, not a {type(file).__name__}")
    storage = open_for_writing(os.fspath(file), lock=lock)
    return writable_disk(storage, parents, lock=lock, commit_interval=commit_interval)


def _salvaged_disk(
    storage: ReadableStorage, policy: ParentPolicy, known: KnownDisk | None, *, lock: bool
) -> Disk:
    """What can be read of a damaged image and its parents. Takes the storage over."""
    from vhdx.examine import salvage  # noqa: PLC0415  sound images need not wait for it

    with closing_on_failure(storage):
        leaf = salvage.load(storage) if known is None else salvage.load(storage, known)
        layers, ends_early = salvaged_chain(leaf, policy, lock=lock)
        return Disk(layers, ends_early=ends_early)


def readable_disk(storage: ReadableStorage, parents: Parents = None, *, lock: bool = True) -> Disk:
    """The disk of the image in a storage, to be read. Takes the storage over."""
    with closing_on_failure(storage):
        return with_parents(image.load(storage), parents, lock=lock)


def writable_disk(
    storage: Storage, parents: Parents = None, *, lock: bool = True, commit_interval: float = 0
) -> Disk:
    """The disk of the image in a storage, to be written to. Takes the storage over."""
    from vhdx.write.write import Writer  # noqa: PLC0415  readers need not wait for it

    with closing_on_failure(storage):
        with _knowing_vhd(storage):
            leaf = image.load(storage)
        layers = open_chain(leaf, policy_from(parents), lock=lock)
        with closing_parents(layers):
            below = Disk(layers[1:]) if layers[1:] else None
            writer = partial(Writer, storage, leaf, below=below)
            return Disk(layers, writer, commit_interval=commit_interval)


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
    with closing_on_failure(storage), _knowing_vhd(storage):
        return image.load(storage)


@contextlib.contextmanager
def _knowing_vhd(storage: ReadableStorage) -> Iterator[None]:
    """Say of what is no VHDX but a VHD what can be done with it."""
    try:
        yield
    except CorruptImageError as error:
        from vhdx.image.vhd_load import has_sound_footer  # noqa: PLC0415  only on the way to an error

        if error.rule != IDENTIFIER_SIGNATURE.section or not has_sound_footer(storage):
            raise
        raise UnsupportedImageError(
            "this is a VHD, the older format, which is only converted, compared, measured and looked into",
            image=storage.name,
            next_command=command("convert {} NEW.vhdx", storage.name),
        ) from None


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
    from vhdx.write.write import Writer  # noqa: PLC0415  readers need not wait for it

    with closing_on_failure(storage):
        leaf = image.load(storage)
        return Disk([leaf], partial(Writer, storage, leaf))


def open_any(
    path: str,
    name: Format | None = None,
    mode: Mode = "r",
    *,
    parents: Parents = None,
    lock: bool = True,
    salvage: bool = False,
    ignore_bitmaps: bool = False,
    commit_interval: float = 0,
    known: KnownDisk | None = None,
) -> Disk | RawDisk | VhdDisk:
    """Open a raw disk, or a VHDX or VHD with its parents; None as ``name`` tells by the contents.

    ``ignore_bitmaps`` takes every sector of a stored block of a VHD without a parent as it stands, as
    QEMU does. ``commit_interval`` is for VHDX images: what is written to a raw disk is in its file at once.

    Raises what `open_disk` raises, and ValueError where the format cannot be told without doubt and for
    what is not written to: raw disks that are no file of whole sectors, and every VHD.
    """
    if mode == "r+":
        return _any_writable(path, name, parents, lock=lock, commit_interval=commit_interval)
    storage = open_for_reading(path, lock=lock and name != "vhdx")
    with closing_on_failure(storage):
        readable = _skipping(storage) if salvage else storage
        found = name or _format_of_contents(path, readable)
        if found == "raw":
            return RawDisk(readable)
        if found == "vhd":
            from vhdx.disk.vhd import vhd_disk  # noqa: PLC0415  the older format is the rarer one

            policy = policy_from(parents)
            return vhd_disk(storage, policy, lock=lock, salvage=salvage, uses_bitmaps=not ignore_bitmaps)
    storage.close()
    return open_disk(path, parents=parents, lock=lock, salvage=salvage, known=known)


def _any_writable(
    path: str, name: Format | None, parents: Parents, *, lock: bool, commit_interval: float
) -> Disk | RawDisk:
    storage = open_for_writing(path, lock=lock)
    with closing_on_failure(storage):
        found = name or _format_of_contents(path, storage)
        if found == "vhd":
            raise ValueError(f"{path} is a VHD, which is only read; vhdx convert makes a VHDX of it")
        if found == "raw":
            return RawDisk(storage, storage)
        return writable_disk(storage, parents, lock=lock, commit_interval=commit_interval)


def _skipping(storage: ReadableStorage) -> ReadableStorage:
    from vhdx.storage.skipping import SkippingStorage  # noqa: PLC0415  sound disks need not wait for it

    return SkippingStorage(storage)


def refuse_foreign(path: str, prefix: bytes) -> None:
    """Raise ValueError for what begins like a file of a kind that is not read here."""
    other = foreign(prefix)
    if other is not None:
        raise ValueError(
            f"{path} is {other.kind}, which is not read here: {other.advice}, or say -f raw if its bytes are "
            "those of the disk"
        )


def is_vhd_file(path: str) -> bool:
    """Whether a file looks like a VHD, the older format; by its contents."""
    storage = open_for_reading(path, lock=False)
    try:
        return format_of_file(storage) == "vhd"
    finally:
        storage.close()


def format_of_file(storage: ReadableStorage) -> Format:
    """What a file begins or ends like; anything may be raw, and so is what the host cannot read."""
    if storage.size() >= len(SIGNATURE) and read_copy(storage, len(SIGNATURE), 0) == SIGNATURE:
        return "vhdx"
    from vhdx.image.vhd_load import is_vhd  # noqa: PLC0415  whoever opens a VHDX need not wait for it

    return "vhd" if is_vhd(storage) else "raw"


def _format_of_contents(path: str, storage: ReadableStorage) -> Format:
    by_suffix = SUFFIXES.get(os.path.splitext(path)[1].lower())
    found = format_of_file(storage)
    prefix = storage.read(min(storage.size(), PREFIX_SIZE), 0) if found == "raw" else b""
    refuse_foreign(path, prefix)
    if found != "raw" and (by_suffix == "raw" or stat.S_ISBLK(os.stat(path).st_mode)):
        # Whoever may write to a raw disk, a guest for one, can make it look like an image that names files.
        raise ValueError(
            f"{path} is named like a raw disk but looks like a {found.upper()}; say -f raw or -f {found}"
        )
    if found == "raw" and by_suffix is not None and by_suffix != "raw":
        other = foreign_to_images(prefix)
        what = "does not look like one" if other is None else f"is {other.kind}: {other.advice}"
        raise ValueError(
            f"{path} is named like a {by_suffix.upper()} but {what}; say -f raw or -f {by_suffix}"
        )
    return found
