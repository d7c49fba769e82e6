"""Where a conversion writes to: from the address of its target to the sink that takes the pieces."""

from __future__ import annotations

import contextlib
import io
import os
import sys

from vhdx.ops.make.addresses import BLOB, DEVICE, EXPORT, OBJECT, PIPE, address_of, shown, writable
from vhdx.ops.make.source import IS_SOURCE
from vhdx.ops.make.target import format_of
from vhdx.ops.make.writing import Writing
from vhdx.storage.file import identity_of
from vhdx.storage.outgoing import OutgoingStorage
from vhdx.storage.publish import new_file
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from vhdx.disk.formats import Format
    from vhdx.ops.make.plan import ImageOptions
    from vhdx.ops.make.source import Source
    from vhdx.ops.make.target import Target
    from vhdx.ops.make.writing import Destination


class FileDestination(NamedTuple):
    """A new file, whole or not at all."""

    path: str
    format: Format
    overwrite: bool
    sync: bool

    @property
    def medium(self) -> None:
        """Nothing is there yet."""

    def needs_map(self, options: ImageOptions) -> bool:  # noqa: ARG002
        """No: tables are written last."""
        return False

    def refuse_source(self, source: Source) -> None:
        """Raise ValueError for a target that is a file of the source."""
        if source.disk is not None and os.path.exists(self.path):
            _refuse(self.path, identity_of(self.path), source)

    @contextlib.contextmanager
    def opened(
        self,
        made: Target,
        source: Source,  # noqa: ARG002
        disk_size: int | None,
        remark: Callable[[str], None],
    ) -> Iterator[Writing]:
        """The file under a temporary name, published at the end."""
        with new_file(self.path, overwrite=self.overwrite, sync=self.sync, remark=remark) as storage:
            # It costs as much as the writing itself, and whoever does not wait for the disk gains nothing.
            write_back = storage.start_writing_back if self.sync else _wait_for_nothing
            yield Writing(made.sink(storage, disk_size), write_back, storage)


class PipeDestination(NamedTuple):
    """Standard output, in one pass."""

    format: Format

    @property
    def medium(self) -> None:
        """Nothing is there yet."""

    def needs_map(self, options: ImageOptions) -> bool:
        """Of whatever has a table: that goes first."""
        return self.format == "vhdx" or (self.format == "vhd" and options.disk_type == "dynamic")

    def refuse_source(self, source: Source) -> None:
        """Raise ValueError for output that goes into a file of the source."""
        if source.disk is None:
            return
        with contextlib.suppress(OSError, io.UnsupportedOperation):
            status = os.fstat(_standard_output().fileno())
            _refuse("standard output", (status.st_dev, status.st_ino), source)

    @contextlib.contextmanager
    def opened(
        self,
        made: Target,
        source: Source,
        disk_size: int | None,
        remark: Callable[[str], None],  # noqa: ARG002
    ) -> Iterator[Writing]:
        """What is written goes at once, in its order."""
        output = OutgoingStorage(_standard_output(), "standard output")
        yield Writing(made.forward_sink(output, source, disk_size), output.flush)
        output.flush()


def _wait_for_nothing() -> None:
    """Let the host write when it likes."""


def _standard_output() -> BinaryIO:
    """Without its buffer: what is in that was not written yet, and should not be told of as if it were.

    Raises ValueError where nothing can be written there, or would be shown as text.
    """
    if sys.stdout is None:
        raise ValueError("standard output is closed")
    if sys.stdout.isatty():
        raise ValueError(
            "a disk is not written to a terminal: say where it goes, such as > FILE or | COMMAND"
        )
    bare: BinaryIO = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
    return bare


def _refuse(name: str, identity: tuple[int, int], source: Source) -> None:
    if source.disk is not None and identity in source.disk.files():
        raise ValueError(IS_SOURCE.format(name))


def goes_into_pages(target: str, target_format: Format | None, options: ImageOptions) -> bool:
    """Whether what is made is what Azure makes disks of: a fixed VHD, in a page blob."""
    if address_of(target) is not BLOB or options.disk_type == "dynamic":
        return False
    return (target_format or format_of(shown(target))) == "vhd"


@contextlib.contextmanager
def destination_of(
    target: str,
    target_format: Format | None,
    *,
    overwrite: bool,
    sync: bool,
    verify: bool = False,
    resume: str | None = None,
) -> Iterator[Destination]:
    """The place that a word stands for. Raises ValueError where nothing is written, or no format said."""
    address = writable(target)
    is_there = address in (DEVICE, EXPORT)
    if verify and not is_there:
        raise ValueError(
            "only block devices and exports are read back (--verify); vhdx compare compares files"
        )
    if address in (OBJECT, BLOB):
        from vhdx.ops.make.object_store import object_destination  # noqa: PLC0415  most targets are files

        made = target_format or format_of(shown(target))
        with object_destination(target, made, overwrite=overwrite, journal=resume) as opened:
            yield opened
        return
    if resume is not None:
        raise ValueError("only what is written to an object store goes on from a journal (--resume)")
    if address is PIPE:
        yield PipeDestination(target_format or format_of(target))
        return
    if not is_there:
        yield FileDestination(target, target_format or format_of(target), overwrite, sync)
        return
    if target_format not in (None, "raw"):
        raise ValueError(
            f"{shown(target)} is {address.kind}, which gets the disk itself: say -O raw, or nothing"
        )
    if not overwrite:
        raise ValueError(
            f"{shown(target)} is {address.kind}: all that is on it would be lost; say --force (overwrite)"
        )
    from vhdx.ops.make.device import device_destination, export_destination  # noqa: PLC0415  most are files

    device_or_export = device_destination if address is DEVICE else export_destination
    with device_or_export(target, verify=verify) as device:
        yield device
