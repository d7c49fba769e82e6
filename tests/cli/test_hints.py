"""What the command says that one should do next, to somebody who never read the specification."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.scenes import chain, damaged, dirty
from tests.support.damage import flip

from .running import run, succeed

REGION_TABLES = (192 << 10, 256 << 10)
HEADERS = (64 << 10, 128 << 10)


def _flipped(*places: int) -> Callable[[Path], None]:
    def scene(folder: Path) -> None:
        dirty(folder)
        for place in places:
            flip(folder / "vm.vhdx", place + 100)

    return scene


@pytest.mark.parametrize(
    ("scene", "image", "hints"),
    [
        (damaged, "vm.vhdx", ["to see what can be mended: vhdx repair --dry-run vm.vhdx"]),
        (
            damaged,
            "worse.vhdx",
            [
                "to save what can be read: vhdx convert --salvage worse.vhdx TARGET",
                "to see what can be mended: vhdx repair --dry-run --accept-data-loss worse.vhdx",
            ],
        ),
        (
            _flipped(*REGION_TABLES),
            "vm.vhdx",
            ["to see what can be mended: vhdx repair --dry-run --rebuild vm.vhdx"],
        ),
        (_flipped(*HEADERS), "vm.vhdx", ["to save what can be read: vhdx convert --salvage vm.vhdx TARGET"]),
        (dirty, "vm.vhdx", []),
    ],
)
def test_after_a_check(scene: Callable[[Path], None], image: str, hints: list[str], tmp_path: Path) -> None:
    scene(tmp_path)
    lines = run("check", image, cwd=tmp_path).out.splitlines()
    assert [line for line in lines if ": to " in line] == [f"{image}: {hint}" for hint in hints]


def test_after_a_check_that_found_no_parent(tmp_path: Path) -> None:
    chain(tmp_path)
    (tmp_path / "sunday.vhdx").unlink()
    done = run("check", "--chain", "monday.avhdx", cwd=tmp_path)
    assert done.code == 2
    lines = done.out.splitlines()
    assert lines[1].startswith("  /"), "each place that was tried is a line"
    assert lines[-1].endswith(
        "look for the parent elsewhere: vhdx check --chain --parent-dir DIR monday.avhdx"
    )


@pytest.mark.parametrize(
    ("scene", "hint"),
    [
        (dirty, "the log was replayed in memory; to replay it in the file: vhdx repair vm.vhdx"),
        (damaged, "for all that is wrong: vhdx check vm.vhdx"),
    ],
)
def test_after_info(scene: Callable[[Path], None], hint: str, tmp_path: Path) -> None:
    scene(tmp_path)
    assert succeed("info", "vm.vhdx", cwd=tmp_path).splitlines()[-1] == hint


def test_an_image_that_does_not_open_names_the_check(tmp_path: Path) -> None:
    _flipped(*HEADERS)(tmp_path)
    done = run("convert", "vm.vhdx", "new.raw", cwd=tmp_path)
    assert done.sentence.endswith("; try: vhdx check vm.vhdx")


def test_what_is_no_image_needs_no_check(tmp_path: Path) -> None:
    (tmp_path / "text.vhdx").write_text("text" * 100_000)
    assert run("info", "text.vhdx", cwd=tmp_path).sentence.endswith("([MS-VHDX] 2.2.1)")


def test_a_difference_needs_a_parent(tmp_path: Path) -> None:
    chain(tmp_path)
    done = run("diff", "sunday.vhdx", cwd=tmp_path)
    assert done.sentence.startswith("sunday.vhdx is no differencing image: it has no parent")


def test_no_user_items_is_said(tmp_path: Path) -> None:
    chain(tmp_path)
    done = run("metadata", "list", "sunday.vhdx", cwd=tmp_path)
    assert (done.code, done.sentence) == (0, "sunday.vhdx has no user items")
