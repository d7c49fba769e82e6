"""User items after a crash: each is what it was before or what it was set to, never a part of both."""

import random
from typing import Any

import pytest

import vhdx
from tests.support.layout import METADATA_ENTRY, METADATA_GUID, METADATA_TABLE, TABLE_SIZE
from tests.support.lying import Operation, crashes
from tests.support.soundness import Survey, Surveyor
from vhdx.write import items, region_move
from vhdx.write.write import Writer

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


def examined(name: str) -> set[tuple[int, ...]]:
    """Look at every crash of a scenario; the sets of items that were seen."""
    session = next(scenario for scenario in ALL if scenario.name == name).recorded()
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
    return {tuple(sorted(found)) for found in seen.values()}


def test_items_are_old_or_new_at_every_instant() -> None:
    assert len(examined("user items come and go")) >= 6


def value_behind_its_row(patch: pytest.MonkeyPatch) -> None:
    def apply(writer: Any, change: items.ItemChange, *, contents: bool) -> None:
        really(writer, change._replace(direct=()), contents=contents)
        for offset, data in change.direct:
            writer.session.file.write_at(data, writer._image.metadata.region.file_offset + offset)
        writer.session.file.flush()

    really = Writer._apply
    patch.setattr(Writer, "_apply", apply)


def long_values_over_old_ones(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(items, "_taken", lambda *_, **__: [])


def row_without_its_value(patch: pytest.MonkeyPatch) -> None:
    really = items.with_item

    def with_item(*arguments: Any, **options: Any) -> items.ItemChange:
        change = really(*arguments, **options)
        return change._replace(logged=change.logged[-1:])

    patch.setattr(items, "with_item", with_item)


def tables_that_name_another_place(patch: pytest.MonkeyPatch) -> None:
    def put_tables(session: Any, old: Any, new: Any) -> None:
        really(session, old, new._replace(file_offset=new.file_offset + (1 << 20)))

    really = region_move._put_tables
    patch.setattr(region_move, "_put_tables", put_tables)


MISTAKES = (
    value_behind_its_row,
    long_values_over_old_ones,
    row_without_its_value,
    tables_that_name_another_place,
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_mistakes_are_found(mistake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake(monkeypatch)
    with pytest.raises((AssertionError, vhdx.VhdxError)):
        examined("user items come and go")


def test_no_image_is_called_fixed_before_all_its_blocks_have_space() -> None:
    session = next(scenario for scenario in ALL if scenario.name == "dynamic becomes fixed").recorded()
    surveyor, kinds = Surveyor(), set()
    for item in crashes(session.record, random.Random(0), 20):
        if not isinstance(item, Operation):
            survey = surveyor.survey(item.files[FILE])
            kinds.add(survey.disk.fixed)
            assert not survey.disk.fixed or len(survey.blocks) == -(
                -survey.disk.size // survey.disk.block_size
            )
    assert kinds == {False, True}
