"""Opening: a path or a file object becomes a virtual disk. Nothing is read before its kind is known."""

from __future__ import annotations

import os
from functools import partial

from vhdx.disk.chain import VhdxDisk
from vhdx.disk.formats import (
    closing_on_failure,
    format_of_contents,
    format_of_file,
    format_of_name,
    image_in,
    policy_of,
    storage_of,
)
from vhdx.disk.parents import closing_parents, open_chain, salvaged_chain
from vhdx.disk.places import policy_from
from vhdx.disk.raw import RawDisk
from vhdx.image import image
from vhdx.progress import to_nobody
from vhdx.storage.file import open_for_writing
from vhdx.storage.stream import is_url
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Literal, TypeAlias

    from vhdx.disk.formats import Format, Openable
    from vhdx.disk.opened import Disk
    from vhdx.disk.places import ParentPolicy, Parents
    from vhdx.image.image import Image
    from vhdx.known import KnownDisk
    from vhdx.progress import Advance
    from vhdx.storage.base import ReadableStorage, Storage

Mode: TypeAlias = "Literal['r', 'r+']"


def open_disk(
    file: Openable,
    mode: Mode = "r",
    *,
    parents: Parents = None,
    lock: bool = True,
    salvage: bool = False,
    commit_interval: float = 0,
    known: KnownDisk | None = None,
) -> VhdxDisk:
    """Open a VHDX and nothing else, as `open_any` does."""
    _check_words(mode, commit_interval, salvage=salvage)
    policy = policy_of(file, parents)
    if mode == "r+":
        storage = open_for_writing(_path_to_write(file), lock=lock)
        return writable_disk(storage, policy, lock=lock, commit_interval=commit_interval)
    if salvage:
        return _salvaged_disk(storage_of(file, lock=lock), policy, known, lock=lock)
    readable = storage_of(file, lock=lock)
    with closing_on_failure(readable):
        return _vhdx_disk(readable, policy, lock=lock)


def _check_words(mode: str, commit_interval: float, *, salvage: bool) -> None:
    """Raise ValueError for what opening does not know, or not together."""
    if commit_interval:
        from vhdx.disk.commits import check_interval  # noqa: PLC0415  most callers need not wait for it

        check_interval(commit_interval)
    if mode not in ("r", "r+"):
        raise ValueError(f'mode is {mode!r}, must be "r" or "r+"')
    if salvage and mode != "r":
        raise ValueError('salvage goes with mode "r": a damaged image is only read')


def _path_to_write(file: Openable) -> str:
    """The path of what is to be written to. Raises TypeError and ValueError for what has none."""
    if not isinstance(file, str | os.PathLike):
        raise TypeError(f"only a path can be written to, not a {type(file).__name__}")
    if is_url(file):
        raise ValueError(f"{file} is elsewhere: only files of this host are written to")
    return os.fspath(file)


def _vhdx_disk(storage: ReadableStorage, policy: ParentPolicy, *, lock: bool) -> VhdxDisk:
    return with_parents(image_in(storage), policy, lock=lock)


def _salvaged_disk(
    storage: ReadableStorage, policy: ParentPolicy, known: KnownDisk | None, *, lock: bool
) -> VhdxDisk:
    """What can be read of a damaged image and its parents. Takes the storage over."""
    from vhdx.examine import salvage  # noqa: PLC0415  sound images need not wait for it

    with closing_on_failure(storage):
        leaf = salvage.load(storage) if known is None else salvage.load(storage, known)
        layers, ends_early = salvaged_chain(leaf, policy, lock=lock)
        return VhdxDisk(layers, ends_early=ends_early)


def readable_disk(
    storage: ReadableStorage, image_format: Format, policy: ParentPolicy, *, lock: bool = True
) -> Disk:
    """The disk in a storage, to be read. Takes the storage over."""
    with closing_on_failure(storage):
        if image_format == "raw":
            return RawDisk(storage)
        if image_format == "vhd":
            from vhdx.disk.vhd import vhd_disk  # noqa: PLC0415  the older format is the rarer one

            return vhd_disk(storage, policy, lock=lock)
        return _vhdx_disk(storage, policy, lock=lock)


def writable_disk(
    storage: Storage,
    parents: Parents = None,
    *,
    lock: bool = True,
    commit_interval: float = 0,
    advance: Advance = to_nobody,
) -> VhdxDisk:
    """The disk of the image in a storage, to be written to. Takes the storage over.

    ``advance`` is told the bytes of the file that are looked into before space is taken or cut.
    """
    from vhdx.write.write import Writer  # noqa: PLC0415  readers need not wait for it

    with closing_on_failure(storage):
        leaf = image.load(storage)
        layers = open_chain(leaf, policy_from(parents), lock=lock)
        with closing_parents(layers):
            below = VhdxDisk(layers[1:]) if layers[1:] else None
            writer = partial(Writer, storage, leaf, below=below, advance=advance)
            return VhdxDisk(layers, writer, commit_interval=commit_interval)


def with_parents(leaf: Image, parents: Parents, *, lock: bool = True) -> VhdxDisk:
    """The disk of an image that is open: its parents are looked for now. Raises as `open_disk` does."""
    return VhdxDisk(open_chain(leaf, policy_from(parents), lock=lock))


def lone_disk(storage: Storage) -> VhdxDisk:
    """The image in a storage without its parents: for changes of its metadata. Takes the storage over."""
    from vhdx.write.write import Writer  # noqa: PLC0415  readers need not wait for it

    with closing_on_failure(storage):
        leaf = image.load(storage)
        return VhdxDisk([leaf], partial(Writer, storage, leaf))


def open_any(
    file: Openable,
    mode: Mode = "r",
    *,
    image_format: Format | None = None,
    parents: Parents = None,
    lock: bool = True,
    salvage: bool = False,
    ignore_bitmaps: bool = False,
    commit_interval: float = 0,
    known: KnownDisk | None = None,
) -> Disk:
    """Open a VHDX or a VHD, fixed, dynamic or differencing, or a raw disk, to read it or to write to it.

    ``file`` is a path, the URL of a file elsewhere (``https://…``, ``s3://…``; with the extra `vhdx[remote]`)
    or of a disk that an NBD server has (``nbd://…``), or any seekable binary file object, which stays open
    when the disk is closed; all but paths are only read. ``image_format`` is ``"vhdx"``, ``"vhd"`` or
    ``"raw"``; None tells it by contents and name, without guessing: what could be two things raises
    ValueError, and a file object is raw only if that is said.

    With mode ``"r"`` nothing is written, also not for an image whose log is dirty: that is replayed in
    memory. With ``"r+"``, which VHDs have not, nothing is written before the first change; then a dirty log
    is replayed in its place. ``parents`` says where the parents of a differencing image may be beside its
    own directory: a path, several paths of files or directories, or a ParentPolicy; of a URL no other
    parent is looked for. ``lock=False`` reads a file that somebody else writes to, or writes where the file
    system has no locks. ``salvage=True`` reads what can be read of a damaged image, whatever is wrong with
    single blocks, the log, or parents that are not there; ``disk.doubts`` then lists the ranges that may be
    wrong and why. ``known`` is what you know of a disk to be salvaged whose metadata are lost.
    ``ignore_bitmaps`` takes every sector of a stored block of a VHD without a parent as it stands, as QEMU
    does. ``commit_interval`` lets a thread make durable every so many seconds what was written to a VHDX,
    without anybody's flush; 0 does not.

    Raises CorruptImageError, UnsupportedImageError, ParentNotFoundError, ParentMismatchError,
    ImageLockedError, OSError; ValueError also for what is not written to: VHDs, and raw disks that are no
    file of whole sectors.
    """
    _check_words(mode, commit_interval, salvage=salvage)
    policy = policy_of(file, parents)
    if mode == "r+":
        return _any_writable(file, image_format, policy, lock=lock, commit_interval=commit_interval)
    storage = storage_of(file, lock=lock)
    with closing_on_failure(storage):
        readable = _skipping(storage) if salvage else storage
        found = image_format or (_format_to_salvage if salvage else format_of_contents)(file, readable)
        if found == "vhdx" and salvage:
            return _salvaged_disk(storage, policy, known, lock=lock)
        if found == "vhd" and (salvage or ignore_bitmaps):
            from vhdx.disk.vhd import vhd_disk  # noqa: PLC0415  the older format is the rarer one

            return vhd_disk(storage, policy, lock=lock, salvage=salvage, uses_bitmaps=not ignore_bitmaps)
        return readable_disk(readable, found, policy, lock=lock)


def _format_to_salvage(file: Openable, storage: ReadableStorage) -> Format:
    """What a file is by its contents or, of an image whose beginning is lost, by its name."""
    by_suffix = format_of_name(os.fspath(file)) if isinstance(file, str | os.PathLike) else None
    if by_suffix in ("vhdx", "vhd") and format_of_file(storage) == "raw":
        return by_suffix
    return format_of_contents(file, storage)


def _any_writable(
    file: Openable, image_format: Format | None, parents: Parents, *, lock: bool, commit_interval: float
) -> VhdxDisk | RawDisk:
    path = _path_to_write(file)
    storage = open_for_writing(path, lock=lock)
    with closing_on_failure(storage):
        found = image_format or format_of_contents(path, storage)
        if found == "vhd":
            from vhdx.image.other_formats import vhd_is_only_read  # noqa: PLC0415  only on the way to an error

            raise vhd_is_only_read(path)
        if found == "raw":
            if image_format is None and format_of_name(path) != "raw":
                raise ValueError(
                    f"{path} is raw, or a damaged image: say that its format is raw to write to it as it is"
                )
            return RawDisk(storage, storage)
        return writable_disk(storage, parents, lock=lock, commit_interval=commit_interval)


def _skipping(storage: ReadableStorage) -> ReadableStorage:
    from vhdx.storage.skipping import SkippingStorage  # noqa: PLC0415  sound disks need not wait for it

    return SkippingStorage(storage)
