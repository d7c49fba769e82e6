"""Free space: runs between other things are found whatever was looked for before."""

import hypothesis.strategies as st
from hypothesis import given

from tests.support.layout import MIB
from vhdx.image.space import Space

STEPS = st.lists(
    st.tuples(st.sampled_from(["take 1", "take 2", "take 4", "back"]), st.integers(0, 99)), max_size=40
)


@given(STEPS)
def test_a_free_run_is_always_found(steps: list[tuple[str, int]]) -> None:
    space, used = Space(7 * MIB), bytearray(7)
    taken: list[tuple[int, int]] = []
    for step, which in steps:
        if step == "back":
            if taken:
                first, count = taken.pop(which % len(taken))
                space.give_back(first * MIB, count * MIB)
                used[first : first + count] = bytes(count)
            continue
        count = int(step[-1])
        place = space.take(count * MIB)
        assert (place is None) == (used.find(bytes(count)) < 0)
        if place is not None:
            first = place // MIB
            assert not any(used[first : first + count])
            used[first : first + count] = b"\1" * count
            taken.append((first, count))
