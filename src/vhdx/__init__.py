"""VHDX virtual disks: open, read, create and convert them.

The names below are the public face; everything else may move.
"""

from vhdx.disk.chain import Disk
from vhdx.disk.open import open_disk as open  # noqa: A004  the name people expect
from vhdx.disk.parents import ParentPolicy
from vhdx.errors import (
    CorruptImageError,
    ImageFailedError,
    ImageLockedError,
    ParentMismatchError,
    ParentNotFoundError,
    UnsupportedImageError,
    VhdxError,
)
from vhdx.extents import BlockState, Extent, ExtentKind
from vhdx.version import __version__

__all__ = [
    "BlockState",
    "CorruptImageError",
    "Disk",
    "Extent",
    "ExtentKind",
    "ImageFailedError",
    "ImageLockedError",
    "ParentMismatchError",
    "ParentNotFoundError",
    "ParentPolicy",
    "UnsupportedImageError",
    "VhdxError",
    "__version__",
    "open",
]
