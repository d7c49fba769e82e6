"""``vhdx log`` as text and as JSON."""

import json
from pathlib import Path

import pytest

from tests.hostile.images import clean, dirty

from .running import run, succeed


@pytest.fixture(name="image")
def _image(tmp_path: Path) -> Path:
    return dirty().write(tmp_path / "a.vhdx")


def test_text(image: Path) -> None:
    lines = succeed("log", image).splitlines()
    assert lines[1] == "log:       dirty, 1 MiB at file offset 1048576"
    assert lines[2] == "to replay: 2 of its entries, sequence numbers 8589934598 to 8589934599"
    assert lines[3] == "     12288  applied; number 8589934597, 8 KiB, descriptors: 1"


def test_identities_and_exact_sizes_are_for_those_who_ask(image: Path) -> None:
    lines = succeed("log", "-v", image).splitlines()
    assert lines[2].startswith("log GUID: ")
    about = "     12288  applied; number 8589934597, 8 KiB (8192 bytes), descriptors: 1, tail at 12288, file"
    assert lines[4].startswith(about)
    assert f", session {lines[2].split()[-1]}" in lines[4]


def test_json(image: Path) -> None:
    found = json.loads(succeed("log", "--json", image))
    assert [entry["state"] for entry in found["entries"]] == ["applied", "active", "active"]
    assert found["entries"][2]["descriptors"][0]["kind"] == "zero"


def test_diff(image: Path, tmp_path: Path) -> None:
    lines = succeed("log", "--diff", image).splitlines()
    assert lines[-2:] == [
        "         3145728  BAT entry 0 (payload block 0): FULLY_PRESENT at 6 MiB -> FULLY_PRESENT at 4 MiB",
        "         3145744  BAT entry 2 (payload block 2): NOT_PRESENT -> FULLY_PRESENT at 5 MiB",
    ]
    found = json.loads(succeed("log", "--diff", "--json", image))
    assert len(found["changes"]) == len(lines)
    sound = clean().write(tmp_path / "b.vhdx")
    assert succeed("log", "--diff", sound) == "replay would change nothing: the log is empty\n"


def test_no_header(image: Path) -> None:
    with image.open("r+b") as file:
        file.truncate(66_000)
    assert "neither header is valid" in run("log", image).sentence
