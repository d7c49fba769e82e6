"""What a conversion needs of the place that it writes to."""

from __future__ import annotations

from vhdx.typed import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from vhdx.disk.formats import Format
    from vhdx.ops.make.plan import ImageOptions
    from vhdx.ops.make.sink import Sink
    from vhdx.ops.make.source import Source
    from vhdx.ops.make.target import Target
    from vhdx.storage.file import FileStorage


class Writing(NamedTuple):
    """A sink, and what lets the host begin to write to its disk what the sink was given."""

    sink: Sink
    start_writing_back: Callable[[], None]
    storage: FileStorage | None = None
    """The new file, where it is one."""


class Destination(Protocol):
    """A place that a disk goes to."""

    @property
    def format(self) -> Format:
        """What is made there."""

    @property
    def medium(self) -> tuple[int, int | None] | None:
        """The size of what is there already and stays as large, and its sectors; None of what is made."""

    def needs_map(self, options: ImageOptions) -> bool:
        """Whether it must be known which blocks have contents before the first byte is written."""

    def refuse_source(self, source: Source) -> None:
        """Raise ValueError for a source that would be written over."""

    def opened(
        self, made: Target, source: Source, disk_size: int | None, remark: Callable[[str], None]
    ) -> AbstractContextManager[Writing]:
        """What takes the pieces; all is complete at the end of the ``with``."""
