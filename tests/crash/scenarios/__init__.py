"""What is done to images while power may fail: together, every path of a writer."""

from . import (
    allocating,
    clearing,
    compacting,
    foreign,
    properties,
    repairing,
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
        repairing,
        foreign,
        wandering,
        compacting,
        properties,
    )
    for scenario in module.SCENARIOS
)
