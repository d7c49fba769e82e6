"""What a conversion makes: the format, the sizes that it can have, and the sink that writes it."""

from __future__ import annotations

import os

from vhdx.build import vhd as vhd_file
from vhdx.build.build import ImageBuilder, file_size
from vhdx.disk.chain import VhdxDisk
from vhdx.disk.formats import SUFFIXES
from vhdx.format import vhd
from vhdx.ops.make.plan import ImageOptions, disk_size_from, disk_type_from, plan_from, vhd_size_from
from vhdx.ops.make.sink import BlockSink, DynamicVhdSink, FixedVhdSink, RawSink, touched_blocks
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vhdx.build.plan import ImagePlan
    from vhdx.build.structures import Output
    from vhdx.disk.formats import Format
    from vhdx.ops.make.plan import Rounding
    from vhdx.ops.make.sink import Sink
    from vhdx.ops.make.source import Source


class Target(NamedTuple):
    """A file to be made; ``plan`` is that of a VHDX, None for the other formats."""

    format: Format
    plan: ImagePlan | None
    is_dynamic: bool = False
    """Of a VHD: whether it has a table."""

    @property
    def sector_size(self) -> int | None:
        """In which sectors the disk is addressed; a flat file does not say."""
        if self.plan is not None:
            return self.plan.logical_sector_size
        return vhd.SECTOR_SIZE if self.format == "vhd" else None

    @property
    def is_fixed(self) -> bool:
        """Whether it is said to have all its space."""
        return self.format == "vhd" and not self.is_dynamic if self.plan is None else self.plan.fixed

    @property
    def block_size(self) -> int | None:
        """Of what is stored in blocks."""
        if self.plan is not None:
            return self.plan.block_size
        return vhd_file.BLOCK_SIZE if self.is_dynamic else None

    def disk_size(self, size: int, rounding: Rounding) -> int:
        """A legal size of the disk, rounded up. Raises ValueError if there is none."""
        if self.format == "vhd":
            return vhd_size_from(size, rounding)
        return disk_size_from(size, 1 if self.plan is None else self.plan.logical_sector_size, rounding)

    def sink(self, storage: Output, disk_size: int | None) -> Sink:
        """What writes it into a file; ``disk_size`` None if that is known only at the end."""
        if self.plan is not None:
            return BlockSink(storage, ImageBuilder(storage, self.plan, disk_size), self.plan.block_size)
        if self.is_dynamic:
            builder = vhd_file.DynamicVhdBuilder(storage, disk_size)
            return DynamicVhdSink(storage, builder, vhd_file.BLOCK_SIZE)
        return self._flat_sink(storage)

    def forward_sink(self, storage: Output, source: Source, disk_size: int | None) -> Sink:
        """What writes it front to back, of a source that was looked at before unless it is written flat."""
        if self.block_size is None:
            return self._flat_sink(storage)
        if disk_size is None:
            raise ValueError("tables stand in front of the blocks: the size of the disk must be known")
        from vhdx.build.forward import ForwardDynamicVhd, ForwardImage  # noqa: PLC0415  for pipes

        blocks = touched_blocks(source.ranges(), self.block_size)
        if self.plan is not None:
            return BlockSink(storage, ForwardImage(storage, self.plan, disk_size, blocks), self.block_size)
        return DynamicVhdSink(storage, ForwardDynamicVhd(storage, disk_size, blocks), self.block_size)

    def _flat_sink(self, storage: Output) -> Sink:
        return FixedVhdSink(storage) if self.format == "vhd" else RawSink(storage)

    def file_size(self, disk_size: int, blocks: int) -> int:
        """The length of the file if ``blocks`` blocks of the disk hold something."""
        if self.plan is not None:
            return file_size(self.plan, disk_size, blocks)
        if self.is_dynamic:
            return vhd_file.dynamic_file_size(disk_size, blocks)
        return disk_size + (vhd.FOOTER_SIZE if self.format == "vhd" else 0)


def target_for(
    source: Source, wanted: Format, options: ImageOptions, rounding: Rounding, *, salvage: bool = False
) -> Target:
    """The target of a conversion; with ``salvage`` some options may be meant for the source alone.

    Raises ValueError for options that it does not have.
    """
    if wanted == "vhdx":
        return Target(wanted, _plan(source, options, rounding))
    if salvage:  # they say what the source has lost
        options = options._replace(block_size=None, logical_sector_size=None)
    refuse_options(wanted, options)
    if wanted == "raw" and options.disk_type is not None:
        raise ValueError("a raw target has no type")
    return Target(wanted, None, disk_type_from(options, "fixed") == "dynamic")


def refuse_options(wanted: Format, options: ImageOptions) -> None:
    """Raise ValueError for what only a VHDX has."""
    if options._replace(disk_type=None) != ImageOptions():
        raise ValueError(f"a {wanted} target has no block size, log, sector sizes or disk id to choose")


def _plan(source: Source, options: ImageOptions, rounding: Rounding) -> ImagePlan:
    disk = source.disk
    if disk is None or source.format == "raw":
        return plan_from(options, source.size, rounding)
    kept = options._replace(
        logical_sector_size=options.logical_sector_size or disk.logical_sector_size,
        physical_sector_size=options.physical_sector_size or disk.physical_sector_size,
    )
    if not isinstance(disk, VhdxDisk):  # a partition is another disk
        return plan_from(kept, source.size, rounding)
    from vhdx.ops.make.child import user_items_of  # noqa: PLC0415  only a VHDX has some

    kept = kept._replace(disk_id=options.disk_id or disk.disk_id)
    return plan_from(kept, source.size, rounding, user_items_of(disk.layers[0]))


def format_of(target: str) -> Format:
    """The format that the name of a target tells. Raises ValueError if it tells none."""
    if target == "-":
        raise ValueError("standard output has no suffix that tells a format; say -O raw, -O vhdx or -O vhd")
    suffix = os.path.splitext(target)[1].lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"the suffix of {target} does not tell a format ({' '.join(SUFFIXES)}); "
            "say -O raw, -O vhdx or -O vhd"
        )
    return SUFFIXES[suffix]
