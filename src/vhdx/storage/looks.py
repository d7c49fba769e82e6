"""What hosts have in common of what is made below a directory."""

from __future__ import annotations

from typing import NamedTuple


class Found(NamedTuple):
    """What a name stands for: a directory, or a file or link; ``identity`` is that of all its names."""

    identity: tuple[int, int]
    is_directory: bool


class Looks(NamedTuple):
    """What a copy has beside contents: owner and group, permissions, times in nanoseconds since 1970.

    What is None stays as the host made it.
    """

    owner: tuple[int, int] | None
    permissions: int
    created: int | None
    accessed: int | None
    modified: int | None
