"""What the states of blocks say, against the words of the format."""

import pytest

from tests.support import layout
from vhdx import BlockState
from vhdx.image.states import is_invalid, is_present


@pytest.mark.parametrize("state", BlockState)
def test_which_states_an_image_cannot_have(state: BlockState) -> None:
    assert is_invalid(state) == (state == 4)


@pytest.mark.parametrize("state", BlockState)
def test_which_blocks_are_in_the_file(state: BlockState) -> None:
    """Whatever stands behind the state: a place, reserved bits."""
    for rest in (0, 5 * layout.MIB, 8, (1 << 64) - 8):
        assert is_present(rest | state) == (state in (layout.FULLY_PRESENT, layout.PARTIALLY_PRESENT))
