"""``vhdx convert --salvage``: what is listed, where, and the exit code."""

import json
from pathlib import Path

import pytest

from tests.hostile.images import clean, family
from tests.support.layout import MIB

from .running import run, succeed


@pytest.fixture(name="broken")
def _broken(tmp_path: Path) -> Path:
    image = clean()
    image.bat = {1: 900 * MIB | 6}
    return image.write(tmp_path / "a.vhdx")


def test_doubts_are_listed(broken: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.raw"
    assert run("convert", broken, target).code == 1
    assert not target.exists()
    done = run("convert", "--salvage", broken, target)
    assert done.code == 3
    why = "its place is behind the end of the file; zeros are read"
    assert done.err.splitlines() == [
        f"vhdx: doubtful: {MIB} bytes at {MIB}: {broken}: {why}",
        "vhdx: ranges that may be wrong: 1",
    ]
    assert target.read_bytes() == clean().content()


def test_json(broken: Path, tmp_path: Path) -> None:
    done = run("convert", "--salvage", "--json", broken, tmp_path / "b.vhdx")
    assert (done.code, done.err) == (3, "")
    found = json.loads(done.out)
    assert [(doubt["offset"], doubt["length"]) for doubt in found["doubts"]] == [(MIB, MIB)]
    assert found["result"]["doubts"] == 1
    assert found["result"]["virtual_size"] == clean().disk_size


def test_nothing_is_doubtful(tmp_path: Path) -> None:
    path, _ = family(tmp_path)
    assert succeed("convert", "--salvage", path, tmp_path / "c.raw").startswith(str(tmp_path / "c.raw"))
    found = json.loads(succeed("convert", "--json", path, tmp_path / "d.raw"))
    assert found["doubts"] == []
    assert (tmp_path / "c.raw").read_bytes() == (tmp_path / "d.raw").read_bytes()


def test_a_missing_parent(tmp_path: Path) -> None:
    path, parent = family(tmp_path)
    parent.unlink()
    done = run("convert", "--salvage", path, tmp_path / "a.vhdx")
    assert done.code == 3
    assert all("parent" in line for line in done.err.splitlines()[:-1])


def test_what_cannot_be_salvaged_is_refused(tmp_path: Path) -> None:
    image = clean()
    image.region_tables = {}
    path = image.write(tmp_path / "a.vhdx")
    with path.open("r+b") as file:
        file.seek(192 * 1024)
        file.write(bytes(128 * 1024))
        file.seek(image.plan().bat_offset)
        file.write(b"x" * 4096)
    done = run("convert", "--salvage", path, tmp_path / "a.raw")
    assert done.code == 1
    assert "the region table cannot be rebuilt: no table that fits the metadata stands" in done.sentence
