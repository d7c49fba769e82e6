"""The wheel carries the man page that it is told of, and no other."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("named", [True, False])
def test_the_wheel_has_the_page_that_is_named(named: bool, tmp_path: Path) -> None:
    page = tmp_path / "vhdx.1"
    page.write_text(".TH VHDX 1\n")
    environment = {name: value for name, value in os.environ.items() if name != "VHDX_MAN_PAGE"}
    if named:
        environment["VHDX_MAN_PAGE"] = str(page)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path / "dist"],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
    )
    (wheel,) = (tmp_path / "dist").iterdir()
    with zipfile.ZipFile(wheel) as packed:
        pages = [name for name in packed.namelist() if name.endswith("share/man/man1/vhdx.1")]
        assert [packed.read(name).decode() for name in pages] == ([page.read_text()] if named else [])
        assert "vhdx/cli/main.py" in packed.namelist()
