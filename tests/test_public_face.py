"""The public names: what is public is a list, the list is complete, and what README shows happens."""

import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vhdx
from vhdx.cli.groups import VERBS

README = (Path(__file__).parents[1] / "README.md").read_text()
POSIX = tuple(f"vhdx.storage.{name}" for name in ("below", "device", "host", "locks", "macos", "rename"))
WINDOWS = ("vhdx.storage.windows", "vhdx.cli.windows_console")
ELSEWHERE = POSIX if sys.platform == "win32" else WINDOWS
"""How the names of modules begin that only load on other hosts."""
PACKAGES = [
    module.name
    for module in pkgutil.walk_packages(vhdx.__path__, "vhdx.")
    if "__main__" not in module.name and not module.name.startswith(ELSEWHERE)
]

FACE = {
    *(
        "open",
        "ApplyResult",
        "DownloadResult",
        "UploadResult",
        "download",
        "upload",
        "IncrementResult",
        "apply_increment",
        "create_increment",
        "export_changes",
        "create",
        "convert",
        "repair",
        "undo_repair",
        "RepairResult",
        "rebase",
        "RebaseResult",
        "compare",
        "content_hash",
        "HashResult",
    ),
    *("merge", "MergeResult", "resize", "ResizeResult", "UndoResult"),
    *("compact", "CompactResult", "DiscardedVolume", "VolumeSelection"),
    *("TrimResult", "trim_free", "sparse"),
    *("set_properties", "PropertiesResult"),
    *("user_items", "get_user_item", "set_user_item", "delete_user_item", "UserItemInfo"),
    *("check", "CheckResult", "CheckFinding"),
    *("file_systems", "FileSystemOn"),
    *("CompareResult", "Disk", "Doubt", "Extent", "ExtentKind", "BlockState"),
    *(
        "CreateResult",
        "ConvertResult",
        "Formatting",
        "ImageOptions",
        "KnownDisk",
        "ParentPolicy",
        "__version__",
    ),
    *("info", "ImageInfo", "VhdInfo", "RawInfo"),
    *("measure", "MeasureResult", "Partition", "PartitionTable"),
    *("VhdxError", "CorruptImageError", "UnsupportedImageError", "ParentNotFoundError"),
    "FileSystemError",
    *("ParentMismatchError", "ImageLockedError", "ImageFailedError"),
}


def test_the_list_is_this_one() -> None:
    """Taking a name away breaks other people's programs: change this list only on purpose."""
    assert set(vhdx.__all__) == FACE
    assert vhdx.__all__ == sorted(vhdx.__all__)


@pytest.mark.parametrize("name", sorted(FACE))
def test_each_name_can_be_had(name: str) -> None:
    code = f"from vhdx import {name}; assert {name} is not None"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert name in dir(vhdx)


@pytest.mark.parametrize("name", sorted(FACE - {"__version__"}))
def test_each_name_is_documented(name: str) -> None:
    """In words of its own, not in those that dataclasses and named tuples make up."""
    thing = getattr(vhdx, name)
    text = inspect.getdoc(thing)
    assert text
    assert not text.startswith(f"{name}(")
    if inspect.isclass(thing):
        for member, value in vars(thing).items():
            if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                assert inspect.getdoc(value), f"{name}.{member}"


def test_all_names_at_once() -> None:
    code = "from vhdx import *; assert callable(open) and open.__module__.startswith('vhdx')"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        vhdx.opne  # noqa: B018
    with pytest.raises(ImportError):
        exec("from vhdx import opne", {})


@pytest.mark.parametrize("name", PACKAGES)
def test_each_module_says_what_it_is(name: str) -> None:
    assert importlib.import_module(name).__doc__


def test_errors_are_one_tree() -> None:
    errors = [getattr(vhdx, name) for name in FACE if name.endswith("Error")]
    assert all(issubclass(error, vhdx.VhdxError) for error in errors)
    assert not any(issubclass(error, OSError | ValueError) for error in errors)
    assert {error.fault for error in errors} == {"file", "machine"}


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import vhdx", ("numpy", "rich", "click", "vhdx.disk", "vhdx.ops")),
        ("import vhdx; vhdx.open", ("numpy", "rich", "click", "vhdx.ops")),
        ("import vhdx; vhdx.create", ("numpy", "rich", "click")),
        ("from vhdx.cli.verbs import main", ("numpy", "rich", "vhdx.disk", "vhdx.ops")),
    ],
)
def test_nothing_is_imported_before_it_is_used(code: str, absent: tuple[str, ...]) -> None:
    check = f"{code}; import sys; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert not {*absent} & {*done.stdout.split()}


# README ------------------------------------------------------------------------------------------


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def _numbers_of_this_machine(line: str) -> str:
    """The line without what differs between runs: GUIDs and the space that the host took."""
    line = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "GUID", line)
    line = re.sub(r"^(file size: .*, on the host) .*", r"\1 …", line)
    return line.replace(f"vhdx {vhdx.__version__}", "vhdx VERSION")


@pytest.fixture(name="disk")
def _disk(tmp_path: Path) -> Path:
    """The demonstration's disk, in a directory of its own."""
    maker = Path(__file__).parents[1] / "demo" / "make_disk.py"
    subprocess.run([sys.executable, maker, tmp_path / "disk.raw"], check=True)
    return tmp_path


def test_the_console_session_of_the_readme(disk: Path) -> None:
    (session,) = _blocks("console")
    commands = [line[2:] for line in session.splitlines() if line.startswith("$ ")]
    assert len(commands) == 9
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    shown: list[str] = []
    for command in commands:
        done = subprocess.run(
            ["sh", "-c", f"{command} 2>&1"],
            cwd=disk,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        shown += [f"$ {command}", *done.stdout.splitlines()]
    expected = [_numbers_of_this_machine(line) for line in session.splitlines()]
    assert [_numbers_of_this_machine(line) for line in shown] == expected


def test_the_python_of_the_readme(disk: Path) -> None:
    vhdx.convert(disk / "disk.raw", disk / "disk.vhdx")
    (program,) = _blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=disk, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"{64 << 20} dynamic {8 << 20}"
    assert lines[1].endswith(" data")
    with vhdx.open(disk / "new.vhdx") as new:
        assert new.size == 10 << 30


def test_the_readme_names_only_what_is_public() -> None:
    (program,) = _blocks("python")
    assert set(re.findall(r"vhdx\.(\w+)\(", program)) <= FACE


def test_the_readme_names_every_verb() -> None:
    listed = README.partition("## The verbs")[2].partition("\nEach")[0]
    assert sorted(re.findall(r"`(\w+)`", listed)) == sorted(VERBS)
