"""The process that is killed: it gives free space back, and tells each change of the file. Run by a test."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import vhdx
from tests.support.layout import MIB
from vhdx.reshape import relocate
from vhdx.storage.file import FileStorage

if TYPE_CHECKING:
    from collections.abc import Callable

CHANGES = ("write_at", "flush", "punch", "resize")


def told(change: Callable[..., Any]) -> Callable[..., Any]:
    """The same, after a line on standard output."""

    def tell(*words: Any) -> Any:
        sys.stdout.write(f"{change.__name__}\n")
        sys.stdout.flush()
        return change(*words)

    return tell


def main() -> None:
    """Compact or trim, in small steps."""
    verb, path = sys.argv[1:]
    relocate._BATCH_SIZE = 2 * MIB
    for name in CHANGES:
        setattr(FileStorage, name, told(getattr(FileStorage, name)))
    if verb == "trim":
        vhdx.trim_free(path)
    else:
        vhdx.compact(path, discard_free=True, punch=True)


if __name__ == "__main__":
    main()
