"""Promises 4 to 7 and 10: whatever power loss leaves of a scenario opens, is sound, and lost nothing."""

import random
from collections.abc import Callable

import pytest

from .explore import Density, Explorer
from .scenarios import ALL
from .scenarios.scenario import Scenario

LEAST_IN_ALL = 20_000


@pytest.mark.parametrize("scenario", ALL, ids=str)
def test_promises_4_to_7_and_10_hold_at_every_instant_of(
    scenario: Scenario, record_property: Callable[[str, object], None]
) -> None:
    explorer = Explorer(
        random.Random(0), Density(scenario.samples, one_in=scenario.one_in), scenario.warnings
    )
    explorer.explore(scenario.recorded())
    record_property("crash states", explorer.distinct)
    assert explorer.distinct >= scenario.least


def test_enough_states_are_examined() -> None:
    assert sum(scenario.least for scenario in ALL) >= LEAST_IN_ALL
