"""What callers give to be opened: its storage, its format by contents and name, where its parents may be.

Whoever only looks at the structures of an image needs no disk, and does not wait for one.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat

from vhdx.disk.places import open_regular_file, policy_from
from vhdx.errors import CorruptImageError
from vhdx.format import header, region
from vhdx.format.foreign import PREFIX_SIZE, RAW_SUFFIXES, foreign, foreign_to_images
from vhdx.format.identifier import SIGNATURE
from vhdx.image import image
from vhdx.rules import IDENTIFIER_SIGNATURE, VHD_FOOTER_NONE
from vhdx.storage.base import read_copy
from vhdx.storage.file import open_for_reading
from vhdx.storage.stream import SeekableFile, StreamStorage, is_export, is_url
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from vhdx.disk.base import Format as Format  # noqa: PLC0414  also for those who name formats
    from vhdx.disk.places import ParentPolicy, Parents
    from vhdx.image.image import Image
    from vhdx.storage.base import ReadableStorage

Openable: TypeAlias = str | os.PathLike[str] | SeekableFile
"""What can be opened: a path, a URL, a file object."""
SUFFIXES: dict[str, Format] = {
    ".vhdx": "vhdx",
    ".avhdx": "vhdx",
    ".vhd": "vhd",
    ".avhd": "vhd",
    **dict.fromkeys(RAW_SUFFIXES, "raw"),
}
"""What the name of a file says of its format."""
_INNER_SIGNATURES = (
    *((offset, header.SIGNATURE) for offset in header.HEADER_OFFSETS),
    *((offset, region.SIGNATURE) for offset in region.TABLE_OFFSETS),
)
"""What stands in a VHDX also if its beginning is lost."""


@contextlib.contextmanager
def closing_on_failure(storage: ReadableStorage) -> Iterator[None]:
    """Close the storage if the block raises, whatever it raises."""
    try:
        yield
    except BaseException:
        storage.close()
        raise


def open_image(file: Openable, *, lock: bool = True) -> Image:
    """Open one file without looking for its parents: what it says of itself. Raises as `open_disk` does."""
    return image_in(storage_of(file, lock=lock))


def image_in(storage: ReadableStorage) -> Image:
    """The VHDX in a storage, which it takes over. Raises as `open_disk` does."""
    with closing_on_failure(storage):
        return image.load(storage)


def storage_of(file: Openable, *, lock: bool = True) -> ReadableStorage:
    """What a path, a URL or a file object stands for, to be read; closing it leaves a file object open."""
    if isinstance(file, str | os.PathLike):
        return _elsewhere(file) if is_url(file) else open_for_reading(os.fspath(file), lock=lock)
    if not (hasattr(file, "seek") and hasattr(file, "read")):
        raise TypeError(f"a path or a seekable binary file object is needed, not {type(file).__name__}")
    if not getattr(file, "seekable", lambda: True)():
        raise io.UnsupportedOperation("the file object is not seekable, so no image can be read from it")
    return StreamStorage(file, owned=False)


def policy_of(file: Openable, parents: Parents) -> ParentPolicy:
    """Where the parents of a file may be; those of one elsewhere may be elsewhere, too."""
    policy = policy_from(parents)
    if is_url(file) and policy.open_file is open_regular_file:
        return policy._replace(open_file=open_here_or_elsewhere)
    return policy


def open_here_or_elsewhere(place: str, lock: bool) -> ReadableStorage:
    """Open what a path or a URL names."""
    return _elsewhere(place) if is_url(place) else open_regular_file(place, lock)


def _elsewhere(url: str) -> ReadableStorage:
    if is_export(url):
        from vhdx.client.export import open_export  # noqa: PLC0415  most disks are files

        return open_export(url)
    from vhdx.storage.elsewhere import remote_storage  # noqa: PLC0415  most files are on this host

    return remote_storage(url)


def refuse_foreign(path: str, prefix: bytes) -> None:
    """Raise ValueError for what begins like a file of a kind that is not read here."""
    other = foreign(prefix)
    if other is not None:
        raise ValueError(
            f"{path} is {other.kind}, which is not read here: {other.advice}, or say -f raw if its bytes are "
            "those of the disk"
        )


def format_of_file(storage: ReadableStorage) -> Format:
    """What a file begins or ends like; anything may be raw, and so is what the host cannot read."""
    if storage.size() >= len(SIGNATURE) and read_copy(storage, len(SIGNATURE), 0) == SIGNATURE:
        return "vhdx"
    from vhdx.image.vhd_load import is_vhd  # noqa: PLC0415  whoever opens a VHDX need not wait for it

    return "vhd" if is_vhd(storage) else "raw"


def format_of_name(path: str) -> Format | None:
    """What the suffix of a name says."""
    return SUFFIXES.get(os.path.splitext(path)[1].lower())


def format_of_contents(file: Openable, storage: ReadableStorage) -> Format:
    """What a file is, by its contents and its name. Raises ValueError where they do not tell."""
    found = format_of_file(storage)
    if not isinstance(file, str | os.PathLike):
        return "vhdx" if found == "raw" else found  # which then says what the file is, and is not
    path = os.fspath(file)
    by_suffix = None if is_export(path) else format_of_name(path)
    prefix = storage.read(min(storage.size(), PREFIX_SIZE), 0) if found == "raw" else b""
    refuse_foreign(path, prefix)
    if found != "raw" and (by_suffix == "raw" or is_export(path) or _is_block_device(path)):
        # Whoever may write to a raw disk, a guest for one, can make it look like an image that names files.
        raise ValueError(
            f"{path} is named like a raw disk but looks like a {found.upper()}; say -f raw or -f {found}"
        )
    if found == "raw" and by_suffix != "raw":
        _refuse_remains(path, storage, by_suffix, prefix)
    return found


def _refuse_remains(path: str, storage: ReadableStorage, by_suffix: Format | None, prefix: bytes) -> None:
    """Raise CorruptImageError for what should be an image, or was one, and begins like none."""
    other = foreign_to_images(prefix)
    if by_suffix is not None:
        what = "does not look like one" if other is None else f"is {other.kind}: {other.advice}"
        from vhdx.format.vhd import FOOTER_SIZE  # noqa: PLC0415  sound images need not wait for it

        is_vhdx = by_suffix == "vhdx"
        raise CorruptImageError(
            f"it is named like a {by_suffix.upper()} but {what}; say -f raw or -f {by_suffix}",
            image=path,
            structure="file identifier" if is_vhdx else "footer",
            file_offset=0 if is_vhdx else max(0, storage.size() - FOOTER_SIZE),
            rule=IDENTIFIER_SIGNATURE.section if is_vhdx else VHD_FOOTER_NONE.section,
        )
    size = storage.size()
    if not size:
        raise CorruptImageError("it is empty: say -f raw if that is what it should be", image=path)
    for offset, signature in _INNER_SIGNATURES:
        if offset + len(signature) <= size and storage.read(len(signature), offset) == signature:
            raise CorruptImageError(
                "it begins like nothing that is known, but goes on like a VHDX: say -f vhdx or -f raw",
                image=path,
            )


def _is_block_device(path: str) -> bool:
    return not is_url(path) and stat.S_ISBLK(os.stat(path).st_mode)
