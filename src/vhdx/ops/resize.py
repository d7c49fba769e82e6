"""Give a disk another size."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from vhdx.disk.chain import Disk
from vhdx.disk.parents import open_chain, policy_from
from vhdx.image import image
from vhdx.image.resize import resize as resize_image
from vhdx.storage.file import open_for_writing

if TYPE_CHECKING:
    from uuid import UUID

    from vhdx.disk.parents import Parents


def resize_file(path: str, disk_size: int, *, parents: Parents = None, identity: UUID | None = None) -> None:
    """Give the image the disk size, in bytes; its partitions and its children are not asked.

    ``identity`` is the DataWriteGuid for the changed contents, a fresh one where it is None.
    """
    with contextlib.closing(open_for_writing(path)) as storage:
        layers = open_chain(image.load(storage), policy_from(parents), lock=True)
        below = Disk(layers[1:]) if layers[1:] else None
        try:
            resize_image(storage, disk_size, below=below, identity=identity)
        finally:
            if below is not None:
                below.close()
