"""What somebody knows of a disk whose image does not say it any more."""

from __future__ import annotations

from vhdx.typed import NamedTuple


class KnownDisk(NamedTuple):
    """Sizes in bytes; None for what is not known. Only what the image has lost is taken from here.

    ``disk_type`` is ``"dynamic"``, ``"fixed"`` or ``"differencing"``.
    """

    virtual_size: int | None = None
    block_size: int | None = None
    logical_sector_size: int | None = None
    disk_type: str | None = None


NOTHING_KNOWN = KnownDisk()
