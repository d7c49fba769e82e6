"""From what people write, ``IMAGE:PATH``, to the volume that is meant, open."""

from __future__ import annotations

import contextlib
import os

from vhdx.disk.open import open_any
from vhdx.files.volume import chosen
from vhdx.storage.stream import is_url
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdx.disk.places import Parents
    from vhdx.files.volume import FileVolume


class Place(NamedTuple):
    """A path in an image; None where only the image was named."""

    image: str
    path: str | None


class Selection(NamedTuple):
    """Which volume is meant, where several have the path, and how images are opened."""

    partition: int | None = None
    volume: str | None = None
    parents: Parents = None
    lock: bool = True


def split(argument: str) -> Place:
    r"""``IMAGE:PATH`` in its halves, at the first colon before which the name of a file stands.

    So ``disk.vhdx:C:\x`` and ``C:\disk.vhdx:/x`` both work, as do images with a colon in their names. In a
    URL it is the first colon behind the host and its port.
    """
    if os.path.exists(argument):
        return Place(argument, None)
    if is_url(argument):
        return _split_url(argument)
    at = argument.find(":")
    while at != -1:
        if os.path.isfile(argument[:at]) or _is_device(argument[:at]):
            return Place(argument[:at], argument[at + 1 :])
        at = argument.find(":", at + 1)
    image, colon, path = argument.partition(":")
    return Place(image, path if colon else None)


def _split_url(url: str) -> Place:
    scheme, _, rest = url.partition("://")
    host, slash, file = rest.partition("/")
    name, colon, path = file.partition(":")
    return Place(f"{scheme}://{host}{slash}{name}", path if colon else None)


def _is_device(path: str) -> bool:
    return os.path.exists(path) and not os.path.isdir(path)


@contextlib.contextmanager
def opened(
    image: str, path: str, tell: Callable[[str], None], selection: Selection | None = None
) -> Iterator[FileVolume]:
    """The volume of an image that has a path. Raises what opening and choosing raise."""
    selection = selection or Selection()
    with open_any(image, parents=selection.parents, lock=selection.lock) as disk:
        yield chosen(disk, partition=selection.partition, volume=selection.volume, path=path, tell=tell)
