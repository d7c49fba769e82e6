"""Everything that can be done, how often, and when it makes sense."""

from collections.abc import Callable
from typing import NamedTuple

from . import chains, copies, others, serve, single
from .scene import Scene


class Action(NamedTuple):
    """One thing to do. ``least`` and ``most`` are the numbers of layers that it takes."""

    name: str
    weight: int
    do: Callable[[Scene], None]
    least: int = 1
    most: int = chains.DEEPEST


ACTIONS = (
    Action("serve to clients", 12, serve.load),
    Action("serve a snapshot", 1, serve.snapshot),
    Action("write with the library", 4, single.write_with_the_library),
    Action("write, zero or trim by command", 2, single.change_with_a_verb),
    Action("compact", 5, single.compact),
    Action("resize", 5, single.resize),
    Action("repair", 2, single.repair),
    Action("set", 2, single.change_properties),
    Action("metadata", 2, single.change_items),
    Action("create a child", 5, chains.add_child, most=chains.DEEPEST - 1),
    Action("merge", 6, chains.merge, least=2),
    Action("rebase on an ancestor", 2, chains.rebase, least=3),
    Action("rename a parent", 1, chains.rename_parent, least=2),
    Action("convert", 2, copies.convert),
    Action("ask QEMU or 7-Zip", 3, others.ask_others),
)


def chosen(scene: Scene) -> Action:
    """The next action."""
    depth = len(scene.layers)
    possible = [action for action in ACTIONS if action.least <= depth <= action.most]
    return scene.chance.choices(possible, [action.weight for action in possible])[0]
