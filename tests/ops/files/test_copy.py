"""Nothing leaves the directory that files are copied to, whatever names and links a guest has."""

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.filesystems.making import run
from tests.ops.files.guest import Guest, Node
from vhdx.errors import FileSystemError
from vhdx.files.base import Entry, Kind
from vhdx.files.host_names import host_name, host_target
from vhdx.ops.files.copy import Copier, CopyOptions, CopyResult
from vhdx.ops.files.target import Target

DEPTH = 80 if sys.platform == "win32" else 1100
"""More directories than are held open; more of them have no handles under Wine."""
FILE, DIRECTORY, LINK = Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK


def copy(nodes: list[Node], target: Path, **options: bool) -> tuple[CopyResult, list[str]]:
    guest: Any = Guest(nodes)
    with Copier(guest, str(target), CopyOptions(**options)) as copier:
        copier.copy(guest.everything, None)
        return copier.result, guest.told


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(b"mine")
    target = tmp_path / "inside"
    target.mkdir()
    return target


def untouched(target: Path) -> bool:
    return {path.name for path in target.parent.iterdir()} == {"secret", "inside"} and (
        target.parent / "secret"
    ).read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("", "%"),
        ("../secret", "..%2Fsecret"),
        ("/etc/passwd", "%2Fetc%2Fpasswd"),
        ("nul\0in", "nul%00in"),
        ("half\ud800", "half%uD800"),
    ],
)
def test_names_that_lead_out(name: str, written: str, inside: Path) -> None:
    result, told = copy([(name, FILE, b"evil"), ("good", FILE, b"good")], inside)
    assert {path.name for path in inside.iterdir()} == {written, "good"}
    assert (result.files, result.left_out) == (2, 0)
    assert told == [f"{name}: written as {written}"]
    assert untouched(inside)


def test_directories_with_such_names(inside: Path) -> None:
    copy([("..", DIRECTORY, [("secret", FILE, b"evil")])], inside)
    assert (inside / "%2E%2E" / "secret").read_bytes() == b"evil"
    assert untouched(inside)


def test_a_name_that_is_escaped_is_told_once(inside: Path) -> None:
    _, told = copy([("..", DIRECTORY, [("..", DIRECTORY, [("x", FILE, b"")])])], inside)
    assert told == ["..: written as %2E%2E", "../..: written as %2E%2E"]


@pytest.mark.parametrize("target", ["..", "../secret", "/", "."])
def test_links_in_the_way_are_not_followed(target: str, inside: Path) -> None:
    """The link comes first, then a directory of the same name with a file in it, and a file."""
    nodes: list[Node] = [
        ("a", LINK, target),
        ("a", DIRECTORY, [("secret", FILE, b"evil")]),
        ("a", FILE, b"evil"),
    ]
    result, told = copy(nodes, inside, force=True)
    assert os.readlink(inside / "a") == target
    assert result.left_out == len(told) == 2
    assert untouched(inside)


def test_links_that_were_there_are_not_followed(inside: Path) -> None:
    (inside / "d").symlink_to("..")
    (inside / "secret").symlink_to("../secret")
    nodes: list[Node] = [("d", DIRECTORY, [("secret", FILE, b"evil")]), ("secret", FILE, b"new")]
    _, told = copy(nodes, inside, force=True)
    assert len(told) == 1
    assert (inside / "secret").read_bytes() == b"new"
    assert not (inside / "secret").is_symlink()
    assert untouched(inside)


def test_what_exists_is_left_alone_unless_forced(inside: Path) -> None:
    (inside / "a").write_bytes(b"old")
    result, told = copy([("a", FILE, b"new")], inside)
    assert (result.left_out, (inside / "a").read_bytes()) == (1, b"old")
    assert "--force replaces" in told[0]
    copy([("a", FILE, b"new")], inside, force=True)
    assert (inside / "a").read_bytes() == b"new"


def test_two_names_that_are_one_on_the_host(inside: Path) -> None:
    """As README and readme are on hosts that know no case; here both are the same name."""
    result, _ = copy([("a", FILE, b"first"), ("a", FILE, b"second"), ("a", LINK, "x")], inside, force=True)
    assert (result.files, result.left_out) == (1, 2)
    assert (inside / "a").read_bytes() == b"first"
    result, _ = copy([("d", DIRECTORY, [("x", FILE, b"1")]), ("d", DIRECTORY, [("x", FILE, b"2")])], inside)
    assert (inside / "d" / "x").read_bytes() == b"1"
    assert result.left_out == 1


def test_what_cannot_be_read_leaves_nothing(inside: Path) -> None:
    result, told = copy([("bad", FILE, None), ("good", FILE, b"x")], inside)
    assert [path.name for path in inside.iterdir()] == ["good"]
    assert result.left_out == 1
    assert told == ["bad: it cannot be read"]


def test_attributes_that_cannot_be_read_cost_no_file(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_guest: Guest, _entry: Entry) -> Iterator[tuple[str, bytes]]:
        yield from ()
        raise FileSystemError("they are damaged")

    monkeypatch.setattr(Guest, "attributes", failing)
    result, told = copy([("a", FILE, b"contents")], inside, xattrs=True)
    assert ((inside / "a").read_bytes(), result.files) == (b"contents", 1)
    assert told == ["a: they are damaged"]


def test_nothing_acts_as_somebody_else(inside: Path) -> None:
    copy([("a", FILE, b"x")], inside)
    assert stat.S_IMODE((inside / "a").stat().st_mode) == 0o755


def test_devices_only_where_wanted(inside: Path) -> None:
    nodes: list[Node] = [("fifo", Kind.FIFO, None), ("socket", Kind.SOCKET, None)]
    result, told = copy(nodes, inside)
    assert (result.left_out, len(told), list(inside.iterdir())) == (2, 2, [])
    copy(nodes, inside, devices=True)
    assert [path.name for path in inside.iterdir()] == ["fifo"]
    assert (inside / "fifo").is_fifo()


def test_deep_trees(inside: Path) -> None:
    """Deeper than descriptors, recursion and paths of the host reach."""
    nodes: list[Node] = [("bottom", FILE, b"x")]
    for _ in range(DEPTH):
        nodes = [("d" * 10, DIRECTORY, nodes)]
    result, _ = copy(nodes, inside)
    assert (result.files, result.directories, result.left_out) == (1, DEPTH, 0)
    if sys.platform != "win32":
        run("rm", "-rf", inside / ("d" * 10))  # Python's own way is too deep for Python


@pytest.mark.parametrize("name", ["x" * 300, "ü" * 200, "漢" * 255, "\udcff" * 400])
def test_long_names(name: str) -> None:
    shortened = host_name(name)
    assert len(os.fsencode(shortened)) <= 255
    assert shortened != host_name(name + "y")


def test_links_that_lead_nowhere_are_left_out(inside: Path) -> None:
    with pytest.raises(ValueError, match="leads nowhere"):
        host_target("", is_windows=False)
    result, told = copy([("a", LINK, ""), ("b", FILE, b"x")], inside)
    assert (result.files, result.left_out, len(told)) == (1, 1, 1)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENAMETOOLONG, errno.EILSEQ, errno.EFBIG])
def test_what_the_host_cannot_have_costs_one_entry(
    code: int, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an exFAT that is asked for a colon in a name."""
    make_directory = Target.make_directory

    def refused(target: Target, parts: tuple[str, ...]) -> None:
        if parts == ("a:b",):
            raise OSError(code, os.strerror(code))
        make_directory(target, parts)

    monkeypatch.setattr(Target, "make_directory", refused)
    monkeypatch.setattr("vhdx.ops.files.copy.host_name", str)
    result, told = copy([("a:b", DIRECTORY, [("x", FILE, b"")]), ("b", FILE, b"x")], inside)
    assert (result.files, result.left_out) == (1, 1)
    assert told == [f"a:b: {os.strerror(code)}"]


@pytest.mark.parametrize("code", [errno.EMLINK, errno.EPERM, errno.ENOTSUP])
def test_a_host_without_hard_links_gets_copies(
    code: int, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Target, "new_link", refused)
    monkeypatch.setattr(Guest, "entries", linked(Guest.entries))
    result, told = copy([("a", FILE, b"one"), ("b", FILE, b"one")], inside)
    assert [path.read_bytes() for path in inside.iterdir()] == [b"one", b"one"]
    assert (result.files, result.others) == (2, 0)
    assert told == [f"b: a copy of a: {os.strerror(code)}"]


def test_hard_links_are_kept(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guest, "entries", linked(Guest.entries))
    nodes: list[Node] = [("a", FILE, b"one"), ("d", DIRECTORY, [("b", FILE, b"one")])]
    result, _ = copy(nodes, inside)
    assert (result.files, result.others) == (1, 1)
    assert (inside / "a").samefile(inside / "d" / "b")
    copy(nodes, inside, force=True)
    assert (inside / "a").samefile(inside / "d" / "b")


def linked(entries: Callable[[Guest, Entry], Iterator[Entry]]) -> Callable[[Guest, Entry], Iterator[Entry]]:
    """All files are names of one."""

    def them(guest: Guest, directory: Entry) -> Iterator[Entry]:
        for entry in entries(guest, directory):
            yield entry._replace(identity=7, links=2) if entry.kind is FILE else entry

    return them


def test_a_link_swapped_in_is_not_followed(inside: Path) -> None:
    """Somebody else changes the directory meanwhile."""
    with Target(str(inside)) as target:
        target.make_directory(("d",))
        (inside / "d").rmdir()
        (inside / "d").symlink_to("..")
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            target.directory(("d",))


def test_an_interrupt_takes_the_file_under_way_with_it(inside: Path) -> None:
    with Target(str(inside)) as target, pytest.raises(KeyboardInterrupt), target.new_file(("a",)):
        raise KeyboardInterrupt
    assert not list(inside.iterdir())
