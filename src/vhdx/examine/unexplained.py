"""Giving back what nobody owns, unless it is likely to be blocks whose entries were lost.

Or could be such a block: what the host cannot read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx import rules
from vhdx.errors import CorruptImageError
from vhdx.image.unowned import Look, unclaimed_runs
from vhdx.progress import to_nobody
from vhdx.text import command
from vhdx.units import MIB, format_size

if TYPE_CHECKING:
    from vhdx.image.image import Image
    from vhdx.progress import Advance
    from vhdx.write.session import Session


def free_unexplained(session: Session, *, accept: bool, advance: Advance = to_nobody) -> int:
    """Before the first change: let a session take and cut it; how many bytes of it are in MiB not all zeros.

    Raises CorruptImageError where it is likely to be lost blocks, unless the caller ``accept``s that.
    """
    used = session.claimed
    if b"\0" not in used:
        return 0
    from vhdx.examine.lost import evidence  # noqa: PLC0415  numpy is slow to import

    look = Look(session.image.storage, session.reader.file_size, advance=advance, seen=session.seen)
    unowned, is_strong = evidence(session.image, used, look)
    if ((unowned.mibs and is_strong) or unowned.unreadable) and not accept:
        size, name = format_size(unowned.size), session.image.name
        what = "cannot be read or are not zeros" if unowned.unreadable else "are not zeros"
        raise CorruptImageError(
            f"{size} that {what} belong to no block, and the table may have lost entries: nothing was "
            "changed. With --accept-data-loss they are given up",
            image=name,
            file_offset=unowned.first[0] if unowned.first else None,
            rule=rules.SPACE_LOST_ENTRIES.section,
            next_command=command("check {}", name),
        )
    session.free_unexplained()
    return unowned.size


def empty_unexplained(session: Session) -> None:
    """After the last change: let go of what nobody owns and is not zeros, unless closing cuts it off."""
    space, look = session.space, Look(session.file, session.file.size(), seen=session.seen)
    end = space.used_end // MIB if session.cuts else look.size // MIB
    for first, stop in unclaimed_runs(space.claimed(), 0, end):
        filled = look.filled(first, stop)
        start = filled.find(1)
        while start >= 0:
            behind = filled.find(0, start)
            behind = len(filled) if behind < 0 else behind
            session.empty((first + start) * MIB, (behind - start) * MIB)
            start = filled.find(1, behind)


def refuse_lost_entries(image: Image, advice: str) -> None:
    """Raise CorruptImageError, before anything changes, where blocks are likely to stand without an entry."""
    from vhdx.examine.lost import has_lost_entries  # noqa: PLC0415  numpy is slow to import

    if has_lost_entries(image):
        raise CorruptImageError(
            "its table may have lost entries of blocks that still stand in the file: nothing was changed; "
            f"{advice}",
            image=image.name,
            rule=rules.SPACE_LOST_ENTRIES.section,
            next_command=command("check {}", image.name),
        )
