"""Which files a name in an image stands for, and which of several with the right identity is taken."""

import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import run
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.patterns import pattern

NAME = "Ungelöst Ä.vhdx"
FORMS: list[Callable[[str], str]] = [
    lambda name: unicodedata.normalize("NFD", name),
    lambda name: unicodedata.normalize("NFC", name).upper(),
    lambda name: unicodedata.normalize("NFD", name).lower(),
]


def family(folder: Path, name: str) -> tuple[Path, Path]:
    """A child that names its parent so, and the parent under that name."""
    folder.mkdir(exist_ok=True)
    parent = ImageBuilder(4 * MIB, blocks={0: Block(pattern(1, MIB))})
    child = parent.child(name)
    return child.write(folder / "child.vhdx"), parent.write(folder / name)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("named", FORMS)
def test_case_and_unicode_form_do_not_matter(
    form: Callable[[str], str], named: Callable[[str], str], tmp_path: Path
) -> None:
    child, parent = family(tmp_path, named(NAME))
    parent.rename(tmp_path / form(NAME))
    with vhdx.open(child) as disk:
        assert disk.pread(MIB, 0) == pattern(1, MIB)


def test_of_names_that_are_alike_each_is_tried(tmp_path: Path) -> None:
    child, parent = family(tmp_path, "Parent.vhdx")
    parent.rename(tmp_path / "parent.VHDX")
    ImageBuilder(4 * MIB, seed=99).write(tmp_path / "PARENT.vhdx")
    with vhdx.open(child) as disk:
        assert Path(disk.chain[1]).name == "parent.VHDX"


def test_of_several_with_the_identity_the_one_that_is_named_is_taken(tmp_path: Path) -> None:
    child, parent = family(tmp_path / "a", "named.vhdx")
    others = tmp_path / "others"
    others.mkdir()
    for name in ("copy.vhdx", "NAMED.vhdx", "zero.vhdx"):
        shutil.copy(parent, others / name)
    parent.unlink()
    with vhdx.open(child, parents=others) as disk:
        assert Path(disk.chain[1]).name == "NAMED.vhdx"
    out = run("info", "--chain", "--parent-dir", others, child).out
    [note] = [line for line in out.splitlines() if "the same identity" in line]
    assert note.startswith("note: ")
    assert note.index("NAMED.vhdx was taken") < note.index("copy.vhdx") < note.index("zero.vhdx")


def test_the_one_that_is_named_is_taken_whatever_directory_it_is_in(tmp_path: Path) -> None:
    child, parent = family(tmp_path / "a", "named.vhdx")
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, name in ((first, "copy.vhdx"), (second, "named.vhdx")):
        folder.mkdir()
        shutil.copy(parent, folder / name)
    parent.unlink()
    with vhdx.open(child, parents=[first, second]) as disk:
        assert Path(disk.chain[1]) == second / "named.vhdx"
    out = run("info", "--chain", "--parent-dir", first, "--parent-dir", second, child).out
    [note] = [line for line in out.splitlines() if "the same identity" in line]
    assert note.index("named.vhdx was taken") < note.index("copy.vhdx")
