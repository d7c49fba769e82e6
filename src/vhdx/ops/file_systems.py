"""Say what stands on the disk of an image: file systems, how full they are, and in which state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.disk import volumes
from vhdx.disk.open import open_any

if TYPE_CHECKING:
    from vhdx.disk.formats import Format, Openable
    from vhdx.disk.places import Parents
    from vhdx.disk.volumes import FileSystemOn


def file_systems(
    path: Openable,
    *,
    quick: bool = False,
    image_format: Format | None = None,
    parents: Parents = None,
    lock: bool = True,
) -> tuple[FileSystemOn, ...]:
    """What stands on the disk of an image or a raw disk: as a whole, in partitions, in logical volumes.

    Only reads. All that the file systems keep of their space is read and must agree with itself before
    anything of it counts as free; with ``quick`` only a few sectors of each are read, and the numbers are
    what it says of itself. ``image_format`` None tells the format by the contents. An open disk has the same
    as ``disk.filesystems()``; here that is the name of the package which reads them. Raises what opening and
    reading raise, ValueError where the format cannot be told.
    """
    with open_any(path, image_format=image_format, parents=parents, lock=lock) as disk:
        return volumes.file_systems(disk, quick=quick)
