"""Several images and directories: a line for each, the exit code of the worst."""

import json
import os
from pathlib import Path

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.vhd import DYNAMIC, VhdBuilder

from .running import run, succeed

SOUND, WARNING, BROKEN = "a.vhdx", "sub/b.vhdx", "sub/c.vhdx"


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """A sound image, one with a warning, one with an error, a VHD, and what is no image."""
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    vhdx.create(tmp_path / SOUND, 4 * MIB)
    for name, place, byte in ((WARNING, 64 * 1024, b"x"), (BROKEN, 0, b"vhdxfile")):
        vhdx.create(tmp_path / name, 4 * MIB)
        with open(tmp_path / name, "r+b") as file:
            file.seek(place)
            file.write(byte)
    with open(tmp_path / BROKEN, "r+b") as file:  # both region tables
        for place in (192 * 1024, 256 * 1024):
            file.seek(place)
            file.write(b"nothing")
    VhdBuilder(MIB, DYNAMIC).write(tmp_path / "sub" / "deep" / "d.VHD")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "disk.raw").write_bytes(bytes(MIB))
    return tmp_path


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def _native(path: str) -> str:
    """A path below a directory, as this host writes it."""
    return path.replace("/", os.sep)


def test_info_of_a_directory(folder: Path) -> None:
    done = run("info", ".", cwd=folder)
    shown = lines(done.out)
    assert shown[0] == ["format", "type", "virtual", "size", "file", "size", "log", "image"]
    assert shown[1] == ["vhdx", "dynamic", "4", "MiB", "4", "MiB", "clean", _native("./a.vhdx")]
    assert [each[-1] for each in shown[2:]] == [
        _native(f"./sub/{name}") for name in ("b.vhdx", "c.vhdx", "deep/d.VHD")
    ]
    assert shown[4][:2] == ["vhd", "dynamic"]
    assert shown[3][0] == "-"
    assert f"vhdx: {_native('./sub/c.vhdx')}: " in done.err
    assert done.code == 1


def test_a_single_file_is_told_as_ever(folder: Path) -> None:
    assert succeed("info", folder / SOUND).startswith("image: ")
    assert "no errors" in succeed("check", folder / SOUND)
    assert succeed("measure", folder / SOUND).startswith("target: ")


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ((SOUND, SOUND), 0),
        ((SOUND, WARNING), 3),
        ((WARNING, "gone.vhdx"), 1),
        (("gone.vhdx", BROKEN, SOUND), 2),
    ],
)
def test_the_worst_counts(folder: Path, names: tuple[str, ...], code: int) -> None:
    for words in ((), ("--json",)):
        done = run("check", *names, *words, cwd=folder)
        assert done.code == code
        assert len(done.out.splitlines()) == len(names) + (not words)


def test_json_lines_are_what_one_image_prints(folder: Path) -> None:
    for verb in ("info", "check", "measure"):
        one = json.loads(succeed(verb, SOUND, "--json", cwd=folder))
        both = [json.loads(line) for line in succeed(verb, SOUND, SOUND, "--json", cwd=folder).splitlines()]
        assert both == [one, one]


def test_measure_of_several(folder: Path) -> None:
    shown = lines(succeed("measure", SOUND, "disk.raw", cwd=folder))
    assert shown[1] == ["4", "MiB", "4", "MiB", "12", "MiB", "4", "MiB", "a.vhdx"]
    assert shown[2][-2:] == ["-", "disk.raw"]


def test_a_raw_disk_beside_images(folder: Path) -> None:
    assert lines(succeed("info", SOUND, "disk.raw", cwd=folder))[2][:2] == ["raw", "fixed"]
    done = run("check", SOUND, "disk.raw", cwd=folder)
    assert done.code == 1
    assert "a raw disk has no structures that could break a rule; try: vhdx info disk.raw\n" in done.err
    succeed("info", "disk.raw", cwd=folder)


def test_a_directory_without_images(tmp_path: Path) -> None:
    done = run("info", tmp_path)
    assert done.code == 1
    assert "no image is in it (.vhdx .avhdx .vhd .avhd)" in done.err


def test_a_child_and_its_parent(tmp_path: Path) -> None:
    ImageBuilder(4 * MIB).write(tmp_path / "parent.vhdx")
    vhdx.create(tmp_path / "child.avhdx", parent=tmp_path / "parent.vhdx")
    shown = lines(succeed("check", "--chain", tmp_path))
    assert [each[6] for each in shown[1:]] == ["clean", "clean"]


def test_what_was_tried_stands_in_lines(tmp_path: Path) -> None:
    """As of one image: no line end is shown as an escape."""
    ImageBuilder(4 * MIB).child("gone.vhdx").write(tmp_path / "child.avhdx")
    one = run("measure", "child.avhdx", cwd=tmp_path)
    several = run("measure", "child.avhdx", "child.avhdx", cwd=tmp_path)
    assert several.err == 2 * one.err
    assert "\n  " in one.err
