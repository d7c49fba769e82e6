"""What is done to images while power may fail: together, every path of a writer."""

from . import (
    allocating,
    clearing,
    compacting,
    foreign,
    mending,
    properties,
    ring,
    sessions,
    wandering,
    writing,
)
from .scenario import Scenario

ALL: tuple[Scenario, ...] = tuple(
    scenario
    for module in (
        writing,
        allocating,
        clearing,
        sessions,
        ring,
        mending,
        foreign,
        wandering,
        compacting,
        properties,
    )
    for scenario in module.SCENARIOS
)
