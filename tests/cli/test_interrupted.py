"""Ctrl-C at any input or output of any verb: one line that says what state the files are in, and it is true.

The line stands below the `^C` that a terminal shows.
"""

import io
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import vhdx
from tests.docs.scenes import chain, damaged, dirty, guest, partitioned
from tests.support.layout import MIB
from tests.support.patterns import pattern
from vhdx.cli import show_convert
from vhdx.cli.exit_codes import EXIT_INTERRUPTED
from vhdx.cli.groups import VERBS
from vhdx.cli.main import exit_code_of
from vhdx.storage.file import FileStorage

ITEM = "11111111-2222-3333-4444-555555555555"
IN_OR_OUT = ("read", "read_into", "write_at", "flush", "resize", "zero", "punch", "reserve")
MOMENTS = 5
"""How many moments of a run are tried, the first and the last among them."""
FATES = {
    "--undo": "the image may be neither as it was nor as the repair left it; run vhdx repair --undo",
    "repair": "what was under way is done in part or not at all, and the image is no worse than it was",
}
"""What is said of changes that not every image is whole before."""
ELSEWHERE = {
    "upload": "what is under way is at a service: tests/blobs/test_resume.py",
    "download": "what is under way is at a service: tests/blobs/test_resume.py",
    "apply": "is broken off everywhere: tests/chains/test_apply.py",
    "completion": "opens no file",
    "help": "opens no file",
    "wsl": "asks the registry, and looks into disks as info does",
    "cp": "what is under way is taken away: tests/ops/files; into an image: tests/crash/test_insert.py",
    "tar": "prints an archive, and nothing else: tests/cli/test_files.py",
    "serve": "Ctrl-C is how it ends: test_serve.py",
    "mount": "Ctrl-C is how it ends: tests/mount",
    "unmount": "opens no image to change it: tests/mount",
    "fleet": "one of many images may be under way: tests/fleet/test_command.py",
}


class Case(NamedTuple):
    """A command line in a scene; ``made`` is the file that it makes."""

    scene: Callable[[Path], None]
    line: str
    made: str = ""


def _scattered(folder: Path) -> None:
    vhdx.create(folder / "vm.vhdx", "64M", block_size="1M")
    with vhdx.open(folder / "vm.vhdx", "r+") as disk:
        disk.pwrite(pattern(1, 8 * MIB, 1), 0)
        disk.zero(length=3 * MIB, offset=MIB)


def _undoable(folder: Path) -> None:
    damaged(folder)
    vhdx.repair(folder / "vm.vhdx", backup=folder / "undo")


def _with_item(folder: Path) -> None:
    _scattered(folder)
    vhdx.set_user_item(folder / "vm.vhdx", ITEM, b"value")


CHANGING = [
    Case(_scattered, "compact --scan-zeros vm.vhdx"),
    Case(chain, "merge tuesday.avhdx --into sunday.vhdx"),
    Case(_scattered, f"metadata set vm.vhdx {ITEM}"),
    Case(_with_item, f"metadata delete vm.vhdx {ITEM}"),
    Case(chain, "rebase tuesday.avhdx --parent sunday.vhdx --safe"),
    Case(dirty, "repair vm.vhdx"),
    Case(_undoable, "repair vm.vhdx --undo undo"),
    Case(partitioned, "resize vm.vhdx +10M"),
    Case(partitioned, "resize vm.vhdx --to-minimum"),
    Case(_scattered, "set vm.vhdx --type fixed"),
    Case(_scattered, "set vm.vhdx --disk-id new"),
    Case(_scattered, "trim vm.vhdx 0 3M"),
    Case(_scattered, "write vm.vhdx 20M"),
    Case(_scattered, "zero vm.vhdx 5M 2M"),
]
MAKING = [
    Case(chain, "convert tuesday.avhdx new.vhdx", "new.vhdx"),
    Case(chain, "convert tuesday.avhdx new.raw", "new.raw"),
    Case(chain, "convert sunday.vhdx tuesday.avhdx --force -O raw", "tuesday.avhdx"),
    Case(chain, "create new.vhdx 1G", "new.vhdx"),
    Case(chain, "report tuesday.avhdx -o new.html", "new.html"),
    Case(chain, "create new.avhdx --parent tuesday.avhdx", "new.avhdx"),
]
READING = [
    Case(chain, "check --chain tuesday.avhdx"),
    Case(_scattered, "compact --dry-run --scan-zeros vm.vhdx"),
    Case(chain, "compare monday.avhdx tuesday.avhdx"),
    Case(chain, "hash tuesday.avhdx"),
    Case(chain, "diff tuesday.avhdx"),
    Case(dirty, "dump vm.vhdx bat"),
    Case(dirty, "info vm.vhdx"),
    Case(dirty, "log vm.vhdx --diff"),
    Case(chain, "map tuesday.avhdx"),
    Case(chain, "tree ."),
    Case(chain, "measure --scan-zeros tuesday.avhdx"),
    Case(guest, "cat ext4.vhdx:/home/me/photos/cat.jpg"),
    Case(guest, "du ext4.vhdx"),
    Case(guest, "find ext4.vhdx *.jpg"),
    Case(guest, "ls -R ext4.vhdx"),
    Case(_with_item, "metadata list vm.vhdx"),
    Case(_with_item, f"metadata get vm.vhdx {ITEM}"),
    Case(chain, "read tuesday.avhdx 0 20M"),
    Case(damaged, "repair --dry-run vm.vhdx"),
]


class Interrupter:
    """Counts what is read and written, and presses Ctrl-C before one of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.moment: int | None = None
        for name in IN_OR_OUT:
            monkeypatch.setattr(FileStorage, name, self._watched(getattr(FileStorage, name)))

    def _watched(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            self.count += 1
            if self.count == self.moment:
                raise KeyboardInterrupt
            return method(*arguments)

        return watched

    def run(self, line: str, moment: int | None) -> int:
        """Run a command line, with Ctrl-C at this moment."""
        self.count, self.moment = 0, moment
        try:
            return exit_code_of(line.split())
        finally:
            self.moment = None


class Tried(NamedTuple):
    """A run that was interrupted: what it said, and the files before and afterwards."""

    line: str
    folder: Path
    said: str
    before: dict[str, bytes]
    after: dict[str, bytes]


def _files(folder: Path, *, contents: bool) -> dict[str, bytes]:
    return {path.name: path.read_bytes() if contents else b"" for path in folder.iterdir()}


@pytest.fixture(name="tries")
def _tries(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> Iterator[Tried]:
    """The case interrupted at some moments of its run, each in a folder of its own."""
    interrupter = Interrupter(monkeypatch)
    case: Case = request.param
    contents = case not in CHANGING

    def tried(name: str, moment: int | None) -> Tried:
        folder = tmp_path / name
        folder.mkdir()
        case.scene(folder)
        monkeypatch.chdir(folder)
        before = _files(folder, contents=contents)
        with (tmp_path / "input").open("w+b") as source:
            source.write(b"any bytes" * 100_000)
            source.seek(0)
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(source))
            code = interrupter.run(case.line, moment)
        said = capfdbinary.readouterr().err.decode()
        assert code in ((0, 1, 3) if moment is None else (EXIT_INTERRUPTED,)), said
        return Tried(case.line, folder, said, before, _files(folder, contents=contents))

    shutil.rmtree(tried("whole", None).folder)
    count = interrupter.count
    moments = sorted({1 + (count - 1) * step // (MOMENTS - 1) for step in range(MOMENTS)})
    return _one_by_one(tried(str(moment), moment) for moment in moments)


def _one_by_one(tries: Iterator[Tried]) -> Iterator[Tried]:
    """The same; each folder goes when the next one is asked for: together they are gigabytes."""
    for tried in tries:
        yield tried
        shutil.rmtree(tried.folder)


def _ids(case: Case) -> str:
    return case.line


@pytest.mark.parametrize("tries", READING, indirect=True, ids=_ids)
def test_reading(tries: Iterator[Tried]) -> None:
    for tried in tries:
        assert tried.said == "\nvhdx: interrupted; nothing was changed\n"
        assert tried.after == tried.before


@pytest.mark.parametrize(("tries", "made"), [(case, case.made) for case in MAKING], indirect=["tries"])
def test_making(tries: Iterator[Tried], made: str) -> None:
    for tried in tries:
        fate = "is as it was" if made in tried.before else "was not made"
        assert tried.said == f"\nvhdx: interrupted; {made} {fate}, nothing else was changed\n"
        assert tried.after == tried.before


@pytest.mark.parametrize("tries", CHANGING, indirect=True, ids=_ids)
def test_changing(tries: Iterator[Tried]) -> None:
    for tried in tries:
        fate = next((fate for verb, fate in FATES.items() if verb in tried.line), "the image is whole, ")
        assert tried.said.startswith(f"\nvhdx: interrupted; {fate}")
        assert tried.said.count("\n") == 2
        assert tried.after.keys() == tried.before.keys()
        for name in tried.line.split():
            if name.endswith(("vm.vhdx", ".avhdx")):
                assert vhdx.check(tried.folder / name, chain=True).errors == 0, name


def test_every_verb_is_tried() -> None:
    tried = {case.line.split()[0] for case in (*CHANGING, *MAKING, *READING)}
    assert tried | ELSEWHERE.keys() == set(VERBS)
    assert not tried & ELSEWHERE.keys()


@pytest.mark.parametrize("option", [[], ["--force"]])
def test_a_target_that_was_published_is_complete(
    option: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a salvage could not read is told when the target is there already."""

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    damaged(tmp_path)
    monkeypatch.chdir(tmp_path)
    if option:
        Path("new.raw").write_bytes(b"old")
    monkeypatch.setattr(show_convert, "print_doubt", interrupt)
    assert exit_code_of(["convert", "--salvage", *option, "worse.vhdx", "new.raw"]) == EXIT_INTERRUPTED
    assert "new.raw is complete" in capsys.readouterr().err
    with vhdx.open("worse.vhdx", salvage=True) as disk:
        assert Path("new.raw").stat().st_size == disk.size


def test_a_repair_with_a_backup_is_undone_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    damaged(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = Path("vm.vhdx").read_bytes()
    interrupter = Interrupter(monkeypatch)
    moment = 0
    while not Path("undo").exists():
        moment += 1
        assert interrupter.run("repair --backup undo vm.vhdx", moment) == EXIT_INTERRUPTED
    said = capfdbinary.readouterr().err.decode()
    assert said.endswith("; --undo undo brings back what was, or run it again with another --backup\n")
    assert exit_code_of(["repair", "--undo", "undo", "vm.vhdx"]) == 0
    assert Path("vm.vhdx").read_bytes() == before
