"""A set of MiB against a Python set."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vhdx.examine.mibs import MibSet

SIZE = 300
RUNS = st.tuples(st.lists(st.integers(0, SIZE - 8), max_size=20), st.integers(1, 8))


def numbers(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, dtype=np.int64)


@given(st.lists(RUNS, max_size=5), RUNS)
def test_it_is_a_set(batches: list[tuple[list[int], int]], asked: tuple[list[int], int]) -> None:
    ours, naive = MibSet(SIZE), set[int]()
    for firsts, length in batches:
        expected = []
        for first in firsts:
            run = {*range(first, first + length)}
            expected.append(bool(run & naive))
            naive |= run
        assert ours.add(numbers(firsts), length).tolist() == expected
    firsts, length = asked
    touching = [bool({*range(first, first + length)} & naive) for first in firsts]
    assert ours.touching(numbers(firsts), length).tolist() == touching
    assert len(ours) == len(naive)
    for end in (1, 7, 64, SIZE - 1, SIZE):
        missing = [i for i in range(end) if i not in naive]
        runs = [i for i in missing if i - 1 not in missing]
        tail = max((i + 1 for i in naive if i < end), default=0)
        assert ours.gaps(end) == (len(missing), len(runs), missing[0] if missing else end, tail)


@given(st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(1, SIZE)), max_size=5))
def test_long_runs(runs: list[tuple[int, int]]) -> None:
    ours, naive = MibSet(SIZE), set[int]()
    for start, end in ((start, min(start + length, SIZE)) for start, length in runs):
        ours.add_run(start, end)
        naive |= {*range(start, end)}
    assert ours.as_bytes(SIZE) == bytes(number in naive for number in range(SIZE))


@given(st.lists(RUNS, max_size=5))
def test_the_sum_tells_whether_something_stood_twice(batches: list[tuple[list[int], int]]) -> None:
    ours, members, added = MibSet(SIZE), list[int](), 0
    for firsts, length in batches:
        members += [first + i for first in firsts for i in range(length)]
        added += ours.add_unheld(numbers(firsts), length)
    assert added == len(members)
    assert (len(ours) == added) == (len(set(members)) == len(members))


@pytest.mark.parametrize(
    ("start", "limit", "length"), [(0, 9, 3), (0, 2, 2), (3, 5, 0), (4, 9, 9), (4, 0, 0)]
)
def test_the_length_of_a_gap(start: int, limit: int, length: int) -> None:
    ours = MibSet(SIZE)
    ours.add(numbers([3]), 1)
    assert ours.gap_length(start, limit) == length
