"""The text in which LVM2 keeps what it knows: sections of names and values, as nested dictionaries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vhdx.filesystems.base import NotFreeError

if TYPE_CHECKING:
    from collections.abc import Iterator

Value = int | str | list["int | str"]
Section = dict[str, "Value | Section"]

_TOKEN = re.compile(
    r'(?P<blank>\s+|\#[^\n]*)|(?P<string>"(?:[^"\\]++|\\.)*+")|(?P<mark>[{}\[\]=,])|(?P<word>[^\s"#{}\[\]=,]+)',
    re.DOTALL,
)
_DEEPEST = 8
_BROKEN = "the text of its metadata is not one that LVM2 writes"


class Quoted(str):
    """A string that stood in quotation marks, which is never a number nor a mark."""

    __slots__ = ()


def parse(text: str) -> Section:
    """The sections of a text. Raises NotFreeError where it is no such text."""
    tokens = _tokens(text)
    section, mark = _section(tokens, 0)
    if mark:
        raise NotFreeError(_BROKEN)
    return section


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise NotFreeError(_BROKEN)
        at = found.end()
        if found["string"] is not None:
            yield Quoted(re.sub(r"\\(.)", r"\1", found["string"][1:-1], flags=re.DOTALL))
        elif found["blank"] is None:
            yield found[0]


def _section(tokens: Iterator[str], depth: int) -> tuple[Section, str]:
    """Names and values up to what ends them: a brace, or nothing at the end of the text."""
    if depth > _DEEPEST:
        raise NotFreeError(_BROKEN)
    section: Section = {}
    for name in tokens:
        if name == "}" and not isinstance(name, Quoted):
            return section, name
        if name in section:
            raise NotFreeError(_BROKEN)
        mark = next(tokens, "")
        if mark == "{":
            section[str(name)], end = _section(tokens, depth + 1)
            if not end:
                raise NotFreeError(_BROKEN)
        elif mark == "=":
            section[str(name)] = _value(tokens)
        else:
            raise NotFreeError(_BROKEN)
    return section, ""


def _value(tokens: Iterator[str]) -> Value:
    word = next(tokens, "")
    if word != "[" or isinstance(word, Quoted):
        return _scalar(word)
    values: list[int | str] = []
    for word in tokens:
        if word == "]" and not isinstance(word, Quoted):
            return values
        if word != "," or isinstance(word, Quoted):
            values.append(_scalar(word))
    raise NotFreeError(_BROKEN)


def _scalar(word: str) -> int | str:
    if isinstance(word, Quoted):
        return str(word)
    if re.fullmatch(r"-?[0-9]{1,20}", word):
        return int(word)
    if not word or word in "{}[]=,":
        raise NotFreeError(_BROKEN)
    return word


def section_at(section: Section, name: str) -> Section:
    """A section in a section; an empty one where there is none of this name."""
    found = section.get(name)
    return found if isinstance(found, dict) else {}


def number_at(section: Section, name: str) -> int:
    """A number in a section. Raises NotFreeError where there is none, or it is negative or beyond 62 bits."""
    found = section.get(name)
    if not isinstance(found, int) or not 0 <= found < 1 << 62:
        raise NotFreeError(f"its metadata has no {name}, or none that makes sense")
    return found


def text_of(section: Section, name: str) -> str:
    """A string in a section. Raises NotFreeError where there is none."""
    found = section.get(name)
    if not isinstance(found, str):
        raise NotFreeError(f"its metadata has no {name}")
    return found


def list_at(section: Section, name: str) -> list[int | str]:
    """A list in a section. Raises NotFreeError where there is none."""
    found = section.get(name)
    if not isinstance(found, list):
        raise NotFreeError(f"its metadata has no list {name}")
    return found
