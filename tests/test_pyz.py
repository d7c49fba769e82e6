"""The file of `make pyz`: unpacked once, for one Python, by a Python that has no packages."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINUX, WINDOWS = "linux-x86_64", "win_amd64"
PLATFORM, OTHER = (WINDOWS, LINUX) if sys.platform == "win32" else (LINUX, WINDOWS)
HERE = {"python": f"{sys.version_info[0]}.{sys.version_info[1]}", "platform": PLATFORM}
BARE = [sys.executable, "-I", "-S"]


@pytest.fixture(name="packages")
def _packages(tmp_path: Path) -> Path:
    """What stands for vhdx: its command says which file it is."""
    for folder in ("packages/vhdx/cli", "packages/bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "packages/vhdx/cli/start.py").write_text("def run():\n    print(__file__)\n")
    (tmp_path / "packages/bin/vhdx").write_text("#!/here\n")
    return tmp_path / "packages"


def archived(packages: Path, target: dict[str, str]) -> Path:
    spec = importlib.util.spec_from_file_location("pyz", ROOT / "packaging" / "pyz.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.archive(packages, target, packages.parent / "vhdx.pyz")
    return packages.parent / "vhdx.pyz"


def started(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BARE, file], env=_cached(file.parent), capture_output=True, text=True, check=False
    )


def _cached(folder: Path) -> dict[str, str]:
    """An environment that keeps what can be made again in a folder."""
    return {**os.environ, **dict.fromkeys(("XDG_CACHE_HOME", "LOCALAPPDATA"), str(folder / "cache"))}


def test_it_is_unpacked_once_whatever_happens_beside(packages: Path) -> None:
    file = archived(packages, HERE)
    first = started(file)
    assert (first.returncode, first.stderr) == (0, "")
    place = Path(first.stdout.strip())
    assert place.is_relative_to(packages.parent / "cache" / "vhdx-pyz")
    place.write_text("def run():\n    print('the one that was unpacked')\n")
    assert started(file).stdout == "the one that was unpacked\n"
    assert len(os.listdir(packages.parent / "cache" / "vhdx-pyz")) == 1
    assert not list(packages.parent.glob("cache/**/bin"))


def test_the_same_packages_make_the_same_file_and_others_another_place(packages: Path) -> None:
    one = archived(packages, HERE).read_bytes()
    assert archived(packages, HERE).read_bytes() == one
    before = started(packages.parent / "vhdx.pyz").stdout
    (packages / "vhdx" / "cli" / "more.py").write_text("")
    assert started(archived(packages, HERE)).stdout != before


@pytest.mark.parametrize("target", [{"python": "3.99"}, {"platform": OTHER}])
def test_another_python_is_told_what_the_file_is_for(target: dict[str, str], packages: Path) -> None:
    done = started(archived(packages, {**HERE, **target}))
    assert done.returncode == 1
    assert "this file is for Python" in done.stderr
    assert not (packages.parent / "cache").exists()


@pytest.mark.slow
def test_the_real_one_runs_without_any_package(tmp_path: Path) -> None:
    """Fetches its packages, about 20 MB."""
    file = tmp_path / "vhdx.pyz"
    subprocess.run([sys.executable, ROOT / "packaging" / "pyz.py", "--to", file], check=True)
    for verb in (["create", "1G"], ["info"], ["compact"], ["check"]):
        subprocess.run(
            [*BARE, file, verb[0], tmp_path / "a.vhdx", *verb[1:]],
            env=_cached(tmp_path),
            check=True,
            capture_output=True,
        )
