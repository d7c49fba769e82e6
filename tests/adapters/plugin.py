"""What it takes to run the nbdkit plugin: nbdkit's own Python must be able to load our packages."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vhdx


def _reason() -> str | None:
    """Why the plugin cannot run on this machine."""
    if shutil.which("nbdkit") is None:
        return "not installed: nbdkit"
    done = subprocess.run(["nbdkit", "python", "--dump-plugin"], capture_output=True, text=True, check=False)
    found = re.search(r"^python_version=(\d+\.\d+)", done.stdout, re.MULTILINE)
    if found is None:
        return "not installed: nbdkit-plugin-python"
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    return None if found[1] == ours else f"nbdkit has Python {found[1]}, the packages here are for {ours}"


_REASON = _reason()
PLUGIN = pytest.mark.skipif(_REASON is not None, reason=str(_REASON))


def environment() -> dict[str, str]:
    """Where the Python in nbdkit finds this library and what it needs."""
    folders = (Path(vhdx.__file__).parents[1], Path(np.__file__).parents[1])
    return {"PYTHONPATH": os.pathsep.join(map(str, folders))}
