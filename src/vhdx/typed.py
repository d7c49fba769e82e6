"""What modules need of `typing` while they are imported, without importing it.

It takes as long to import as the bare interpreter takes to start, and each of its named tuples takes ten
times as long to make as one of these. Whoever checks types sees those of `typing`, for which these stand.
"""

from __future__ import annotations

import sys
from collections import _tuplegetter  # type: ignore[attr-defined]  # as `namedtuple` reads a field
from types import CodeType, FunctionType

__all__ = ("TYPE_CHECKING", "Generic", "NamedTuple", "Protocol", "TypeVar", "cast", "overload")

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast, overload
else:

    class _Named(type):
        """Makes a tuple of a class: what is annotated are the names, what stands beside them defaults."""

        def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
            """A class that names what is in its tuples; one that is derived from such a class is no other."""
            if not any(base.__dict__.get("_is_plain") for base in bases):
                return super().__new__(cls, name, bases, namespace)
            fields = tuple(map(sys.intern, namespace.get("__annotations__", ())))
            defaults = {field: namespace.pop(field) for field in fields if field in namespace}
            namespace |= {field: _tuplegetter(at, None) for at, field in enumerate(fields)}
            namespace |= {"__slots__": (), "_fields": fields, "_field_defaults": defaults}
            namespace |= {"__match_args__": fields, "__new__": _constructor(fields, (*defaults.values(),))}
            return super().__new__(cls, name, bases, namespace)

    class NamedTuple(tuple, metaclass=_Named):
        """A tuple whose places have names, as `typing.NamedTuple` makes it."""

        __slots__ = ()
        _is_plain = True

        @classmethod
        def _make(cls, values: Iterable[Any]) -> Any:
            made = tuple.__new__(cls, values)
            if len(made) != len(cls._fields):
                raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
            return made

        def _replace(self, /, **changes: Any) -> Any:
            made = self._make(map(changes.pop, self._fields, self))
            if changes:
                raise ValueError(f"Got unexpected field names: {list(changes)!r}")
            return made

        __replace__ = _replace

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self) -> str:
            told = ", ".join(f"{field}={value!r}" for field, value in self._asdict().items())
            return f"{type(self).__name__}({told})"

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)

    class Generic:
        """Whatever stands between its brackets is for those who check types."""

        __slots__ = ()

        def __class_getitem__(cls, _kinds: Any) -> type:
            return cls

    class Protocol(Generic):
        """What it says is for those who check types."""

        __slots__ = ()

    def TypeVar(name: str, **_bounds: Any) -> str:  # noqa: N802  as in `typing`
        """Its name."""
        return name

    def cast(_kind: Any, value: Any) -> Any:
        """The value as it is."""
        return value

    def overload(function: Any) -> Any:
        """The function as it is."""
        return function


_CONSTRUCTORS: dict[int, CodeType] = {}
"""Compiled once for each number of fields: other names for its arguments take a tenth of that."""


def _constructor(fields: tuple[str, ...], defaults: tuple[object, ...]) -> FunctionType:
    """What makes a tuple of arguments with these names."""
    code = _CONSTRUCTORS.get(len(fields))
    if code is None:
        places = "".join(f"a{at}, " for at in range(len(fields)))
        code = eval(f"lambda _cls, {places}: new(_cls, ({places}))").__code__  # noqa: S307  nobody else's text
        _CONSTRUCTORS[len(fields)] = code
    named = code.replace(co_varnames=("_cls", *fields), co_name="__new__")
    return FunctionType(named, {"new": tuple.__new__}, "__new__", defaults)
