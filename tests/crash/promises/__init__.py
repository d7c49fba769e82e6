"""Watchers: each looks at every operation of a record and knows one promise about the order of changes."""

from tests.support.lying import Record

from . import identity, ring, space, structures
from .scene import CHANGES, BrokenPromiseError, Scene

WATCHERS = {8: structures.watch, 9: identity.watch, 10: space.watch, 11: ring.watch}


def watch(record: Record, story: str = "", *promises: int) -> None:
    """Raise BrokenPromiseError for the first operation that breaks a promise; 8 to 11 if none is named."""
    scene = Scene(record)
    for position, operation in enumerate(record.operations):
        number = 7
        try:
            if operation.kind in CHANGES:
                for number in promises or WATCHERS:
                    WATCHERS[number](scene, operation)
            scene.follow(operation)
        except AssertionError as error:
            said = f"promise {number}: {error}\nby operation {position}, {operation}\n{story}"
            raise BrokenPromiseError(said) from error
