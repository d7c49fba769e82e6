"""Windows' change tracking (RCT) of an image: files beside it in which Hyper-V notes what a guest changes."""

from __future__ import annotations

import os

_SUFFIXES = (".rct", ".mrt")
"""What stands behind the image's whole name."""
UNSEEN = (
    "{} is beside it: the change tracking of Windows, which backups of Hyper-V go by, does not see what is "
    "changed here; let the next of them be a full one"
)


def tracking_files(path: str) -> tuple[str, ...]:
    """The names of the files beside an image in which Windows tracks its changes."""
    home, name = os.path.split(os.path.realpath(path))
    beside = (name + suffix for suffix in _SUFFIXES)
    return tuple(each for each in beside if os.path.exists(os.path.join(home, each)))


def unseen(path: str) -> str | None:
    """What whoever changes an image should know if Windows tracks its changes."""
    found = tracking_files(path)
    return UNSEEN.format(" and ".join(found)) if found else None
