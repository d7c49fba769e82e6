"""Pieces are the range, and end where sectors do."""

from hypothesis import given
from hypothesis import strategies as st

from vhdx.pieces import pieces


@given(st.integers(0, 1 << 50), st.integers(0, 1 << 22), st.sampled_from([4096, 1 << 16, 1 << 20, 3 << 19]))
def test_pieces_are_the_range(offset: int, length: int, size: int) -> None:
    found = list(pieces(offset, length, size))
    assert all(0 < count <= size for _, count in found)
    borders = [offset, *(start + count for start, count in found)]
    assert [start for start, _ in found] == borders[:-1]
    assert borders[-1] == offset + length
    assert all(border % size == 0 for border in borders[1:-1])
    assert len(found) <= length // size + 2
