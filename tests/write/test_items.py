"""Where items go: pure, against a region as a list of bytes."""

from uuid import UUID

import hypothesis.strategies as st
from hypothesis import given

from tests.support.layout import KIB, METADATA_ENTRY, METADATA_TABLE, MIB
from vhdx.format.metadata import IS_USER, TABLE_SIZE, MetadataEntry, pack_table
from vhdx.write.items import ItemChange, NewItem, NoRoomError, index_of, with_item, without_item

PAGE = 4096


def rows_of(region: bytearray) -> dict[int, bytes]:
    """The items that the bytes of a region describe."""
    found = {}
    for index in range(METADATA_TABLE.number(bytes(region[:32]), "entry_count")):
        row = bytes(region[32 + 32 * index : 64 + 32 * index])
        at, length = METADATA_ENTRY.number(row, "offset"), METADATA_ENTRY.number(row, "length")
        found[METADATA_ENTRY.guid(row, "item_id").int] = bytes(region[at : at + length])
    return found


def pages_of(entries: tuple[MetadataEntry, ...]) -> set[int]:
    return {page for e in entries if e.length for page in range(e.offset // PAGE, -(-e.end // PAGE))}


@given(
    st.lists(
        st.tuples(st.integers(1, 6), st.one_of(st.none(), st.integers(0, 300_000)), st.booleans()),
        max_size=20,
    )
)
def test_the_bytes_say_what_was_put_and_what_was_there_stays_until_the_table_says_otherwise(
    steps: list[tuple[int, int | None, bool]],
) -> None:
    region = bytearray(pack_table(()).ljust(MIB, b"\xee"))
    entries: tuple[MetadataEntry, ...] = ()
    wanted: dict[int, bytes] = {}
    for step, (number, length, direct) in enumerate(steps):
        index = index_of(entries, UUID(int=number), is_user=True)
        if length is None:
            if index is None:
                continue
            change = without_item(entries, index)
            del wanted[number]
        else:
            value = bytes([step + 1]) * length
            try:
                item = NewItem(UUID(int=number), value, IS_USER, is_user=True)
                change = with_item(entries, MIB, item, durable=entries if direct else None)
            except NoRoomError:
                assert length > 4 * KIB
                continue
            wanted[number] = value
        before = rows_of(region)
        check_direct(change, entries)
        for offset, data in change.direct:
            region[offset : offset + len(data)] = data
        assert rows_of(region) == before
        for offset, data in change.logged:
            assert offset + len(data) <= MIB
            region[offset : offset + len(data)] = data
        entries = change.entries
        assert rows_of(region) == wanted


def check_direct(change: ItemChange, entries: tuple[MetadataEntry, ...]) -> None:
    """What is written without the log shares no page with what a durable row names."""
    for offset, data in change.direct:
        touched = set(range(offset // PAGE, -(-(offset + len(data)) // PAGE)))
        assert offset >= TABLE_SIZE
        assert not touched & pages_of(entries)
