"""Moving a region to a longer place [MS-VHDX 2.2.3].

The copy stands in space that nobody owns and is durable before the log changes both copies of the region
table, in one entry. The old place stays taken for this session, whose log may have written there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.errors import UnsupportedImageError
from vhdx.format import region
from vhdx.image.pages import PAGE_SIZE
from vhdx.storage.base import ZEROS
from vhdx.units import MIB

if TYPE_CHECKING:
    from vhdx.format.region import RegionEntry
    from vhdx.image.session import Session

_LONGEST_METADATA = 128 * MIB
"""Microsoft's own code reads no more of it."""


def grow_metadata(session: Session, more: int) -> None:
    """Give the metadata region room for ``more`` bytes. The image has to be opened anew afterwards."""
    old = session.image.regions.metadata
    length = -(-(old.length + more + PAGE_SIZE) // MIB) * MIB
    if length > _LONGEST_METADATA:
        raise UnsupportedImageError(
            f"the metadata region would have {length} bytes, more than 128 MiB", image=session.image.name
        )
    session.begin(contents=False)
    session.commit()
    named = [old.file_offset]
    with session.taken(length, lambda: named[0]) as (place, is_new):
        session.file.write_at(session.pages.read_many(old.length, old.file_offset), place)
        if not is_new:
            for start in range(old.length, length, MIB):
                session.file.write_at(ZEROS, place + start)
        with session.door.failing_for_good():
            _put_tables(session, old, old._replace(file_offset=place, length=length))
            named[0] = place
    session.commit()


def _put_tables(session: Session, old: RegionEntry, new: RegionEntry) -> None:
    entries = (new if entry == old else entry for entry in session.image.regions.entries)
    table = region.pack(entries)
    for offset in region.TABLE_OFFSETS:
        session.pages.put_all(table, offset)
