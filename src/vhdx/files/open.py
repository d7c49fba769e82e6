"""Which library reads which kind of file system, and what to install where it is missing."""

from __future__ import annotations

from importlib import import_module

from vhdx.errors import UnsupportedImageError
from vhdx.files.source import VolumeSource
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vhdx.files.base import Tell, Tree
    from vhdx.files.source import Read, Send


class Adapter(NamedTuple):
    """The module here that knows a library, if it needs one; its ``prepared`` stands before the reads."""

    module: str
    library: str | None = None
    is_prepared: bool = False
    package: str = "vhdx[files]"
    """What to install where it is missing."""


_EXT = Adapter("ext", "pyfsext", is_prepared=True)
_FAT = Adapter("fat", "pyfsfat")
ADAPTERS = {
    "ext2": _EXT,
    "ext3": _EXT,
    "ext4": _EXT,
    "XFS": Adapter("xfs"),
    "NTFS": Adapter("ntfs", "pyfsntfs"),
    "FAT12": _FAT,
    "FAT16": _FAT,
    "FAT32": _FAT,
    "exFAT": Adapter("exfat"),
    "HFS+": Adapter("hfs", "pyfshfs"),
    "btrfs": Adapter("btrfs", "dissect.btrfs", package="dissect.btrfs"),
}
"""By the kind that `filesystems/detect` names. Another engine is another file and its rows here."""


def open_tree(kind: str, read: Read, size: int, tell: Tell, send: Send | None = None) -> Tree:
    """The files of a file system of this kind in ``size`` bytes.

    ``tell`` hears what is damaged, one sentence each; the rest is read nevertheless. ``send`` copies what
    need not be looked at. Raises
    UnsupportedImageError for a kind without an adapter or whose library is missing, FileSystemError where
    nothing can be read.
    """
    adapter = ADAPTERS.get(kind)
    if adapter is None:
        raise UnsupportedImageError(f"files of {kind} are not read, only of {', '.join(ADAPTERS)}")
    try:
        library = import_module(adapter.library) if adapter.library else None
    except ImportError:
        raise UnsupportedImageError(
            f"files of {kind} need a package that is not installed; try: pip install '{adapter.package}'"
        ) from None
    module = import_module(f"vhdx.files.{adapter.module}")
    prepared = module.prepared(read, size, tell) if adapter.is_prepared else read
    source = VolumeSource(prepared, size, send if prepared is read else None)
    tree: Tree = module.open_tree(library, source, tell)
    return tree
