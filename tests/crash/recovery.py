"""What somebody may do with an image after a crash; each leaves it closed."""

from collections.abc import Callable

from tests.support.sparse import PAGE, SECTOR

from .session import Session


def look(session: Session) -> None:
    """Open it for writing and close it: not a byte changes."""
    session.disk.pread(SECTOR, 0)
    session.close()
    changes = [op for op in session.record.operations if op.kind != "mark"]
    assert not changes, f"opening and closing changes the file: {changes[0]}"


def recover(session: Session) -> None:
    """As `vhdx repair`."""
    session.recover()


def write(session: Session) -> None:
    """Write a little here and there, and close."""
    for _ in range(2):
        session.write(_somewhere(session), PAGE)
    session.flush()
    session.write(_somewhere(session), SECTOR)
    session.close()


def clear(session: Session) -> None:
    """Zero and trim blocks, and write to one of them again."""
    size = session.survey.disk.block_size
    start = _somewhere(session) // size * size
    session.zero(start, min(size, session.size - start))
    session.flush()
    session.write(start, SECTOR)
    session.trim(start, min(size, session.size - start))
    session.close()


def again(session: Session) -> None:
    """Be killed once more in the middle of it, and then repair."""
    session.write(_somewhere(session), PAGE)
    session.flush()
    session.write(_somewhere(session), PAGE)
    session.abandon()
    session.recover_or_close()


def compact(session: Session) -> None:
    """As `vhdx compact`: of what a crash interrupted, or of what it left; and then go on."""
    session.compact(scan_zeros=session.chance.random() < 0.5)
    session.write(_somewhere(session), PAGE)
    session.close()


def _somewhere(session: Session) -> int:
    known = sorted(session.before)
    if known and session.chance.random() < 0.7:
        return min(session.chance.choice(known) * SECTOR, session.size - PAGE)
    return session.chance.randrange((session.size - PAGE) // SECTOR + 1) * SECTOR


RECOVERIES: tuple[tuple[str, Callable[[Session], None]], ...] = (
    ("look", look),
    ("repair", recover),
    ("write", write),
    ("clear", clear),
    ("again", again),
    ("compact", compact),
)
