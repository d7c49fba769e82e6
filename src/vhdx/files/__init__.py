"""The files that guests keep on a disk, read without mounting anything: trees, one adapter a library."""

from __future__ import annotations

from importlib import import_module

from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from vhdx.files.base import Content, Entry, Kind, Tree
    from vhdx.files.path import Path
    from vhdx.files.volume import FileVolume, volumes

__all__ = ["Content", "Entry", "FileVolume", "Kind", "Path", "Tree", "volumes"]

_HOME_OF = {
    "Content": "vhdx.files.base",
    "Entry": "vhdx.files.base",
    "FileVolume": "vhdx.files.volume",
    "Kind": "vhdx.files.base",
    "Path": "vhdx.files.path",
    "Tree": "vhdx.files.base",
    "volumes": "vhdx.files.volume",
}


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'vhdx.files' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
