"""``vhdx dump`` as text and as JSON."""

import json
from pathlib import Path

import pytest

from tests.support.build import ImageBuilder
from tests.support.damage import flip
from tests.support.layout import KIB, MIB
from tests.support.parts import Block

from .running import USAGE, run, succeed


@pytest.fixture(name="image")
def _image(tmp_path: Path) -> Path:
    return ImageBuilder(4 * MIB, MIB, blocks={1: Block(b"x")}).write(tmp_path / "a.vhdx")


def test_text(image: Path) -> None:
    assert succeed("dump", image, "bat:1").splitlines() == [
        "BAT entry 1 (payload block 1) at file offset 3145736",
        "         3145736  state                      6 (FULLY_PRESENT)",
        "                                             0600400000000000",
        "         3145736  reserved                   0",
        "                                             0600400000000000",
        "         3145736  file offset                4194304 (4 MiB)",
        "                                             0600400000000000",
    ]


def test_json(image: Path) -> None:
    (found,) = json.loads(succeed("dump", "--json", image, "headers:2"))["structures"]
    assert (found["structure"], found["file_offset"], found["damage"]) == ("header 2", 128 * KIB, None)
    assert {
        "name": "log offset",
        "file_offset": 128 * KIB + 72,
        "size": 8,
        "raw": "0000100000000000",
        "value": MIB,
        "meaning": "1 MiB",
    } in found["fields"]


def test_what_there_is(image: Path) -> None:
    words = [line.split()[0] for line in succeed("dump", image).splitlines()]
    assert words == [
        "identifier",
        "headers:1",
        "headers:2",
        "regions:1",
        "regions:2",
        "log",
        "bat",
        "metadata",
    ]
    assert [row["word"] for row in json.loads(succeed("dump", "--json", image))["contents"]] == words


def test_damage(image: Path) -> None:
    flip(image, 64 * KIB + 9)
    assert ": DAMAGED: checksum is 0x" in succeed("dump", image, "headers:1").splitlines()[0]
    assert "headers:1" in next(line for line in succeed("dump", image).splitlines() if "damaged" in line)


def test_usage(image: Path) -> None:
    assert run("dump", image, "nonsense").code == USAGE
    assert run("dump", "--raw", "0", "1", image, "bat").code == USAGE
