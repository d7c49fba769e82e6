"""The schema that `docs/reference/json.md` tells: objects with typed keys, and what each verb prints.

A type is told in words: "integer", "text or null", "array of finding", "object of integer".
"""

import importlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "json.md"
_PLAIN = {
    "int": "integer",
    "str": "text",
    "bool": "boolean",
    "float": "number",
    "UUID": "GUID",
    "Value": "integer or text",
}
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class ObjectType(NamedTuple):
    """A kind of object: the class of the library that it is, if it is one, and the types of its keys."""

    python: str | None
    keys: dict[str, str]


class Schema(NamedTuple):
    """Kinds of objects by their names, and what command lines print."""

    objects: dict[str, ObjectType]
    prints: dict[str, str]


def read_schema(text: str) -> Schema:
    """The schema that a page tells."""
    objects: dict[str, ObjectType] = {}
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        python = re.search(r"^% type: (\S+)$", section, re.MULTILINE)
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", section, re.MULTILINE)
        objects[section.splitlines()[0]] = ObjectType(python and python[1], dict(rows))
    prints = re.findall(r"^`vhdx (.+) --json` prints (.+)\.$", text, re.MULTILINE)
    return Schema(objects, {line: " or ".join(re.findall(r"\*\*(.+?)\*\*", kinds)) for line, kinds in prints})


SCHEMA = read_schema(PAGE.read_text())
"""What the page tells."""


def class_of(path: str) -> type:
    """The class of this full name."""
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, type)
    return found


def annotations_of(python: str) -> dict[str, str]:
    """The fields of a result class and their types as the source writes them."""
    found = class_of(python).__annotations__
    return {name: str(getattr(kind, "__forward_arg__", kind)) for name, kind in found.items()}


def words_of(annotation: str, names: Mapping[str, str]) -> str:
    """A type of Python in the page's words; `names` are those of classes."""
    if annotation.endswith(" | None"):
        return words_of(annotation.removesuffix(" | None"), names) + " or null"
    for pattern, words in (
        (r"tuple\[(\w+), \.\.\.\]", "array of"),
        (r"Iterator\[(\w+)\]", "array of"),
        (r"(?:Mapping|dict)\[str, (\w+)\]", "object of"),
    ):
        if found := re.fullmatch(pattern, annotation):
            return f"{words} {words_of(found[1], names)}"
    return _PLAIN.get(annotation) or names[annotation]


def complaints(value: Any, kind: str, schema: Schema, place: str = "$") -> list[str]:
    """Why a value that JSON has is not of this kind."""
    if " or " in kind:
        found = [complaints(value, each, schema, place) for each in kind.split(" or ")]
        return [] if [] in found else found[0]
    if kind.startswith("array of "):
        if not isinstance(value, list):
            return [f"{place}: not an array"]
        inner = kind.removeprefix("array of ")
        return [
            each for i, item in enumerate(value) for each in complaints(item, inner, schema, f"{place}[{i}]")
        ]
    if kind.startswith("object of "):
        if not isinstance(value, dict):
            return [f"{place}: not an object"]
        inner = kind.removeprefix("object of ")
        return [each for k, item in value.items() for each in complaints(item, inner, schema, f"{place}.{k}")]
    if kind in schema.objects:
        keys = schema.objects[kind].keys
        if not isinstance(value, dict) or list(value) != list(keys):
            return [f"{place}: not the keys of {kind}: {value}"]
        return [
            each for k, inner in keys.items() for each in complaints(value[k], inner, schema, f"{place}.{k}")
        ]
    return [] if _is_plain(value, kind) else [f"{place}: {json.dumps(value)} is no {kind}"]


def _is_plain(value: Any, kind: str) -> bool:
    if kind == "null":
        return value is None
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, float)
    return isinstance(value, str) and (kind != "GUID" or _GUID.fullmatch(value) is not None)
