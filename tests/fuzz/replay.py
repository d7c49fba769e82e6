"""Targets and the committed corpora: what there is, without any fuzzer."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import targets

CORPUS = Path(__file__).parent / "corpus"


def target_names() -> list[str]:
    """All targets."""
    return sorted(module.name for module in pkgutil.iter_modules(targets.__path__))


def module_of(name: str) -> Any:
    """The module of a target."""
    return importlib.import_module(f"{targets.__name__}.{name}")


def run_of(name: str) -> Callable[[bytes], None]:
    """The function that a target consists of."""
    run: Callable[[bytes], None] = module_of(name).run
    return run


def corpus_of(name: str) -> Iterator[bytes]:
    """The inputs that a target begins with, and the committed ones."""
    yield from module_of(name).corpus()
    folder = CORPUS / name
    if folder.is_dir():
        yield from (path.read_bytes() for path in sorted(folder.iterdir()))
