"""``vhdx create``: words in, words out."""

import os
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.layout import GIB, MIB, TIB

from .running import USAGE, info, run, succeed


def test_what_it_says(tmp_path: Path) -> None:
    done = run("create", "a.vhdx", "10G", cwd=tmp_path)
    assert (done.code, done.out, done.err) == (0, "a.vhdx: dynamic, 10 GiB, blocks of 16 MiB\n", "")
    said = "b.vhdx: dynamic, 10 GiB (10737418240 bytes), blocks of 16 MiB (16777216 bytes)\n"
    assert succeed("create", "-v", "b.vhdx", "10G", cwd=tmp_path) == said


def test_decimal_words_are_told(tmp_path: Path) -> None:
    done = run("create", "a.vhdx", "1.024GB", cwd=tmp_path)
    assert done.err == "vhdx: 1.024GB is decimal, a power of 1000; 1.024G, 1.024Gi and 1.024GiB are binary\n"
    assert info(tmp_path / "a.vhdx")["virtual_size"] == 1_024_000_000
    done = run("resize", "a.vhdx", "+1MB", cwd=tmp_path)
    assert done.err.startswith("vhdx: +1MB is decimal")
    assert info(tmp_path / "a.vhdx")["virtual_size"] == -(-1_025_000_000 // 512) * 512
    assert run("create", "b.vhdx", "10Gi", cwd=tmp_path).err == ""


@pytest.mark.parametrize(
    ("words", "size"),
    [
        ("512", 512),
        ("1k", 1024),
        ("1K", 1024),
        ("10m", 10 * MIB),
        ("10MiB", 10 * MIB),
        ("10 mib", 10 * MIB),
        ("1.5G", 3 * GIB // 2),
        ("64T", 64 * TIB),
        ("0.5t", TIB // 2),
    ],
)
def test_size_words(tmp_path: Path, words: str, size: int) -> None:
    succeed("create", tmp_path / "a.vhdx", words)
    assert info(tmp_path / "a.vhdx")["virtual_size"] == size


@pytest.mark.parametrize(
    ("arguments", "key", "value"),
    [
        (("--type", "fixed"), "disk_type", "fixed"),
        (("--type", "dynamic"), "disk_type", "dynamic"),
        (("--block-size", "2M"), "block_size", 2 * MIB),
        (("--block-size", "0"), "block_size", 8 * MIB),
        (("--logical-sector-size", "4096"), "logical_sector_size", 4096),
        (("--logical-sector-size", "4k"), "logical_sector_size", 4096),
        (("--physical-sector-size", "512"), "physical_sector_size", 512),
        ((), "physical_sector_size", 4096),
        (("--disk-id", "{" + str(UUID(int=7)) + "}"), "disk_id", str(UUID(int=7))),
        ((), "notes", []),
    ],
)
def test_options(tmp_path: Path, arguments: tuple[str, ...], key: str, value: object) -> None:
    succeed("create", tmp_path / "a.vhdx", "4M", *arguments)
    assert info(tmp_path / "a.vhdx")[key] == value


def test_log_size_and_zero_blocks(tmp_path: Path) -> None:
    succeed("create", tmp_path / "a.vhdx", "20M", "--log-size", "3M", "--zero-blocks")
    found = info(tmp_path / "a.vhdx")
    assert found["log"]["size"] == 3 * MIB
    assert found["blocks"]["by_state"] == {"zero": 3}


def test_says_what_it_rounds(tmp_path: Path) -> None:
    done = run("create", tmp_path / "a.vhdx", "1000", "--block-size", "3M", "--log-size", "1500k")
    assert done.code == 0
    assert done.err.splitlines() == [
        "vhdx: block size rounded from 3145728 bytes to 4194304 (4 MiB)",
        "vhdx: log size rounded from 1536000 bytes to 2097152 (2 MiB)",
        "vhdx: virtual size rounded from 1000 bytes to 1024 (1 KiB)",
    ]


@pytest.mark.parametrize("verb", [("create", "a.vhdx", "1M"), ("convert", "source.raw", "a.vhdx")])
def test_force(tmp_path: Path, verb: tuple[str, ...]) -> None:
    (tmp_path / "source.raw").write_bytes(b"x" * 512)
    (tmp_path / "a.vhdx").write_bytes(b"old")
    done = run(*verb, cwd=tmp_path)
    assert (done.code, done.sentence) == (1, "a.vhdx exists already; --force replaces it")
    assert (tmp_path / "a.vhdx").read_bytes() == b"old"
    assert run(*verb, "--force", cwd=tmp_path).code == 0
    assert info(tmp_path / "a.vhdx")["creator"].startswith("vhdx ")
    assert sorted(os.listdir(tmp_path)) == ["a.vhdx", "source.raw"]


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_what_is_no_file_is_no_target(tmp_path: Path, force: tuple[str, ...]) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name in ("folder", "fifo", "/dev/null"):
        done = run("create", name, "1M", *force, cwd=tmp_path)
        assert done.code in (1, USAGE)
        assert name in done.sentence
        if force:
            assert "--force" not in done.sentence
    assert sorted(os.listdir(tmp_path)) == ["fifo", "folder"]
