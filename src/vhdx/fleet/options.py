"""What is asked of every image of a fleet, beside the verb: values that go to other processes as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vhdx.disk.places import ParentPolicy
from vhdx.units import GIB

if TYPE_CHECKING:
    from vhdx.disk.base import Format
    from vhdx.storage.sparse import Sparse

USUAL_MEMORY = GIB
"""Bytes of addresses that an isolated examination may have."""
USUAL_SECONDS = 300.0
"""How long it may take."""


class FleetOptions(NamedTuple):
    """How images are examined or changed; each field says what the option of the verb of its name does.

    ``lock=False`` reads also what somebody writes to; what is changed is locked all the same. ``isolate``
    examines each image in a process of its own with at most ``memory`` bytes of addresses and ``seconds``.
    ``target_dir`` and ``target_format`` are for `convert`, whose new files are named as their sources.
    ``sparse`` is what `vhdx.sparse` takes, for files that are made or changed.
    """

    parents: ParentPolicy = ParentPolicy()
    lock: bool = True
    isolate: bool = False
    memory: int = USUAL_MEMORY
    seconds: float = USUAL_SECONDS
    discard_free: bool = False
    scan_zeros: bool = False
    punch: bool = False
    dry_run: bool = False
    target_dir: str | None = None
    target_format: Format = "vhdx"
    sparse: Sparse = "auto"
