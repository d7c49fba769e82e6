"""The stubs in `typings/` against the libraries that are installed: what they say is there, by these names.

Those in C say in their documentation what their methods take and give.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vhdx.files.open import ADAPTERS

STUBS = Path(__file__).parents[2] / "typings"
SAID = re.compile(r"^(\w+)\((.*?)\)\s*->\s*(.*)")
GIVEN: dict[str, str | tuple[str, ...]] = {
    "int": "Integer",
    "bytes": ("Bytes", "String"),
    "str": "Unicode string",
    "bool": "Boolean",
    "tuple[int, int, int]": "Tuple(Integer, Integer, Integer)",
    "tuple[int, int]": "Tuple(Integer, Integer)",
}


def modules() -> list[str]:
    paths = (path.relative_to(STUBS).with_suffix("") for path in STUBS.rglob("*.pyi"))
    return sorted(".".join(part for part in path.parts if part != "__init__") for path in paths)


def tree_of(name: str) -> ast.Module:
    path = STUBS.joinpath(*name.split("."))
    return ast.parse((path / "__init__.pyi" if path.is_dir() else path.with_suffix(".pyi")).read_text())


def functions(tree: ast.Module, library: object) -> Iterator[tuple[str, ast.FunctionDef, object]]:
    """Each function of a stub, and what it is in the library."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node, getattr(library, node.name)
        if isinstance(node, ast.ClassDef) and not (
            node.name.startswith("_") and not hasattr(library, node.name)
        ):
            owner = getattr(library, node.name)
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    yield f"{node.name}.{inner.name}", inner, inspect.getattr_static(owner, inner.name)


def parameters(node: ast.FunctionDef) -> list[str]:
    names = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def is_property(node: ast.FunctionDef) -> bool:
    return any(isinstance(each, ast.Name) and each.id == "property" for each in node.decorator_list)


@pytest.mark.parametrize("name", modules())
def test_what_stubs_say_is_there(name: str) -> None:
    library = pytest.importorskip(name, reason="needs the extra vhdx[files], or dissect.btrfs")
    for label, node, real in functions(tree_of(name), library):
        if is_property(node):
            assert not callable(real), label
        elif name.startswith("pyfs"):
            documented(label, node, str(real.__doc__))
        else:
            signed(label, node, real)


def documented(label: str, node: ast.FunctionDef, text: str) -> None:
    said = SAID.match(text)
    assert said is not None, label
    taken = [word.partition("=")[0].strip() for word in said[2].split(",") if word.strip()]
    assert taken[: len(parameters(node))] == parameters(node), label
    gives = ast.unparse(node.returns) if node.returns else "None"
    assert said[3].replace("( ", "(").replace(" )", ")").startswith(GIVEN.get(gives, "")), label


def signed(label: str, node: ast.FunctionDef, real: Any) -> None:
    taken = inspect.signature(inspect.unwrap(getattr(real, "__func__", real))).parameters.values()
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in taken)
    assert takes_any or {each.name for each in taken} >= set(parameters(node)), label


def test_each_adapter_has_its_stub() -> None:
    """That it asks only what stands there is mypy's work."""
    libraries = {adapter.library for adapter in ADAPTERS.values() if adapter.library}
    assert libraries <= set(modules())
