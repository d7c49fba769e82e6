"""The examples of docs/adapters.md, run as they stand there on the demonstration's disk."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

import vhdx
from tests.remote.server import serving
from tests.support.tools import needs

from .plugin import PLUGIN, environment

ROOT = Path(__file__).parents[2]
SECTIONS = dict(
    re.findall(
        r"^## (.*?)\n(.*?)(?=^## |\Z)", (ROOT / "docs/adapters.md").read_text(), re.DOTALL | re.MULTILINE
    )
)


def block(section: str, language: str) -> str:
    """The one block of a language in a section."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", SECTIONS[section], re.DOTALL | re.MULTILINE)
    assert isinstance(found, str)
    return found


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    subprocess.run([sys.executable, ROOT / "demo" / "make_disk.py", tmp_path / "disk.raw"], check=True)
    vhdx.convert(tmp_path / "disk.raw", tmp_path / "disk.vhdx")
    return tmp_path


def printed(program: Sequence[str | Path], folder: Path, **variables: str) -> str:
    done = subprocess.run(
        program, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("section", "packages"),
    [("The Sleuth Kit: pytsk3", ["pytsk3"]), ("dissect", ["dissect.fat", "dissect.volume"])],
)
def test_forensic_libraries(folder: Path, section: str, packages: list[str]) -> None:
    missing = [package for package in packages if find_spec(package) is None]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"not installed: {', '.join(missing)}")
    before = (folder / "disk.vhdx").read_bytes()
    assert printed([sys.executable, "-c", block(section, "python")], folder) == block(section, "text")
    assert (folder / "disk.vhdx").read_bytes() == before


def test_remote(folder: Path) -> None:
    section = "Web servers and object stores: vhdx.remote"
    with serving({"/disk.vhdx": (folder / "disk.vhdx").read_bytes()}) as server:
        program = block(section, "python").replace("https://example.com", server.url)
        assert server.url in program
        assert printed([sys.executable, "-c", program], folder) == block(section, "text")
        assert server.sent < len(server.files["/disk.vhdx"])


@PLUGIN
@needs("nbdkit", "nbdinfo", "nbdcopy")
def test_nbdkit(folder: Path) -> None:
    session = block("nbdkit", "console").splitlines()
    script = "\n".join(line[2:] for line in session if line.startswith("$ "))
    script = script.replace("python3", sys.executable)
    shown = [line for line in session if not line.startswith("$ ")]
    assert printed(["sh", "-ec", script], folder, **environment()).splitlines() == shown
    assert (folder / "copy.raw").read_bytes() == (folder / "disk.raw").read_bytes()
