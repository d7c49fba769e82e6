"""`tree` and `rebase --all`: who is whose parent in a directory, and orphans that get theirs back."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import USAGE, run, succeed
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.vhd import DIFFERENCING, VhdBuilder, relative
from vhdx.ops import tree as states
from vhdx.ops.mend import mend_all
from vhdx.ops.tree import tree

BASE = ImageBuilder(4 * MIB, blocks={0: Block(pattern(1, MIB))})
DAY = BASE.child()


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """A base in a folder of its own, a child that has lost it, a grandchild that has lost that, strangers."""
    (tmp_path / "bases").mkdir()
    BASE.write(tmp_path / "bases" / "base.vhdx")
    BASE.child("gone.vhdx").write(tmp_path / "monday.avhdx")
    DAY.child("elsewhere\\gone.avhdx").write(tmp_path / "tuesday.avhdx")
    ImageBuilder(4 * MIB, seed=50).child("never.vhdx").write(tmp_path / "lost.avhdx")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "broken.vhdx").write_bytes(b"vhdxfile" + bytes(100))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nothing").symlink_to("nowhere")
    return tmp_path


def seen(folder: Path) -> dict[str, tuple[str | None, str | None]]:
    """Parent and state of each image, by their names in the folder."""
    found = tree(folder).images
    return {
        Path(each.path).relative_to(folder).as_posix(): (
            each.parent and Path(os.path.realpath(each.parent)).relative_to(folder.resolve()).as_posix(),
            each.parent_state,
        )
        for each in found
    }


def test_every_state(folder: Path) -> None:
    assert seen(folder) == {
        "bases/base.vhdx": (None, None),
        "monday.avhdx": ("bases/base.vhdx", states.MOVED),
        "tuesday.avhdx": ("monday.avhdx", states.MOVED),
        "lost.avhdx": (None, states.MISSING),
    }
    found = tree(folder)
    assert {os.path.basename(each.path): each.children for each in found.images} == {
        "base.vhdx": 1,
        "monday.avhdx": 1,
        "tuesday.avhdx": 0,
        "lost.avhdx": 0,
    }
    assert [os.path.basename(each.path) for each in found.unread] == ["broken.vhdx"]
    assert all(each.file_size == Path(each.path).stat().st_size for each in found.images)


def test_a_parent_that_is_named(tmp_path: Path) -> None:
    """Where it stands decides whether opening finds it."""
    BASE.write(tmp_path / "base.vhdx")
    BASE.child("base.vhdx").write(tmp_path / "beside.avhdx")
    (tmp_path / "below").mkdir()
    BASE.child("..\\base.vhdx").write(tmp_path / "below" / "child.avhdx")
    assert seen(tmp_path)["beside.avhdx"] == ("base.vhdx", states.FOUND)
    assert seen(tmp_path)["below/child.avhdx"] == ("base.vhdx", states.NAMED)
    assert mend_all(tmp_path).mended == ()


def test_several_files_of_one_identity(tmp_path: Path) -> None:
    """The name decides, as it does for --parent-dir; else nobody can tell."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        BASE.write(tmp_path / name / f"{name}.vhdx")
    BASE.child("C:\\vm\\TWO.vhdx").write(tmp_path / "named.avhdx")
    BASE.child("other.vhdx").write(tmp_path / "child.avhdx")
    assert seen(tmp_path)["named.avhdx"] == ("two/two.vhdx", states.MOVED)
    assert seen(tmp_path)["child.avhdx"] == (None, states.SEVERAL)
    assert [os.path.basename(path) for path in mend_all(tmp_path).orphans] == ["child.avhdx"]


def test_a_loop_ends(tmp_path: Path) -> None:
    """No sound chain has one; identities can say so nevertheless."""
    one = BASE.child("two.vhdx")
    two = replace(one.child("one.vhdx"), seed=BASE.seed)
    one.write(tmp_path / "one.vhdx")
    two.write(tmp_path / "two.vhdx")
    assert sorted(state for _, state in seen(tmp_path).values() if state) == [states.FOUND, states.LOOP]
    assert len(succeed("tree", tmp_path).splitlines()) == 3
    assert mend_all(tmp_path).mended == ()


def test_orphans_get_their_parents_back(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*.*vhdx")}
    shown = mend_all(folder, dry_run=True)
    assert [os.path.basename(each.path) for each in shown.mended] == ["monday.avhdx", "tuesday.avhdx"]
    assert {path: path.read_bytes() for path in before} == before
    done = mend_all(folder)
    assert done.mended == shown.mended
    assert [os.path.basename(path) for path in done.orphans] == ["lost.avhdx"]
    with vhdx.open(folder / "tuesday.avhdx") as disk:
        assert [os.path.basename(path) for path in disk.chain] == [
            "tuesday.avhdx",
            "monday.avhdx",
            "base.vhdx",
        ]
        assert disk.pread(MIB, 0) == pattern(1, MIB)
    assert mend_all(folder).mended == ()
    for path in (folder / "lost.avhdx", folder / "bases" / "base.vhdx"):
        assert path.read_bytes() == before[path]
    assert vhdx.check(folder / "tuesday.avhdx", chain=True).errors == 0


def test_what_cannot_be_changed_is_told_and_the_rest_is_done(folder: Path) -> None:
    BASE.child("gone.vhdx").write(folder / "held.avhdx")
    with vhdx.open(folder / "held.avhdx", parents=folder / "bases"):
        done = mend_all(folder)
    problems = {os.path.basename(each.path): each.problem for each in done.mended}
    assert problems["monday.avhdx"] is None
    assert problems["held.avhdx"]
    assert str(folder / "held.avhdx") in done.orphans


def test_an_orphan_of_an_orphan_stays_as_it_is(tmp_path: Path) -> None:
    DAY.child("gone").write(tmp_path / "tuesday.avhdx")
    DAY.write(tmp_path / "monday.avhdx")
    assert mend_all(tmp_path).mended == ()
    assert len(mend_all(tmp_path).orphans) == 2


# The verbs ------------------------------------------------------------------------------------


def test_the_drawing(folder: Path) -> None:
    lines = succeed("tree", ".", cwd=folder).splitlines()
    base = next(index for index, line in enumerate(lines) if line.startswith("./bases/base.vhdx "))
    assert lines[base + 1].startswith("└─ ./monday.avhdx ")
    assert lines[base + 2].startswith("   └─ ./tuesday.avhdx ")
    assert "tip, orphan: looks for it elsewhere (.\\elsewhere\\gone.avhdx)" in lines[base + 2]
    assert "tip" not in lines[base + 1]
    assert any(line.startswith("./lost.avhdx ") and "its parent is not here" in line for line in lines)
    assert any(line.startswith("./broken.vhdx: cannot be read: ") for line in lines)
    assert lines[-1] == "to give these their parents back: vhdx rebase --all ."


def test_json(folder: Path) -> None:
    found = json.loads(succeed("tree", "--json", folder))
    assert len(found["images"]) == 4
    done = json.loads(run("rebase", "--all", folder, "--yes", "--json").out)
    assert len(done["mended"]) == 2
    assert json.loads(succeed("tree", "--json", folder))["images"] != found["images"]


def test_what_lost_its_beginning_is_told(folder: Path) -> None:
    """Or a child of it would be an orphan, and its parent nowhere."""
    image = folder / "monday.avhdx"
    image.write_bytes(b"anything" + image.read_bytes()[8:])
    (folder / "empty.vhd").touch()
    found = {os.path.basename(each.path): each.reason for each in tree(folder).unread}
    assert set(found) == {"broken.vhdx", "monday.avhdx", "empty.vhd"}
    assert found["monday.avhdx"] == "it is named like an image and does not look like one"
    assert f"{image}: cannot be read: " in succeed("tree", folder)


def test_nobody_to_ask(folder: Path) -> None:
    before = seen(folder)
    done = run("rebase", "--all", folder)
    assert done.code == USAGE
    assert "--yes" in done.err
    assert "monday.avhdx: the parent is to be" in done.out
    assert json.loads(run("rebase", "--all", folder, "--json").out)["code"] == "usage"
    assert run("rebase", "--all", folder, "--dry-run").code == 3
    assert seen(folder) == before
    assert run("rebase", "--all", folder, "--yes", cwd=folder).code == 3
    assert seen(folder)["tuesday.avhdx"] == ("monday.avhdx", states.FOUND)


@pytest.mark.parametrize(("answer", "state"), [("y", states.FOUND), ("n", states.MOVED), ("", states.MOVED)])
def test_on_a_terminal_it_is_asked(folder: Path, answer: str, state: str) -> None:
    ours, theirs = os.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = subprocess.run(
        [sys.executable, "-m", "vhdx", "rebase", "--all", folder],
        stdin=theirs,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(ours)
    os.close(theirs)
    assert "monday.avhdx: the parent is to be" in done.stdout
    assert "Do that?" in done.stdout + done.stderr
    assert seen(folder)["monday.avhdx"][1] == state


@pytest.mark.parametrize(
    "words",
    ["", "a", "--parent p", "a --all .", "--all . --safe", "a --parent p --yes", "--all . --any-parent"],
)
def test_words_that_do_not_go_together(tmp_path: Path, words: str) -> None:
    assert run("rebase", *words.split(), cwd=tmp_path).code == USAGE


def test_nothing_to_do(tmp_path: Path) -> None:
    for words in (("--yes",), ("--dry-run",), ()):
        assert "no image looks in vain" in succeed("rebase", "--all", tmp_path, *words)
    assert succeed("tree", tmp_path).startswith("0 without a parent")
    shutil.rmtree(tmp_path)
    assert "No such file or directory" in run("tree", tmp_path).err


@pytest.fixture(name="vhds")
def _vhds(tmp_path: Path) -> Path:
    """A VHD, a child beside it, and a grandchild that calls its parent by another name."""
    ids = [uuid.UUID(int=number) for number in (1, 2, 3)]
    VhdBuilder(4 * MIB, unique_id=ids[0]).write(tmp_path / "base.vhd")
    names = (("child.avhd", "base.vhd"), ("tip.avhd", "gone.vhd"))
    for number, (name, parent) in enumerate(names, start=1):
        VhdBuilder(
            4 * MIB,
            DIFFERENCING,
            unique_id=ids[number],
            parent_id=ids[number - 1],
            parent_name=parent,
            locators=(relative(parent),),
        ).write(tmp_path / name)
    return tmp_path


def test_vhds_are_drawn(vhds: Path) -> None:
    assert seen(vhds) == {
        "base.vhd": (None, None),
        "child.avhd": ("base.vhd", states.FOUND),
        "tip.avhd": ("child.avhd", states.MOVED),
    }
    lines = succeed("tree", cwd=vhds).splitlines()
    assert [line.split()[:3] for line in lines[1:3]] == [
        ["└─", "./child.avhd", "differencing,"],
        ["└─", "./tip.avhd", "differencing,"],
    ]
    assert lines[2].endswith("tip, orphan: looks for it elsewhere (.\\gone.vhd)")
    assert lines[-1] == "1 without a parent, 2 with one, 8.5 KiB in files; orphans: 1"


@pytest.mark.parametrize("word", ["--yes", "--dry-run"])
def test_a_vhd_gets_no_other_parent(vhds: Path, word: str) -> None:
    before = (vhds / "tip.avhd").read_bytes()
    done = run("rebase", "--all", ".", word, cwd=vhds)
    why = "this is a VHD, the older format, which is only read: --parent-dir opens it"
    assert done.out == f"./tip.avhd: not changed: {why}\n"
    assert done.code == 3
    assert (vhds / "tip.avhd").read_bytes() == before


@pytest.mark.parametrize("words", [[], ["--yes"], ["--dry-run"]])
def test_a_directory_that_is_not_there(tmp_path: Path, words: list[str]) -> None:
    done = run("rebase", "--all", "gone", *words, cwd=tmp_path)
    assert (done.code, done.sentence) == (1, "gone: No such file or directory")
