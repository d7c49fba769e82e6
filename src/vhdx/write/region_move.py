"""Moving a region to a longer place [MS-VHDX 2.2.3].

The copy stands in space that nobody owns and is durable before the log changes both copies of the region
table, in one entry. The old place stays taken for this session, whose log may have written there.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from vhdx.errors import UnsupportedImageError
from vhdx.format import region
from vhdx.format.region import aligned
from vhdx.image.pages import PAGE_SIZE
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.format.region import RegionEntry
    from vhdx.write.session import Session

_LONGEST_METADATA = 128 * MIB
"""Microsoft's own code reads no more of it."""


def grow_metadata(session: Session, more: int) -> None:
    """Give the metadata region room for ``more`` bytes. The image has to be opened anew afterwards."""
    old = session.image.regions.metadata
    length = aligned(old.length + more + PAGE_SIZE)
    if length > _LONGEST_METADATA:
        raise UnsupportedImageError(
            f"the metadata region would have {length} bytes, more than 128 MiB", image=session.image.name
        )
    session.begin(contents=False)
    session.commit()
    with moved_region(session, old, length) as place:
        session.file.write_at(session.pages.read_many(old.length, old.file_offset), place)
    session.commit()
    clear_old_place(session, old)


def clear_old_place(session: Session, old: RegionEntry) -> None:
    """Once the tables durably name the new place: zeros in the old one, which none takes for lost blocks."""
    session.transaction.payload_written = True
    session.file.zero(old.file_offset, old.length)


@contextlib.contextmanager
def moved_region(session: Session, old: RegionEntry, length: int) -> Iterator[int]:
    """Space of zeros for a region, which is to be filled inside and named by both tables then.

    The tables are changed in memory: the next commit says it.
    """
    named = [old.file_offset]
    with session.taken(length, lambda: named[0]) as (place, is_new):
        if not is_new:
            session.file.zero(place, length)
        yield place
        session.commit()
        with session.transaction.failing_for_good():
            _put_tables(session, old, old._replace(file_offset=place, length=length, required=1))
            named[0] = place


def _put_tables(session: Session, old: RegionEntry, new: RegionEntry) -> None:
    entries = (new if entry == old else entry for entry in session.image.regions.entries)
    table = region.pack(entries)
    for offset in region.TABLE_OFFSETS:
        session.pages.put_all(table, offset)
