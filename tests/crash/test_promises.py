"""Promises 8 to 11, each on the order of every change that every scenario makes."""

import pytest

from .promises import WATCHERS, watch
from .scenarios import ALL
from .scenarios.scenario import Scenario


@pytest.mark.parametrize("scenario", ALL, ids=str)
def test_promises_8_to_11_hold_in(scenario: Scenario) -> None:
    session = scenario.recorded()
    watch(session.record, session.story, *WATCHERS)
