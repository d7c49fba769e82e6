"""A disk whose changes go to a temporary child and are thrown away: nothing of the image is written."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from vhdx.build.build import ImageBuilder
from vhdx.build.plan import ImagePlan
from vhdx.disk.chain import VhdxDisk
from vhdx.disk.formats import closing_on_failure, open_image
from vhdx.disk.open import with_parents
from vhdx.format import locator
from vhdx.image import image
from vhdx.ops.make.child import DEFAULT_BLOCK_SIZE, braced
from vhdx.storage.file import temporary_file
from vhdx.units import MIB
from vhdx.write.write import Writer

if TYPE_CHECKING:
    from vhdx.disk.places import Parents
    from vhdx.image.image import Image


def open_snapshot(path: str, *, parents: Parents = None, lock: bool = True) -> VhdxDisk:
    """The disk of an image, to be written to without changing it: dirty and read-only images serve, too.

    What is written stands in a file without a name until the disk is closed. The image and its parents
    are linked under it in memory, as they are after a replay in memory. Raises as ``vhdx.open`` does.
    """
    leaf = open_image(path, lock=lock)
    with closing_on_failure(leaf.storage):
        base = with_parents(leaf, parents, lock=lock)
    try:
        return _child_over(base)
    except BaseException:
        base.close()
        raise


def _child_over(base: VhdxDisk) -> VhdxDisk:
    storage = temporary_file()
    with closing_on_failure(storage):
        builder = ImageBuilder(storage, _plan(base.layers[0]), base.size)
        builder.finish(base.size)
        child = image.load(storage)
        return VhdxDisk([child, *base.layers], partial(Writer, storage, child, below=base))


def _plan(leaf: Image) -> ImagePlan:
    """As large blocks as the image has: only the sectors that are written take space, the rest is a hole."""
    return ImagePlan(
        fixed=False,
        block_size=max(DEFAULT_BLOCK_SIZE, leaf.geometry.block_size),
        log_length=MIB,
        logical_sector_size=leaf.metadata.logical_sector_size,
        physical_sector_size=leaf.metadata.physical_sector_size,
        disk_id=leaf.metadata.disk_id,
        locator=((locator.PARENT_LINKAGE, braced(leaf.header.data_write_guid)),),
    )
