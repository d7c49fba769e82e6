"""From the options that people give to a legal plan of an image, and what had to be rounded for it."""

from __future__ import annotations

import uuid
from uuid import UUID

from vhdx.build.layout import default_block_size
from vhdx.build.plan import ImagePlan, UserItem
from vhdx.extents import BlockState
from vhdx.format import vhd
from vhdx.format.metadata import MAXIMUM_BLOCK_SIZE, MAXIMUM_DISK_SIZE, MINIMUM_BLOCK_SIZE, SECTOR_SIZES
from vhdx.format.region import aligned
from vhdx.typed import TYPE_CHECKING, NamedTuple
from vhdx.units import GIB, MIB, format_size, parse_size, size_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal, TypeAlias

VHD_TOO_LARGE = "a VHD holds at most 2040 GiB; convert to VHDX, which holds 64 TiB"
LOG_REFUSED_BY_OTHERS = "some other programs refuse an image with a log of more than 1 GiB"
DIFFERENCING_ADVICE = "a differencing image is a VHDX and made by vhdx create CHILD.avhdx --parent IMAGE"
NOT_RESERVED = "the host cannot reserve space here: the disk may become full while the image is used"
DiskType: TypeAlias = "Literal['dynamic', 'fixed']"
_MAXIMUM_LOG_LENGTH = 4 * GIB - MIB
_DEFAULT_BLOCK_SIZE_OF_UNKNOWN_DISK = 32 * MIB


class ImageOptions(NamedTuple):
    """How a new image is to be made. Sizes are bytes or words; None means the default."""

    disk_type: DiskType | None = None
    """By default a VHDX is dynamic and a VHD fixed."""
    block_size: int | str | None = None
    log_size: int | str = MIB
    logical_sector_size: int | None = None
    physical_sector_size: int | None = None
    disk_id: UUID | str | None = None
    zero_blocks: bool = False


class Rounding:
    """Sentences about what was rounded, for those who asked for something else."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def __call__(self, what: str, asked: int, got: int) -> int:
        """Note that ``asked`` bytes became ``got``; gives ``got``."""
        if asked != got:
            self.sentences.append(f"{what} rounded from {asked} bytes to {got} ({format_size(got)})")
        return got


def disk_size_from(size: int, logical_sector_size: int, rounding: Rounding) -> int:
    """A legal disk size: whole logical sectors, more than 0, at most 64 TiB. Raises ValueError."""
    rounded = -(-size // logical_sector_size) * logical_sector_size
    if not 0 < rounded <= MAXIMUM_DISK_SIZE:
        raise ValueError(f"the virtual size must be more than 0 and at most 64 TiB, not {size} bytes")
    return rounding("virtual size", size, rounded)


def vhd_size_from(size: int, rounding: Rounding) -> int:
    """The size of a VHD: whole MiB, which Azure asks for, at most 2040 GiB. Raises ValueError."""
    rounded = aligned(size)
    if not size:
        raise ValueError("the virtual size must be more than 0")
    if rounded > vhd.MAXIMUM_DISK_SIZE:
        raise ValueError(f"{VHD_TOO_LARGE}; this disk has {size_text(size)}")
    return rounding("virtual size", size, rounded)


def plan_from(
    options: ImageOptions, disk_size: int | None, rounding: Rounding, user_items: Iterable[UserItem] = ()
) -> ImagePlan:
    """The plan that the options stand for; ``disk_size`` is None where it is not known yet.

    Raises ValueError for options that no rounding can make legal.
    """
    fixed = disk_type_from(options, "dynamic") == "fixed"
    if fixed and options.zero_blocks:
        raise ValueError("a fixed image has every block present: zero blocks go with dynamic images only")
    identity = options.disk_id if isinstance(options.disk_id, UUID) else None
    return ImagePlan(
        fixed=fixed,
        block_size=_block_size(options.block_size, disk_size, rounding),
        log_length=_log_length(options.log_size, rounding),
        logical_sector_size=_sector_size("logical", options.logical_sector_size, 512),
        physical_sector_size=_sector_size("physical", options.physical_sector_size, 4096),
        disk_id=identity or (uuid.uuid4() if options.disk_id is None else UUID(str(options.disk_id))),
        absent=BlockState.ZERO if options.zero_blocks else BlockState.NOT_PRESENT,
        user_items=tuple(user_items),
    )


def disk_type_from(options: ImageOptions, default: DiskType) -> DiskType:
    """The type that is asked for. Raises ValueError for one that is not made so."""
    found = options.disk_type or default
    if found not in ("dynamic", "fixed"):
        raise ValueError(f"the type is {found!r}, must be 'dynamic' or 'fixed'; {DIFFERENCING_ADVICE}")
    return found


def _block_size(size: int | str | None, disk_size: int | None, rounding: Rounding) -> int:
    asked = 0 if size is None else parse_size(size)
    if asked == 0:
        return _DEFAULT_BLOCK_SIZE_OF_UNKNOWN_DISK if disk_size is None else default_block_size(disk_size)
    if asked > MAXIMUM_BLOCK_SIZE:
        raise ValueError(f"the block size must be at most 256 MiB, not {asked} bytes")
    return rounding("block size", asked, max(MINIMUM_BLOCK_SIZE, 1 << (asked - 1).bit_length()))


def _log_length(size: int | str, rounding: Rounding) -> int:
    asked = parse_size(size)
    length = max(MIB, aligned(asked))
    if length > _MAXIMUM_LOG_LENGTH:
        raise ValueError(f"the log size must be at most 4 GiB - 1 MiB, not {asked} bytes")
    if length > GIB:
        rounding.sentences.append(LOG_REFUSED_BY_OTHERS)
    return rounding("log size", asked, length)


def _sector_size(name: str, size: int | None, default: int) -> int:
    value = default if size is None else size
    if value not in SECTOR_SIZES:
        raise ValueError(f"the {name} sector size must be 512 or 4096, not {value}")
    return value
