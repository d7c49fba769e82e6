"""Let go of what the file systems on a disk call free: what fstrim does in the guest, from outside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from vhdx.disk.chain import VhdxDisk
from vhdx.disk.children import refuse_orphans
from vhdx.disk.formats import closing_on_failure
from vhdx.disk.free_space import VolumeSelection
from vhdx.disk.parents import open_chain
from vhdx.disk.places import policy_from
from vhdx.image import image
from vhdx.ops.discard import Discard
from vhdx.reshape.relocate import Relocator
from vhdx.storage.file import open_for_writing
from vhdx.write.session import Session

if TYPE_CHECKING:
    from vhdx.disk.places import Parents
    from vhdx.ops.discard import DiscardedVolume


class TrimResult(NamedTuple):
    """What became of the free space of an image's disk, volume by volume; ``virtual_size`` in bytes."""

    path: str
    format: str
    virtual_size: int
    volumes: tuple[DiscardedVolume, ...]


def trim_free(
    path: str | os.PathLike[str],
    *,
    volumes: VolumeSelection | None = None,
    parents: Parents = None,
    lock: bool = True,
) -> TrimResult:
    """Let go of what the file systems on the disk of an image call free; what became of each.

    As `compact` with ``discard_free`` and ``punch``, but nothing moves: whole blocks give their space back
    for others to come, parts of blocks become holes. Fixed images stay as they are. Raises what opening for
    writing raises, UnsupportedImageError for an image that images beside it have for their parent.
    """
    path = os.fspath(path)
    storage = open_for_writing(path, lock=lock)
    with closing_on_failure(storage):
        leaf = image.load(storage)
        refuse_orphans(path, leaf.header.data_write_guid, "giving back free space", forcible=False)
        layers = open_chain(leaf, policy_from(parents), lock=lock)
    with VhdxDisk(layers) as disk:
        discard = Discard(disk, volumes or VolumeSelection())
        punch = disk.disk_type != "fixed"
        below = VhdxDisk(layers[1:]) if layers[1:] else None
        with Session(storage, leaf) as session, session.lock:
            discard.apply(Relocator(session, below), punch=punch)
        return TrimResult(path, disk.format, disk.size, discard.results(punch=punch))
