"""Where Docker Desktop keeps its disk on Windows: what it is told in its settings, and what it takes else."""

from __future__ import annotations

import json
import ntpath
import os
from typing import TYPE_CHECKING

from vhdx.ops import registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SETTINGS = ("settings-store.json", "settings.json")
"""Files below ``%APPDATA%\\Docker``, the present one first."""
_LONGEST_SETTINGS = 1 << 20
_OWN_FOLDER = "DockerDesktopWSL"
"""What Docker makes in the folder that the user chose, and sometimes has in its settings already."""
_DISKS = ("disk\\docker_data.vhdx", "data\\ext4.vhdx")
"""The disk below Docker's folder for WSL, the present place first."""
_DISK_OF_A_MACHINE = "DockerDesktop.vhdx"
"""The disk where Docker has a machine of Hyper-V and no WSL."""


def disk_path(folders: Iterable[str]) -> str | None:
    """The first disk that is there: in ``folders``, where the settings say, or where it is by default.

    ``folders`` are paths of Windows for which more speaks than for what the settings say.
    """
    for path in _candidates(folders):
        here = registry.host_path(path)
        if os.path.exists(here):
            return here
    return None


def _candidates(folders: Iterable[str]) -> Iterator[str]:
    settings = list(_settings())
    for folder in (
        *folders,
        *_chosen(settings, "customwsldistrodir"),
        *_below("LOCALAPPDATA", "Docker\\wsl"),
    ):
        yield from (ntpath.join(folder, disk) for disk in _DISKS)
    for folder in (*_chosen(settings, "datafolder"), *_below("PROGRAMDATA", "DockerDesktop\\vm-data")):
        yield ntpath.join(folder, _DISK_OF_A_MACHINE)


def _below(variable: str, folder: str) -> list[str]:
    """A folder below one that Windows has a variable for, if it has."""
    base = registry.variable(variable)
    return [ntpath.join(base, folder)] if base else []


def _settings() -> Iterator[dict[str, object]]:
    """What Docker's settings say, by names in small letters: Docker changed their case."""
    for folder in _below("APPDATA", "Docker"):
        for name in _SETTINGS:
            try:
                with open(registry.host_path(ntpath.join(folder, name)), "rb") as file:
                    found = json.loads(file.read(_LONGEST_SETTINGS).decode("utf-8-sig"))
            except (
                OSError,
                ValueError,
                RecursionError,
            ):  # none of this version, or none that anybody can read
                continue
            if isinstance(found, dict):
                yield {key.lower(): value for key, value in found.items()}


def _chosen(settings: Iterable[dict[str, object]], key: str) -> Iterator[str]:
    for values in settings:
        folder = values.get(key)
        if isinstance(folder, str) and folder and "\0" not in folder:
            yield folder
            yield ntpath.join(folder, _OWN_FOLDER)
