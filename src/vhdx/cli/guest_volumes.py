"""The volume of a guest that a command line means, and what is told of it on the way."""

from __future__ import annotations

import contextlib

from vhdx.cli.render import echo, print_json_stream
from vhdx.text import printable
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypedDict, Unpack

    from vhdx.disk.places import ParentPolicy
    from vhdx.files.volume import FileVolume
    from vhdx.ops.files.opening import Selection

    class Chosen(TypedDict):
        """The values of `guest_options`."""

        partition: int | None
        volume: str | None
        parents: ParentPolicy
        force_share: bool


class Listing(NamedTuple):
    """What is printed as JSON: of which disk it is, and where on it the files stand."""

    path: str
    format: str
    virtual_size: int
    volume: str
    entries: Iterator[Any]


def print_entries(volume: FileVolume, entries: Iterator[Any]) -> None:
    """Print what verbs say of files, or of directories, as JSON while it comes about."""
    disk = volume.whole
    print_json_stream(Listing(disk.chain[0], disk.format, disk.size, volume.summary.name, entries))


class Told:
    """Sentences about what is damaged or left out; how many decides the exit code.

    ``say`` is who hears them, standard error otherwise.
    """

    def __init__(self, say: Callable[[str], None] | None = None) -> None:
        self.count = 0
        self._say = say or _complain

    def __call__(self, sentence: str) -> None:
        self.count += 1
        self._say(sentence)

    @property
    def code(self) -> int:
        """1 where anything was told."""
        return 1 if self.count else 0


def _complain(sentence: str) -> None:
    echo(f"vhdx: {printable(sentence)}", err=True)  # one line: names of guests may have ends of lines in them


def selection(**chosen: Unpack[Chosen]) -> Selection:
    """The values of the options in one."""
    from vhdx.ops.files.opening import Selection  # noqa: PLC0415  --help needs no library

    return Selection(chosen["partition"], chosen["volume"], chosen["parents"], not chosen["force_share"])


@contextlib.contextmanager
def volume_of(argument: str, tell: Told, **chosen: Unpack[Chosen]) -> Iterator[tuple[FileVolume, str]]:
    """The volume that ``IMAGE[:PATH]`` means, and the path."""
    from vhdx.ops.files.opening import opened, split  # noqa: PLC0415  --help needs no library

    place = split(argument)
    path = place.path or "/"
    with opened(place.image, path, tell, selection(**chosen)) as volume:
        yield volume, path
