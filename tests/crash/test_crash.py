"""Promises 4 to 7 and 10: whatever power loss leaves of a scenario opens, is sound, and lost nothing.

In ordinary runs power fails less often once more, while the damage of its first failure is being repaired.
"""

import random
from collections.abc import Callable

import pytest

from tests.support.sweep import Sweep, swept

from .explore import Density, Explorer
from .scenarios import ALL
from .scenarios.scenario import Scenario

LEAST_IN_ALL = 20_000


@swept(one_in=4)
@pytest.mark.parametrize("scenario", ALL, ids=str)
def test_promises_4_to_7_and_10_hold_at_every_instant_of(
    scenario: Scenario, sweep: Sweep, record_property: Callable[[str, object], None]
) -> None:
    density = Density(scenario.samples, recover=14 * sweep.one_in, one_in=scenario.one_in)
    explorer = Explorer(random.Random(0), density, scenario.warnings)
    explorer.explore(scenario.recorded())
    record_property("crash states", explorer.distinct)
    assert explorer.distinct >= scenario.least


def test_enough_states_are_examined() -> None:
    assert sum(scenario.least for scenario in ALL) >= LEAST_IN_ALL
