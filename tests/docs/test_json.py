"""`docs/reference/json.md` tells what the results are, and what the verbs print."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import vhdx
from tests.cli.running import run
from vhdx.cli.main import exit_code_of
from vhdx.cli.verbs import main
from vhdx.ops import registry

from .scenes import chain, checkpoints, damaged, dirty, guest, partitioned
from .schema import SCHEMA, annotations_of, complaints, words_of

RESULTS = {
    found.python: (name, found.keys) for name, found in SCHEMA.objects.items() if found.python is not None
}


@pytest.mark.parametrize("python", RESULTS)
def test_a_table_tells_the_fields_of_its_class(python: str) -> None:
    room = {path.rpartition(".")[2]: name for path, (name, _) in RESULTS.items() if path != _other(python)}
    expected = {key: words_of(kind, room) for key, kind in annotations_of(python).items()}
    assert list(RESULTS[python][1].items()) == list(expected.items())


def _other(python: str) -> str:
    """Two results have the name Change; each is used in its own room only."""
    room, other = "vhdx.cli.cmd_diff", "vhdx.ops.replay_changes"
    return f"{other}.Change" if python.startswith(room) else f"{room}.Change"


def _commands(group: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    if not isinstance(group, click.Group):
        yield name, group
        return
    context = click.Context(group)
    for verb in group.list_commands(context):
        command = group.get_command(context, verb)
        assert command is not None
        yield from _commands(command, f"{name} {verb}".strip())


def _with_json() -> set[str]:
    """The verbs that print what the page tells; what `fleet` prints, docs/reference/fleet.md does."""
    verbs = dict(_commands(main))
    have_it = {name for name, verb in verbs.items() if any(param.name == "as_json" for param in verb.params)}
    return have_it - {"fleet"}


def test_every_verb_with_json_is_told() -> None:
    told = {
        " ".join(word for word in line.split() if word in main.list_commands(click.Context(main)))
        for line in SCHEMA.prints
    }
    told = {"metadata list" if verb == "metadata" else verb for verb in told}
    assert told == _with_json()


def _vhd(folder: Path) -> None:
    partitioned(folder)
    vhdx.convert(folder / "vm.vhdx", folder / "vm.vhd")


def _raw(folder: Path) -> None:
    (folder / "vm.raw").write_bytes(bytes(1000))


def _item(folder: Path) -> None:
    chain(folder)
    vhdx.set_user_item(folder / "tuesday.avhdx", "11111111-2222-3333-4444-555555555555", b"x")


def _repaired(folder: Path) -> None:
    damaged(folder)
    vhdx.repair(folder / "vm.vhdx", backup=folder / "undo")


def _inside_wsl(folder: Path) -> None:
    """A distribution whose disk is gone, as a program of Windows tells it."""
    key = f"HKEY_CURRENT_USER\\{registry.KEY}\\{{0}}"
    answer = f"{key}\n    DistributionName    REG_SZ    Debian\n    BasePath    REG_SZ    C:\\Gone\n"
    (folder / "reg.exe").write_text(f"#!/bin/sh\ncat <<'END'\n{answer}END\n")
    (folder / "reg.exe").chmod(0o755)


CASES: list[tuple[Callable[[Path], None], str, str, int]] = [
    (chain, "create", "new.avhdx --parent tuesday.avhdx", 0),
    (chain, "convert", "tuesday.avhdx new.raw", 0),
    (damaged, "convert", "--salvage worse.vhdx new.raw", 3),
    (partitioned, "measure", "vm.vhdx", 0),
    (partitioned, "info", "vm.vhdx", 0),
    (chain, "info", "--chain tuesday.avhdx", 0),
    (dirty, "info", "vm.vhdx", 0),
    (_vhd, "info", "vm.vhd", 0),
    (_raw, "info", "vm.raw", 0),
    (chain, "check", "--chain tuesday.avhdx", 0),
    (damaged, "check", "worse.vhdx", 2),
    (damaged, "repair", "vm.vhdx", 0),
    (damaged, "repair", "worse.vhdx", 1),
    (_repaired, "repair --undo FILE", "undo vm.vhdx", 0),
    (chain, "compare", "monday.avhdx tuesday.avhdx", 1),
    (chain, "hash", "tuesday.avhdx", 0),
    (chain, "diff", "tuesday.avhdx", 0),
    (chain, "map", "--layers tuesday.avhdx", 0),
    (chain, "map --summary", "tuesday.avhdx", 0),
    (dirty, "log", "vm.vhdx", 0),
    (dirty, "log --diff", "vm.vhdx", 0),
    (guest, "ls", "-R ext4.vhdx", 0),
    (guest, "find", "ext4.vhdx *.txt", 0),
    (guest, "du", "ext4.vhdx", 0),
    (damaged, "dump", "vm.vhdx", 0),
    (damaged, "dump STRUCTURE", "vm.vhdx headers", 0),
    (partitioned, "resize", "vm.vhdx +10M", 0),
    (damaged, "compact", "--dry-run vm.vhdx", 0),
    (chain, "write", "tuesday.avhdx 0", 0),
    (chain, "zero", "tuesday.avhdx 0 1M", 0),
    (chain, "trim", "tuesday.avhdx 0 512", 0),
    (guest, "trim --free", "ext4.vhdx", 0),
    (chain, "merge", "tuesday.avhdx", 0),
    (chain, "create --from DISK", "tuesday.avhdx new.avhdx --parent sunday.vhdx", 0),
    (chain, "compare --make-child CHILD", "new.avhdx sunday.vhdx tuesday.avhdx", 0),
    (chain, "diff --export FILE", "new.avhdx tuesday.avhdx", 0),
    (chain, "apply", "--force monday.avhdx tuesday.avhdx", 0),
    (chain, "rebase", "tuesday.avhdx --parent monday.avhdx", 0),
    (chain, "set", "tuesday.avhdx --disk-id new", 0),
    (_item, "metadata list", "tuesday.avhdx", 0),
    (checkpoints, "rebase --all DIR", ". --yes", 0),
    (chain, "tree", ".", 0),
    (_inside_wsl, "wsl", "", 0),
    (guest, "cp", "-R ext4.vhdx:/ copies", 0),
    (partitioned, "report", "vm.vhdx -o page.html", 0),
    (damaged, "report", "items.vhdx -o page.html", 0),
]


@pytest.mark.parametrize(("scene", "line", "more", "code"), CASES)
def test_a_verb_prints_what_is_told(
    scene: Callable[[Path], None], line: str, more: str, code: int, tmp_path: Path
) -> None:
    scene(tmp_path)
    path = f"{tmp_path}:{os.environ['PATH']}"
    verb = [word for word in line.split() if word.islower()]
    done = run(*verb, *more.split(), "--json", cwd=tmp_path, env=os.environ | {"PATH": path})
    assert done.code == code, done.err
    printed = json.loads(done.out)
    assert printed, "an empty array shows nothing"
    assert complaints(printed, SCHEMA.prints[line], SCHEMA) == []


AT_A_SERVICE = {"upload", "download"}
"""Verbs that are run where a service is: tests/blobs/test_command.py."""
STAYING = {"serve", "mount", "unmount"}
"""Verbs that go on, and what ends them: tests/cli/test_serve.py, tests/mount/test_mount.py."""


def test_every_line_is_run() -> None:
    assert {line for _, line, _, _ in CASES} == set(SCHEMA.prints) - AT_A_SERVICE - STAYING


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1.0, "integer"),
        (True, "integer"),
        (None, "text"),
        ([1, "x"], "array of integer"),
        ({"a": 1}, "object of text"),
        ({"offset": 1, "kind": "data", "length": 1}, "change"),
        ({"offset": 1, "length": 1, "kind": None}, "change"),
        ("x", "GUID or null"),
    ],
)
def test_a_wrong_value_is_found(value: Any, kind: str) -> None:
    assert len(complaints(value, kind, SCHEMA)) == 1


def _locked(folder: Path) -> None:
    vhdx.create(folder / "vm.vhdx", "1M")
    (folder / "noise.vhdx").write_bytes(b"noise" * 1000)
    (folder / "a b.vhdx").mkdir()


FAILURES = [
    (chain, "info gone.vhdx", (1, "not-found"), "gone.vhdx"),
    (_locked, "info noise.vhdx", (1, "corrupt"), "noise.vhdx"),
    (_locked, "create vm.vhdx 1M", (1, "exists"), "vm.vhdx"),
    (_locked, "create new.vhdx 1Q", (64, "usage"), None),
    (_locked, "create new.vhdx 65T", (64, "usage"), None),
    (_locked, "compare vm.vhdx gone.vhdx", (2, "not-found"), "gone.vhdx"),
    (_locked, "set vm.vhdx --no-such-option", (64, "usage"), None),
]


@pytest.mark.parametrize(("scene", "line", "codes", "path"), FAILURES)
def test_a_failure_is_printed_as_it_is_told(
    scene: Callable[[Path], None], line: str, codes: tuple[int, str], path: str | None, tmp_path: Path
) -> None:
    scene(tmp_path)
    done = run(*line.split(), "--json", cwd=tmp_path)
    printed = json.loads(done.out)
    assert complaints(printed, "failure", SCHEMA) == []
    assert (printed["exit_code"], printed["code"]) == codes
    assert done.code == codes[0]
    assert printed["error"] in done.err
    assert printed["where"]["path"] == path


GONE = {
    "create": "gone/new.vhdx 1M",
    "convert": "gone.vhdx new.raw",
    "cp": "gone.vhdx:/x .",
    "mount": "--foreground gone.vhdx .",
    "report": "gone.vhdx -o page.html",
    "compare": "gone.vhdx gone.vhdx",
    "rebase": "gone.vhdx --parent gone.vhdx",
    "resize": "gone.vhdx 1G",
    "find": "gone.vhdx:/ x",
    "set": "gone.vhdx --disk-id new",
    "trim": "gone.vhdx --free",
    "upload": "gone.vhdx https://account.blob.core.windows.net/disks/gone.vhd",
    "write": "gone.vhdx 0",
    "zero": "gone.vhdx 0 1",
}
"""What a verb takes that takes more than an image, none of which is there."""


def _verbs_with_json() -> list[str]:
    # wsl looks for images itself, and finds none; what download is given is looked for at a service
    elsewhere = set() if sys.platform == "linux" else {"mount", "unmount"}  # these say that they cannot
    return sorted(_with_json() - {"wsl", "download"} - elsewhere)


@pytest.mark.parametrize("verb", _verbs_with_json())
def test_every_verb_prints_its_failure(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is not there, and an option that is none."""
    monkeypatch.chdir(tmp_path)
    words = [*verb.split(), *GONE.get(verb, "gone.vhdx").split(), "--json"]
    for more, expected in (([], "not-found"), (["--no-such-option"], "usage")):
        code = exit_code_of([*words, *more])
        printed = json.loads(capsys.readouterr().out)
        assert complaints(printed, "failure", SCHEMA) == []
        assert (printed["code"], printed["exit_code"]) == (expected, code)
        assert code != 0


@pytest.mark.parametrize("verb", ["info", "check", "hash", "measure"])
def test_several_images_are_lines(verb: str, tmp_path: Path) -> None:
    """One that is gone in the middle has its line, too."""
    chain(tmp_path)
    images = ("sunday.vhdx", "gone.vhdx", "sunday.vhdx")
    done = run(verb, *images, "--json", cwd=tmp_path)
    assert done.code == 1
    lines = [json.loads(line) for line in done.out.splitlines()]
    for printed, kind in zip(lines, (SCHEMA.prints[verb], "failure", SCHEMA.prints[verb]), strict=True):
        assert complaints(printed, kind, SCHEMA) == []
    assert (lines[1]["code"], lines[1]["where"]["path"]) == ("not-found", "gone.vhdx")


def test_a_failure_without_json_prints_none(tmp_path: Path) -> None:
    assert run("info", "gone.vhdx", cwd=tmp_path).out == ""
    assert run("info", "--", "--json", cwd=tmp_path).out == ""


def test_a_hint_is_a_command(tmp_path: Path) -> None:
    chain(tmp_path)
    (tmp_path / "sunday.vhdx").unlink()
    printed = json.loads(run("check", "--chain", "tuesday.avhdx", "--json", cwd=tmp_path).out)
    assert printed, "a check does not fail for that"
    printed = json.loads(run("map", "tuesday.avhdx", "--json", cwd=tmp_path).out)
    assert printed["code"] == "parent-not-found"
    assert printed["hint"].startswith("vhdx ")
