"""``-`` as a target: one rule for every verb but `convert`, whatever its options, and nothing in the pipe."""

import json
import os
from pathlib import Path

import click
import pytest

import vhdx
from vhdx.cli.options import TARGET
from vhdx.storage.publish import new_file

from .running import USAGE, run
from .test_verbs import commands

GUID = "11111111-2222-3333-4444-555555555555"
LINES = [
    "create - 1M",
    "create --force --json - 1M",
    "create --parent a.vhdx -",
    "compact -",
    "compact --dry-run -",
    "merge -",
    "merge a.vhdx --into -",
    "merge a.vhdx --child -",
    "rebase - --parent a.vhdx",
    "repair -",
    "repair --dry-run -",
    "repair a.vhdx --backup -",
    "repair a.vhdx --undo -",
    "resize - 2M",
    "set - --disk-id new",
    "trim - 0 1M",
    "zero - 0 1M",
    "write - 0",
    f"metadata get a.vhdx {GUID} --output -",
    f"metadata set - {GUID}",
    f"metadata delete - {GUID}",
]
PIPED = {"diff target"}
"""Where ``-`` is standard output."""
READ = {
    "apply increment",
    *(
        "check images",
        "compare first",
        "compare second",
        "convert source",
        "convert target",
        "create contents",
        "create parent",
    ),
    "diff child",
    *(
        "diff since",
        "dump image",
        "hash images",
        "info images",
        "log image",
        "map image",
        "measure sources",
        "metadata get image",
    ),
    *("metadata list image", "metadata set source", "mount directory", "mount image", "read image"),
    *("cat place", "cp places", "du place", "find place", "ls place", "tar place"),
    *(
        "rebase parent",
        "rebase directory",
        "tree directory",
        "fleet paths",
        "fleet target_dir",
        "report image",
        "serve images",
        "serve path",
        "unmount directory",
        "upload image",
    ),
}
"""Names of files that are read, or of what is no file; `serve` and `mount` write to images where told to."""


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    vhdx.create(tmp_path / "a.vhdx", "1M")
    return tmp_path


@pytest.mark.parametrize("line", LINES)
def test_every_other_verb_refuses_it(folder: Path, line: str) -> None:
    done = run(*line.split(), cwd=folder, input="x")
    assert done.code == USAGE
    assert done.out == "" or ("--json" in line and json.loads(done.out)["code"] == "usage")
    assert "not to standard output" in done.err
    assert os.listdir(folder) == ["a.vhdx"]


@pytest.mark.parametrize("line", ["mount --write - there", "serve --write --socket s -"])
def test_who_writes_to_what_it_serves_does_so_too(folder: Path, line: str) -> None:
    (folder / "-").write_bytes((folder / "a.vhdx").read_bytes())
    (folder / "there").mkdir()
    done = run(*line.split(), cwd=folder)
    assert (done.code, done.out) == (USAGE, "")
    assert "not to standard output" in done.err


def test_every_name_of_a_file_is_a_target_or_only_read() -> None:
    """Whoever adds a verb says which."""
    names = {
        f"{' '.join(words)} {parameter.name}"
        for words, command in commands()
        for parameter in command.params
        if isinstance(parameter.type, click.Path) and parameter.type is not TARGET
    }
    assert {name for name in names if not name.endswith((" parent_dirs", " tls"))} <= READ | PIPED


def test_a_file_of_that_name_can_be_had(folder: Path) -> None:
    assert run("create", "./-", "1M", cwd=folder).code == 0
    assert sorted(os.listdir(folder)) == ["-", "a.vhdx"]
    assert run("zero", "./-", "0", "1M", cwd=folder).code == 0


def test_the_library_does_so_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "-").write_bytes((folder / "a.vhdx").read_bytes())
    for job in (
        lambda: vhdx.create("-", "1M", overwrite=True),
        lambda: vhdx.open("-", "r+"),
        lambda: vhdx.merge("-"),
        lambda: vhdx.repair("a.vhdx", backup="-"),
        lambda: new_file("-", overwrite=True).__enter__(),
    ):
        with pytest.raises((ValueError, FileExistsError)):
            job()
    assert (folder / "-").read_bytes() == (folder / "a.vhdx").read_bytes()
