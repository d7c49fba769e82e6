"""Files copied out on Windows: its names, its times, its links, its junctions.

Only a Python for Windows runs these (`make windows`). Wine makes no symbolic links and no junctions: what
Windows says of them is faked.
"""

import os
import stat
import sys
from pathlib import Path

import pytest

assert sys.platform == "win32"

from tests.ops.files.test_copy import DIRECTORY, FILE, LINK, Node, copy
from vhdx.ops.files.target import Target
from vhdx.storage import sparse
from vhdx.storage import windows_api as api
from vhdx.storage import windows_below as below
from vhdx.storage import windows_names as names
from vhdx.storage.looks import Looks

JUNCTION, CLOUD = 0xA0000003, 0x9000001A
OLD = 10**9  # seconds since 1970, as all files of the guest have it


@pytest.fixture(name="inside")
def _inside(tmp_path: Path) -> Path:
    (tmp_path / "inside").mkdir()
    return tmp_path / "inside"


def reparse_points(monkeypatch: pytest.MonkeyPatch, tag: int, name: str) -> None:
    """What is called so is a reparse point of this kind."""
    attributes = below._attributes

    def faked(handle: int) -> int:
        is_one = names.path_of_handle(handle).endswith(name)
        return attributes(handle) | (api.ATTRIBUTE_REPARSE_POINT if is_one else 0)

    monkeypatch.setattr(below, "_attributes", faked)
    monkeypatch.setattr(below, "_tag", lambda handle: tag)


@pytest.mark.parametrize(
    ("name", "written"),
    [("nul", "%6Eul"), ("a:b", "a%3Ab"), ("dot.", "dot%2E"), ("a\\..\\..\\b", "a%5C..%5C..%5Cb")],
)
def test_names_that_windows_takes_for_something_else(name: str, written: str, inside: Path) -> None:
    result, told = copy([(name, DIRECTORY, [(name, FILE, b"x")])], inside)
    assert [path.name for path in inside.iterdir()] == [written]
    assert (inside / written / written).read_bytes() == b"x"
    assert told == [f"{name}: written as {written}", f"{name}/{name}: written as {written}"]
    assert result.left_out == 0


@pytest.mark.parametrize("name", ["con", "a:b", "a\\b", "dot.", ".."])
def test_no_caller_gets_such_a_name(name: str, inside: Path) -> None:
    with Target(str(inside)) as target:
        with pytest.raises(ValueError, match="Windows"), target.new_file((name,)):
            pass
        with pytest.raises(ValueError, match="Windows"):
            target.make_directory((name,))
    assert not list(inside.iterdir())


def test_names_that_differ_in_case_are_one(inside: Path) -> None:
    nodes: list[Node] = [("README", FILE, b"1"), ("readme", FILE, b"2"), ("Readme", DIRECTORY, [])]
    result, told = copy(nodes, inside, force=True)
    assert (result.files, result.left_out) == (1, 2)
    assert (inside / "README").read_bytes() == b"1"
    assert "differs only in case" in told[0]


def test_directories_that_differ_in_case_are_not_mixed(inside: Path) -> None:
    nodes: list[Node] = [("D", DIRECTORY, [("x", FILE, b"1")]), ("d", DIRECTORY, [("y", FILE, b"2")])]
    result, _ = copy(nodes, inside)
    assert [path.name for path in (inside / "D").iterdir()] == ["x"]
    assert result.left_out == 1


def test_a_junction_in_the_way_is_not_entered(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was there before, or somebody puts it there meanwhile."""
    (inside / "way").mkdir()
    reparse_points(monkeypatch, JUNCTION, "way")
    result, told = copy([("way", DIRECTORY, [("secret", FILE, b"evil")])], inside)
    assert not list((inside / "way").iterdir())
    assert (result.left_out, len(told)) == (1, 1)
    with Target(str(inside)) as target, pytest.raises(NotADirectoryError):
        target.directory(("way",))


def test_a_file_in_the_place_of_a_junction(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (inside / "way").mkdir()
    with monkeypatch.context() as patch:
        reparse_points(patch, JUNCTION, "way")
        copy([("way", FILE, b"file")], inside, force=True)
    assert (inside / "way").read_bytes() == b"file"


def test_a_directory_in_the_cloud_is_one(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (inside / "way").mkdir()
    reparse_points(monkeypatch, CLOUD, "way")
    copy([("way", DIRECTORY, [("x", FILE, b"x")])], inside)
    assert (inside / "way" / "x").read_bytes() == b"x"


def test_times_are_kept(inside: Path) -> None:
    copy([("d", DIRECTORY, [("x", FILE, b"x")])], inside)
    assert [(inside / name).stat().st_mtime for name in ("d", "d/x")] == [OLD, OLD]


@pytest.mark.parametrize(
    ("time", "ticks"),
    [
        (None, 0),
        (0, 116444736000000000),
        (-(1 << 63), 24211015631452241),
        (1 << 80, (1 << 63) - 1),
        (-(1 << 70), 1),
    ],
)
def test_times_that_windows_lacks(time: int | None, ticks: int) -> None:
    assert below._ticks(time) == ticks


def test_what_nobody_may_write_is_read_only(inside: Path) -> None:
    with Target(str(inside)) as target:
        for name, permissions in (("a", 0o444), ("b", 0o644)):
            with target.new_file((name,)) as descriptor:
                below.dress(descriptor, looking(permissions))
        target.make_directory(("d",))
        below.dress(target.directory(("d",)), looking(0o555))
    read_only = [
        bool((inside / name).stat().st_file_attributes & stat.FILE_ATTRIBUTE_READONLY) for name in "abd"
    ]
    assert read_only == [True, False, False]
    (inside / "d" / "new").write_bytes(b"")
    copy([("a", FILE, b"new")], inside, force=True)
    assert (inside / "a").read_bytes() == b"new"


def looking(permissions: int) -> Looks:
    return Looks(None, permissions, None, None, OLD * 10**9)


def test_a_link_is_made_where_windows_lets_us(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def linked(target: str, path: str, *, target_is_directory: bool) -> None:
        made.append((target, Path(path).name, target_is_directory))
        Path(path).write_bytes(b"")

    monkeypatch.setattr(os, "symlink", linked)
    result, told = copy([("x", LINK, "../a b"), ("to-directory", LINK, "d")], inside)
    assert made == [("..\\a b", "x", False), ("d", "to-directory", True)]
    assert (result.others, told) == (2, [])
    assert (inside / "x").stat().st_mtime == OLD


def test_a_link_that_windows_does_not_let_us_make(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, target_is_directory: bool) -> None:
        raise api.error_of(1314, "x")

    monkeypatch.setattr(os, "symlink", refused)
    result, told = copy([("x", LINK, "y"), ("z", FILE, b"z")], inside)
    assert (result.files, result.left_out) == (1, 1)
    why = "Windows lets administrators make links, and everybody in its Developer Mode"
    assert told == [f"x: a link to y, left out: {why}"]


def test_links_to_other_machines_are_not_made(inside: Path) -> None:
    _, told = copy([("x", LINK, "//server/share")], inside)
    assert told == ["x: a link to //server/share, which Windows takes for another machine; it is left out"]
    assert not list(inside.iterdir())


def test_files_get_holes_only_where_that_is_said(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(below, "_make_sparse", asked.append)
    copy([("a", FILE, b"x")], inside)
    with sparse.sparse("always"):
        assert not asked
        copy([("b", FILE, b"x")], inside)
    assert len(asked) == 1


def test_long_files_end_where_they_end(inside: Path) -> None:
    with Target(str(inside)) as target, target.new_file(("a",)) as descriptor:
        os.write(descriptor, b"\r\n\x1a")
        below.truncate(descriptor, (5 << 30) + 1)
    assert (inside / "a").stat().st_size == (5 << 30) + 1
    with open(inside / "a", "rb") as file:
        assert file.read(8) == b"\r\n\x1a" + bytes(5)
