"""Named tuples of our own against those of `typing`, for which they stand."""

import copy
import pickle
import typing
from collections.abc import Callable
from typing import Any, Self

import pytest

from vhdx import typed


class Theirs(typing.NamedTuple):
    x: int
    y: int = 2
    name: str = "here"

    @property
    def double(self) -> int:
        return 2 * self.x


class Ours(typed.NamedTuple):
    x: int
    y: int = 2
    name: str = "here"

    @property
    def double(self) -> int:
        return 2 * self.x


class Derived(Ours):
    __slots__ = ()

    def __new__(cls, x: int) -> Self:
        return super().__new__(cls, x, name="derived")


class Empty(typed.NamedTuple):
    pass


def matched(kind: Any) -> Any:
    match kind(5):
        case Ours(x, y) | Theirs(x, y):
            return x, y


USES: dict[str, Callable[[Any], Any]] = {
    "by place": lambda kind: tuple(kind(1, 3, "there")),
    "by name": lambda kind: tuple(kind(name="there", x=4)),
    "defaults": lambda kind: tuple(kind(1)),
    "fields": lambda kind: (kind._fields, kind._field_defaults, kind.__match_args__),
    "read": lambda kind: (kind(1).x, kind(1).name, kind(1).double),
    "replaced": lambda kind: tuple(kind(1)._replace(y=7, name="")),
    "replaced by another name": lambda kind: kind(1)._replace(z=7),
    "of a list": lambda kind: tuple(kind._make([7, 8, "9"])),
    "of too few": lambda kind: kind._make([7, 8]),
    "without a field": lambda kind: kind(),
    "with one too many": lambda kind: kind(1, 2, "3", 4),
    "by a wrong name": lambda kind: kind(1, z=3),
    "as a dictionary": lambda kind: kind(1)._asdict(),
    "told": lambda kind: repr(kind(1)).replace(kind.__name__, ""),
    "compared": lambda kind: (kind(1) == (1, 2, "here"), kind(1) < kind(2), hash(kind(1)) == hash(kind(1))),
    "pickled": lambda kind: tuple(pickle.loads(pickle.dumps(kind(3)))),
    "copied": lambda kind: (tuple(copy.copy(kind(3))), tuple(copy.deepcopy(kind(3)))),
    "changed": lambda kind: setattr(kind(1), "x", 2),
    "given more": lambda kind: setattr(kind(1), "more", 2),
    "annotated": lambda kind: {**kind.__annotations__},
    "matched": matched,
}


def outcome(use: Callable[[Any], Any], kind: Any) -> Any:
    try:
        return use(kind)
    except AttributeError:
        return "no such attribute"
    except (TypeError, ValueError):  # which of them has changed with Python 3.13
        return "refused"


@pytest.mark.parametrize("use", USES)
def test_it_is_as_that_of_typing(use: str) -> None:
    assert outcome(USES[use], Ours) == outcome(USES[use], Theirs)


def test_it_is_a_tuple_without_a_dictionary() -> None:
    assert isinstance(Ours(1), tuple)
    assert not hasattr(Ours(1), "__dict__")
    assert type(pickle.loads(pickle.dumps(Ours(1)))) is Ours


def test_a_class_of_its_own_may_be_made_otherwise() -> None:
    assert Derived(3) == (3, 2, "derived")
    assert Derived(3)._replace(y=4) == (3, 4, "derived")
    assert not hasattr(Derived(3), "__dict__")


def test_there_may_be_nothing_in_it() -> None:
    assert Empty() == ()
    assert repr(Empty()) == "Empty()"
