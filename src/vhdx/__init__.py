"""VHDX virtual disks: open, read, write, create and convert them.

The names in ``__all__`` are the public face; everything else may move. They are imported when they are
first used, so that a program which only wants one of them starts quickly.
"""

from __future__ import annotations

from importlib import import_module

from vhdx.typed import TYPE_CHECKING
from vhdx.version import __version__

if TYPE_CHECKING:
    from vhdx.disk.free_space import VolumeSelection
    from vhdx.disk.open import open_any as open  # noqa: A004  the name people expect
    from vhdx.disk.opened import Disk
    from vhdx.disk.places import ParentPolicy
    from vhdx.disk.volumes import FileSystemOn
    from vhdx.errors import (
        CorruptImageError,
        FileSystemError,
        ImageFailedError,
        ImageLockedError,
        ParentMismatchError,
        ParentNotFoundError,
        UnsupportedImageError,
        VhdxError,
    )
    from vhdx.extents import BlockState, Doubt, Extent, ExtentKind
    from vhdx.known import KnownDisk
    from vhdx.ops.apply import ApplyResult, apply_increment
    from vhdx.ops.check import CheckFinding, CheckResult, check
    from vhdx.ops.compact import CompactResult, compact
    from vhdx.ops.compare import CompareResult, compare
    from vhdx.ops.discard import DiscardedVolume
    from vhdx.ops.file_systems import file_systems
    from vhdx.ops.hash import HashResult, content_hash
    from vhdx.ops.info import ImageInfo
    from vhdx.ops.info_any import RawInfo
    from vhdx.ops.info_any import info_any as info
    from vhdx.ops.info_vhd import VhdInfo
    from vhdx.ops.make.convert import ConvertResult, convert
    from vhdx.ops.make.create import CreateResult, create
    from vhdx.ops.make.download import DownloadResult, download
    from vhdx.ops.make.formatting import Formatting
    from vhdx.ops.make.increment import IncrementResult, create_increment, export_changes
    from vhdx.ops.make.measure import MeasureResult, measure
    from vhdx.ops.make.plan import ImageOptions
    from vhdx.ops.make.upload import UploadResult, upload
    from vhdx.ops.merge import MergeResult, merge
    from vhdx.ops.metadata import (
        UserItemInfo,
        delete_user_item,
        get_user_item,
        set_user_item,
        user_items,
    )
    from vhdx.ops.properties import PropertiesResult, set_properties
    from vhdx.ops.rebase import RebaseResult, rebase
    from vhdx.ops.repair import RepairResult, UndoResult, repair, undo_repair
    from vhdx.ops.resize import ResizeResult, resize
    from vhdx.ops.trim_free import TrimResult, trim_free
    from vhdx.partitions.table import Partition, PartitionTable
    from vhdx.storage.sparse import sparse

__all__ = [
    "ApplyResult",
    "BlockState",
    "CheckFinding",
    "CheckResult",
    "CompactResult",
    "CompareResult",
    "ConvertResult",
    "CorruptImageError",
    "CreateResult",
    "DiscardedVolume",
    "Disk",
    "Doubt",
    "DownloadResult",
    "Extent",
    "ExtentKind",
    "FileSystemError",
    "FileSystemOn",
    "Formatting",
    "HashResult",
    "ImageFailedError",
    "ImageInfo",
    "ImageLockedError",
    "ImageOptions",
    "IncrementResult",
    "KnownDisk",
    "MeasureResult",
    "MergeResult",
    "ParentMismatchError",
    "ParentNotFoundError",
    "ParentPolicy",
    "Partition",
    "PartitionTable",
    "PropertiesResult",
    "RawInfo",
    "RebaseResult",
    "RepairResult",
    "ResizeResult",
    "TrimResult",
    "UndoResult",
    "UnsupportedImageError",
    "UploadResult",
    "UserItemInfo",
    "VhdInfo",
    "VhdxError",
    "VolumeSelection",
    "__version__",
    "apply_increment",
    "check",
    "compact",
    "compare",
    "content_hash",
    "convert",
    "create",
    "create_increment",
    "delete_user_item",
    "download",
    "export_changes",
    "file_systems",
    "get_user_item",
    "info",
    "measure",
    "merge",
    "open",
    "rebase",
    "repair",
    "resize",
    "set_properties",
    "set_user_item",
    "sparse",
    "trim_free",
    "undo_repair",
    "upload",
    "user_items",
]

_HOMES = {
    "vhdx.disk.free_space": ("VolumeSelection",),
    "vhdx.disk.open": ("open",),
    "vhdx.disk.opened": ("Disk",),
    "vhdx.disk.places": ("ParentPolicy",),
    "vhdx.disk.volumes": ("FileSystemOn",),
    "vhdx.errors": (
        "CorruptImageError",
        "FileSystemError",
        "ImageFailedError",
        "ImageLockedError",
        "ParentMismatchError",
        "ParentNotFoundError",
        "UnsupportedImageError",
        "VhdxError",
    ),
    "vhdx.known": ("KnownDisk",),
    "vhdx.extents": ("BlockState", "Doubt", "Extent", "ExtentKind"),
    "vhdx.ops.apply": ("ApplyResult", "apply_increment"),
    "vhdx.ops.make.download": ("DownloadResult", "download"),
    "vhdx.ops.make.upload": ("UploadResult", "upload"),
    "vhdx.ops.compact": ("CompactResult", "compact"),
    "vhdx.ops.check": ("CheckFinding", "CheckResult", "check"),
    "vhdx.ops.compare": ("CompareResult", "compare"),
    "vhdx.ops.make.convert": ("ConvertResult", "convert"),
    "vhdx.ops.make.create": ("CreateResult", "create"),
    "vhdx.ops.discard": ("DiscardedVolume",),
    "vhdx.ops.file_systems": ("file_systems",),
    "vhdx.ops.hash": ("HashResult", "content_hash"),
    "vhdx.ops.info": ("ImageInfo",),
    "vhdx.ops.info_any": ("RawInfo", "info"),
    "vhdx.ops.info_vhd": ("VhdInfo",),
    "vhdx.ops.make.increment": ("IncrementResult", "create_increment", "export_changes"),
    "vhdx.ops.merge": ("MergeResult", "merge"),
    "vhdx.ops.make.measure": ("MeasureResult", "measure"),
    "vhdx.ops.metadata": ("UserItemInfo", "delete_user_item", "get_user_item", "set_user_item", "user_items"),
    "vhdx.ops.make.formatting": ("Formatting",),
    "vhdx.ops.make.plan": ("ImageOptions",),
    "vhdx.ops.properties": ("PropertiesResult", "set_properties"),
    "vhdx.ops.rebase": ("RebaseResult", "rebase"),
    "vhdx.ops.repair": ("RepairResult", "UndoResult", "repair", "undo_repair"),
    "vhdx.ops.resize": ("ResizeResult", "resize"),
    "vhdx.ops.trim_free": ("TrimResult", "trim_free"),
    "vhdx.partitions.table": ("Partition", "PartitionTable"),
    "vhdx.storage.sparse": ("sparse",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
_OTHER_NAMES = {"open": "open_any", "info": "info_any"}


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'vhdx' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), _OTHER_NAMES.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
