"""User items after a crash: each is what it was before or what it was set to, never a part of both."""

import random
import uuid

from tests.support.layout import METADATA_ENTRY, METADATA_GUID, METADATA_TABLE, TABLE_SIZE
from tests.support.lying import Operation, crashes
from tests.support.soundness import Survey, Surveyor

from .scenarios import ALL
from .session import FILE, Items


def items_of(survey: Survey) -> dict[int, bytes]:
    """The user items, as the table of a file says."""
    start, _ = survey.regions[METADATA_GUID]
    table = survey.replayed.read(TABLE_SIZE, start)
    found = {}
    for index in range(METADATA_TABLE.number(table, "entry_count")):
        row = table[32 + 32 * index : 64 + 32 * index]
        if METADATA_ENTRY.number(row, "flags") & 1:
            at, length = METADATA_ENTRY.number(row, "offset"), METADATA_ENTRY.number(row, "length")
            guid = METADATA_ENTRY.guid(row, "item_id")
            found[guid.int] = survey.replayed.read(length, start + at) if length else b""
    return found


def test_items_are_old_or_new_at_every_instant() -> None:
    session = next(scenario for scenario in ALL if scenario.name == "user items come and go").recorded()
    surveyor = Surveyor()
    possible: list[dict[int, bytes]] = [{}]
    seen: dict[int, dict[int, bytes]] = {}
    for item in crashes(session.record, random.Random(0), 12, again=Items):
        if not isinstance(item, Operation):
            digest = item.files[FILE].digest
            found = seen.get(digest)
            if found is None:
                found = seen[digest] = items_of(surveyor.survey(item.files[FILE]))
            assert found in possible, f"{ {k: len(v) for k, v in found.items()} } after {item}"
        elif isinstance(item.mark, Items):
            possible = [item.mark.items] if item.mark.settled else [*possible, item.mark.items]
    assert len({tuple(sorted(found)) for found in seen.values()}) >= 6
    assert uuid.UUID(int=4).int in session.items
