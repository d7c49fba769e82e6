"""Runs of a virtual disk: their parts, and when neighbours are one."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vhdx.extents import BlockState, Extent, ExtentKind, merged

SHAPES = st.tuples(
    st.sampled_from(
        [
            (ExtentKind.DATA, 6),
            (ExtentKind.DATA, 7),
            (ExtentKind.ZERO, 2),
            (ExtentKind.ZERO, 3),
            (ExtentKind.UNALLOCATED, 0),
        ]
    ),
    st.integers(0, 2),
    st.sampled_from([None, 0, 100, 200]),
    st.integers(1, 3),
)
Bytes = list[tuple[ExtentKind, BlockState, int, int | None]]


def row(shapes: list[tuple[tuple[ExtentKind, int], int, int | None, int]]) -> list[Extent]:
    """Extents of a few bytes each, one behind the other; some continue those before them."""
    extents: list[Extent] = []
    for (kind, state), depth, place, length in shapes:
        offset = extents[-1].end if extents else 0
        last = extents[-1].file_offset if extents else None
        follows = last + extents[-1].length if place == 200 and last is not None else place
        extents.append(Extent(offset, length, kind, BlockState(state), depth, follows))
    return extents


def byte_by_byte(extents: list[Extent]) -> Bytes:
    return [
        (e.kind, e.state, e.depth, None if e.file_offset is None else e.file_offset + n)
        for e in extents
        for n in range(e.length)
    ]


def continues(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    place, following = one[3], other[3]
    if one[:3] != other[:3] or (place is None) != (following is None):
        return False
    return place is None or following == place + 1  # type: ignore[operator]


@given(st.lists(SHAPES, max_size=12))
def test_merged_extents_say_the_same_with_as_few_as_possible(
    shapes: list[tuple[tuple[ExtentKind, int], int, int | None, int]],
) -> None:
    extents = row(shapes)
    found = list(merged(extents))
    each = byte_by_byte(extents)
    assert byte_by_byte(found) == each
    breaks = sum(not continues(one, other) for one, other in pairwise(each))
    assert len(found) == (breaks + 1 if each else 0)


def test_merging_is_lazy() -> None:
    def endless() -> object:
        yield Extent(0, 1, ExtentKind.ZERO, BlockState.ZERO, 1, None)
        yield Extent(1, 1, ExtentKind.DATA, BlockState.FULLY_PRESENT, 1, 7)
        raise AssertionError("asked for more than was needed")

    assert next(iter(merged(endless()))).kind is ExtentKind.ZERO  # type: ignore[arg-type]


def test_a_part_of_an_extent_moves_with_its_place() -> None:
    extent = Extent(100, 50, ExtentKind.DATA, BlockState.FULLY_PRESENT, 2, 1000)
    assert extent.part(110, 120) == Extent(110, 10, ExtentKind.DATA, BlockState.FULLY_PRESENT, 2, 1010)
    assert extent.part(100, 150) == extent
    nowhere = extent._replace(kind=ExtentKind.ZERO, file_offset=None)
    assert nowhere.part(110, 120).file_offset is None
