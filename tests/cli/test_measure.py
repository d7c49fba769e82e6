"""``vhdx measure``: words in, words out."""

import json
from pathlib import Path

from tests.ops.make.making import write_raw
from tests.support.layout import MIB

from .running import USAGE, rows, run, succeed


def test_what_it_says(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "a.raw", 16 * MIB, {0: bytes(MIB), 9 * MIB: b"x" * 16384})
    shown = rows(succeed("measure", "-v", raw, "--block-size", "1M"))
    assert shown["target"] == "vhdx, 16 MiB (16777216 bytes)"
    assert shown["required"] == "at most 6 MiB (6291456 bytes)"
    assert shown["fully allocated"] == "20 MiB (20971520 bytes)"
    assert "source, compacted" not in shown
    scanned = rows(succeed("measure", "-v", raw, "--block-size", "1M", "--scan-zeros"))
    assert scanned["required"] == "5 MiB (5242880 bytes)"
    assert scanned["contents"] == "16 KiB (16384 bytes)"
    assert rows(succeed("measure", "-v", raw, "-O", "vhd"))["required"] == "16 MiB (16777728 bytes)"


def test_json(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "a.raw", 1000)
    found = json.loads(succeed("measure", raw, "--json", "-O", "vhd"))
    assert found == {
        "path": str(raw),
        "source_format": "raw",
        "target_format": "vhd",
        "virtual_size": MIB,
        "required_size": MIB + 512,
        "fully_allocated_size": MIB + 512,
        "data_size": 0,
        "scanned": False,
        "compacted_size": None,
        "remarks": ["virtual size rounded from 1000 bytes to 1048576 (1 MiB)"],
    }


def test_an_image_and_its_compaction(tmp_path: Path) -> None:
    succeed("create", tmp_path / "a.vhdx", "1G")
    shown = rows(succeed("measure", tmp_path / "a.vhdx"))
    assert shown["source, compacted"] == "at most 4 MiB"


def test_a_vhdx_out_of_a_pipe(tmp_path: Path) -> None:
    """Its tables are enough."""
    succeed("create", tmp_path / "a.vhdx", "1G")
    with open(tmp_path / "a.vhdx", "rb") as image:
        assert (
            rows(succeed("measure", "-", stdin=image))["required"]
            == rows(succeed("measure", tmp_path / "a.vhdx"))["required"]
        )


def test_a_pipe(tmp_path: Path) -> None:
    done = run("measure", "-", input="x")
    assert (done.code, "cannot be measured" in done.sentence) == (USAGE, True)
