"""Options that several verbs share, and the types of their values."""

from __future__ import annotations

import os
import re
from functools import partial, wraps
from inspect import signature
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from vhdx.cli.render import be_verbose, echo
from vhdx.cli.tracked import warn_if_tracked as warn_if_tracked  # noqa: PLC0414  also for verbs
from vhdx.units import is_decimal, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdx.disk.children import Families
    from vhdx.disk.free_space import VolumeSelection
    from vhdx.disk.opened import Disk
    from vhdx.disk.places import ParentPolicy
    from vhdx.storage.sparse import Sparse

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Size(click.ParamType[int]):
    """A size in bytes or as a word."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            size = parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        say_if_decimal(value)
        return size


def say_if_decimal(word: int | str) -> None:
    """Say on standard error what a word such as ``10GB`` is taken for: not everybody means that by it."""
    if isinstance(word, str) and is_decimal(word):
        short = word.strip().rstrip("bB")
        echo(
            f"vhdx: {word} is decimal, a power of 1000; {short}, {short}i and {short}iB are binary", err=True
        )


class DiskId(click.ParamType[UUID]):
    """A GUID."""

    name = "uuid"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> UUID:
        try:
            return UUID(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a UUID", param, ctx)


class SectorSize(click.ParamType[int]):
    """512 or 4096."""

    name = "sector size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        size = SIZE.convert(value, param, ctx)
        return size if size in (512, 4096) else self.fail(f"{value} is neither 512 nor 4096", param, ctx)


class DiskType(click.Choice[str]):
    """A type of image that is made without a parent."""

    def __init__(self) -> None:
        super().__init__(["dynamic", "fixed"])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value == "differencing":
            from vhdx.ops.make.plan import DIFFERENCING_ADVICE  # noqa: PLC0415  parsing needs no library

            self.fail(DIFFERENCING_ADVICE, param, ctx)
        return super().convert(value, param, ctx)


def _named(value: Any) -> Any:
    """The path that ``wsl:NAME`` or ``docker:`` stands for where there are such disks; all else as it is."""
    if isinstance(value, str) and value.startswith(("wsl:", "docker:")):
        from vhdx.ops.wsl import is_address, path_of  # noqa: PLC0415  only who names disks so waits for it

        return path_of(value) if is_address(value) else value
    return with_variables(value) if os.name == "nt" and isinstance(value, str) else value


def with_variables(path: str) -> str:
    """The path with what ``%NAME%`` stands for, which PowerShell leaves; a file of that name goes first."""
    if "%" not in path or os.path.lexists(path):
        return path
    return re.sub("%([^%]+)%", lambda found: os.environ.get(found[1], found[0]), path)


class File(click.Path):
    """A file that may be there or not: whoever opens it says what is wrong with it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(_named(value), param, ctx)


class Target(click.Path):
    """A file that is made or changed. Not ``-``: no image is changed in a pipe."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from vhdx.storage.file import refuse_as_target  # noqa: PLC0415  parsing options needs no library

        value = _named(value)
        try:
            refuse_as_target(os.fspath(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if ctx is not None:
            ctx.call_on_close(partial(_warn_at_end, ctx, os.fspath(value)))
        return super().convert(value, param, ctx)


def _warn_at_end(ctx: click.Context, image: str) -> None:
    """When the verb has ended, and it is known whether it was to change something."""
    if not ctx.params.get("dry_run"):
        warn_if_tracked(image)


class Output(Target):
    """Where a disk is written to: a `Target`, ``-`` for standard output, or a URL."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "-" or "://" in value else super().convert(value, param, ctx)


class Seconds(click.ParamType[float]):
    """A number of seconds, which may have a fraction."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= _LONGEST_SECONDS:
            self.fail(f"{value} is no number of seconds between 0 and {_LONGEST_SECONDS}", param, ctx)
        return seconds


_LONGEST_SECONDS = 86400
FORMAT = click.Choice(["raw", "vhdx", "vhd"])
SIZE = Size()
SECONDS = Seconds()
DISK_ID = DiskId()
SECTOR_SIZE = SectorSize()


def together(*decorators: Decorator) -> Decorator:
    """Several options as one decorator, listed in the help in their order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def gathered(argument: str, make: Callable[..., object], *decorators: Decorator) -> Decorator:
    """Several options whose values the command gets as one argument: what ``make`` makes of them."""
    names = tuple(signature(make).parameters)

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def gathering(*values: Any, **options: Any) -> Any:
            made = make(**{name: options.pop(name) for name in names})
            return command(*values, **{argument: made}, **options)

        return together(*decorators)(gathering)

    return decorate


verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=lambda _context, _option, verbose: be_verbose(verbose),
    help="Tell exact sizes, and more.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON: exact numbers, stable keys.")
force_share_option = click.option(
    "--force-share",
    is_flag=True,
    help="Read also while somebody writes to the image; what is read may be torn.",
)
partition_option = click.option(
    "--partition",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only the partition of this number, as `vhdx info` lists it; offsets count from its start.",
)
commit_interval_option = click.option(
    "--commit-interval",
    type=SECONDS,
    metavar="SECONDS",
    default=5,
    show_default=True,
    help="With --write: make what was written durable so often without a flush; 0: only on flush.",
)
RAW_IS_SAID = "{} is raw: whoever writes to it could make it look like an image; say -f raw"
format_option = click.option(
    "-f", "--format", "image_format", type=FORMAT, help="By default told by content and name."
)
force_option = click.option("--force", is_flag=True, help="Replace the file if it exists and is not in use.")

jobs_option = click.option(
    "--jobs",
    type=click.IntRange(1, 32),
    metavar="N",
    default=8,
    show_default=True,
    help="So many requests at once.",
)
orphans_option = click.option(
    "--force", is_flag=True, help="Also where images beside IMAGE have it for their parent."
)
FILE = File(readable=False)
"""A file that is read."""
TARGET = Target(readable=False)
"""A file that is made or changed."""
OUTPUT = Output(readable=False, allow_dash=True)
"""A place that a disk is written to."""


def _follow(context: click.Context, _option: click.Parameter, wanted: Sparse) -> None:
    if wanted != "auto":
        from vhdx.storage.sparse import sparse  # noqa: PLC0415  parsing options needs no library

        context.with_resource(sparse(wanted))


sparse_option = click.option(
    "--sparse",
    type=click.Choice(["auto", "never", "always"]),
    default="auto",
    show_default=True,
    expose_value=False,
    callback=_follow,
    help="Holes in files: auto makes none where Windows would refuse the file for them, such as on NTFS.",
)
clone_option = click.option(
    "--clone",
    type=click.Choice(["auto", "never", "always"]),
    default="auto",
    show_default=True,
    help="Share space instead of copying where the file system can; what is shared is not looked through.",
)


def volumes_of(
    *, free: bool, swap: bool, include: tuple[str, ...], exclude: tuple[str, ...]
) -> VolumeSelection | None:
    """Whose free space goes by `free_options`; None where nobody's does.

    Raises UsageError for options that nothing was asked with.
    """
    if free:
        from vhdx.disk.free_space import VolumeSelection  # noqa: PLC0415  parsing options needs no library

        return VolumeSelection(swap, include, exclude)
    if swap or include or exclude:
        raise click.UsageError("--swap, --include and --exclude say of what free space is to go: say so")
    return None


def free_options(flag: str, explanation: str) -> Decorator:
    """The option that asks for what file systems call free, and those that say of which; as ``volumes``."""
    return gathered(
        "volumes",
        volumes_of,
        click.option(flag, "free", is_flag=True, help=explanation),
        click.option("--swap", is_flag=True, help="With free space: also that of swap areas."),
        click.option(
            "--include",
            multiple=True,
            metavar="PARTITION",
            help="Only free space of the partition of this number, or of the volume GROUP/NAME. Repeatable.",
        ),
        click.option(
            "--exclude",
            multiple=True,
            metavar="PARTITION",
            help="Free space of all but this one. Repeatable.",
        ),
    )


left_out_option = free_options("--discard-free", "Leave out what file systems call free.")


def parent_policy(*, parent_dirs: tuple[str, ...], any_parent: bool) -> ParentPolicy:
    """The policy that `chain_options` stand for."""
    from vhdx.disk.places import ParentPolicy  # noqa: PLC0415  parsing options needs no library

    return ParentPolicy(directories=parent_dirs, any_parent=any_parent)


chain_options = gathered(
    "parents",
    parent_policy,
    click.option(
        "--parent-dir",
        "parent_dirs",
        multiple=True,
        metavar="DIR",
        type=click.Path(exists=True, file_okay=False),
        help="Also look for parents in DIR, by identity, whatever their names. Repeatable.",
    ),
    click.option(
        "--any-parent",
        is_flag=True,
        help="Follow every path that an image names, also out of its own directory.",
    ),
)

image_options = together(
    click.option(
        "--type",
        "disk_type",
        type=DiskType(),
        help="By default a VHDX is dynamic, and a VHD fixed: it has its space from the beginning.",
    ),
    click.option(
        "--block-size", type=SIZE, metavar="N", help="1M to 256M; by default 8M to 64M by disk size."
    ),
    click.option(
        "--log-size",
        type=SIZE,
        metavar="N",
        default="1M",
        show_default=True,
        help="1M to 4G - 1M; some programs refuse more than 1G.",
    ),
    click.option(
        "--logical-sector-size",
        type=SECTOR_SIZE,
        metavar="N",
        help="512 or 4096; else that of the source or the parent, or 512.",
    ),
    click.option(
        "--physical-sector-size",
        type=SECTOR_SIZE,
        metavar="N",
        help="512 or 4096; else that of the source or the parent, or 4096.",
    ),
    click.option(
        "--disk-id", type=DISK_ID, metavar="UUID", help="Else that of a VHDX source or the parent, or random."
    ),
    click.option("--zero-blocks", is_flag=True, help="Mark blocks without data ZERO instead of NOT_PRESENT."),
)


_VIRTUAL_SIZE = click.option(
    "--virtual-size", type=SIZE, metavar="N", help="The size of the disk, where the image has lost it."
)
_KINDS = click.Choice(["dynamic", "fixed", "differencing"])
source_options = together(
    _VIRTUAL_SIZE,
    click.option(
        "--disk-type", "source_type", type=_KINDS, help="What kind of image SOURCE is, where that is lost."
    ),
)
"""What the options of a new image do not say of a damaged source."""
known_options = together(
    _VIRTUAL_SIZE,
    click.option(
        "--block-size", type=SIZE, metavar="N", help="The size of its blocks, where the image has lost it."
    ),
    click.option(
        "--logical-sector-size",
        type=SECTOR_SIZE,
        metavar="N",
        help="512 or 4096, where the image has lost it.",
    ),
    click.option("--disk-type", type=_KINDS, help="What kind of image it is, where that is lost."),
)


def chosen(disk: Disk, partition: int | None) -> Disk:
    """The disk, or its partition of this number. Raises ValueError if there is none."""
    from vhdx.disk.parts import one_partition  # noqa: PLC0415  parsing options needs no library

    return disk if partition is None else one_partition(disk, partition)


def refuse_to_orphan(image: str, disk: Disk, *, force: bool, families: Families | None = None) -> None:
    """Raise UnsupportedImageError if images beside this one would not know it once it is written to."""
    from vhdx.disk.chain import VhdxDisk  # noqa: PLC0415  parsing options needs no library
    from vhdx.disk.children import refuse_orphans  # noqa: PLC0415  parsing options needs no library

    if isinstance(disk, VhdxDisk) and not force:
        identity = disk.layers[0].header.data_write_guid
        refuse_orphans(image, identity, "a change of its contents", families)
