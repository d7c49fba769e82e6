"""What is proposed for lost metadata, and that the commands that check prints work as they are."""

import re
import subprocess
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import run
from tests.filesystems.making import need
from tests.partitions.tables import gpt_disk
from tests.support.damage import overwrite
from tests.support.layout import MIB
from tests.support.patterns import pattern
from tests.support.shell import words_of

ITEMS = 2 * MIB + 64 * 1024


def _without_items(folder: Path, *, sector: int = 512) -> Path:
    """The image of ``disk.raw`` without the items of its metadata."""
    options = vhdx.ImageOptions(block_size=MIB, logical_sector_size=sector)
    vhdx.convert(folder / "disk.raw", folder / "disk.vhdx", options=options)
    overwrite(folder / "disk.vhdx", ITEMS, bytes(4096))
    return folder / "disk.vhdx"


def _formatted(folder: Path, size: int, *command: str) -> None:
    need(command[0])
    with (folder / "disk.raw").open("wb") as file:
        file.truncate(size)
    subprocess.run([*command, folder / "disk.raw"], check=True, stdout=subprocess.DEVNULL)


def _proposed(path: Path) -> dict[str, int | None]:
    return {lost.option: lost.value for lost in vhdx.check(path).lost}


@pytest.mark.parametrize(
    ("command", "sector"),
    [
        (("mkfs.ext4", "-q"), 512),
        (("mkfs.vfat", "-F", "16", "-S", "4096"), 4096),
    ],
    ids=["ext4", "FAT"],
)
def test_a_file_system_proposes_the_size_and_the_printed_commands_work(
    command: tuple[str, ...], sector: int, tmp_path: Path
) -> None:
    _formatted(tmp_path, 64 * MIB, *command)
    path = _without_items(tmp_path, sector=sector)
    assert _proposed(path) == {
        "--block-size": MIB,
        "--virtual-size": 64 * MIB,
        "--logical-sector-size": sector,
    }
    advised = re.findall(r"vhdx ((?:convert|repair) .*)", run("check", path.name, cwd=tmp_path).out)
    assert len(advised) == 2
    for line in advised:
        assert run(*words_of(line), cwd=tmp_path).code == 0, line
    with vhdx.open(tmp_path / "SALVAGED.vhdx") as disk:
        assert disk.pread(disk.size, 0) == (tmp_path / "disk.raw").read_bytes()


def test_a_gpt_for_large_sectors_proposes_them(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(gpt_disk(16 * MIB, [(512, 1023)], 4096))
    path = _without_items(tmp_path, sector=4096)
    assert _proposed(path)["--logical-sector-size"] == 4096
    assert _proposed(path)["--virtual-size"] == 16 * MIB


def test_where_nothing_is_recognised_the_last_block_counts(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(pattern(1, 5 * MIB) + bytes(11 * MIB))
    path = _without_items(tmp_path)
    assert _proposed(path)["--virtual-size"] == 5 * MIB
    assert vhdx.check(path).lost[1].reason.endswith("the disk may be larger")


def test_what_was_told_is_advised_again(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(pattern(1, 5 * MIB) + bytes(11 * MIB))
    path = _without_items(tmp_path)
    told = run("check", "--virtual-size", "16M", path.name, cwd=tmp_path).out
    assert "convert --salvage --block-size 1048576 --virtual-size 16777216 --logical-sector-size 512" in told


@pytest.mark.parametrize("cut", [8, 512, 4096, 5000])
def test_a_table_that_the_file_cuts_is_looked_at_as_far_as_it_goes(cut: int, tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(pattern(1, 5 * MIB) + bytes(11 * MIB))
    path = _without_items(tmp_path)
    with path.open("r+b") as file:
        file.truncate(3 * MIB + cut)
    assert {lost.option for lost in vhdx.check(path).lost} >= {"--block-size", "--virtual-size"}


def test_sizes_that_no_disk_has_are_not_proposed(tmp_path: Path) -> None:
    disk = bytearray(gpt_disk(16 * MIB, [(2048, 4095)]))
    disk[512 + 32 : 512 + 40] = b"\xff" * 8  # where the backup stands; its checksum is wrong then
    disk[4 * MIB : 6 * MIB] = pattern(1, 2 * MIB)
    (tmp_path / "disk.raw").write_bytes(disk[: 8 * MIB])
    value = _proposed(_without_items(tmp_path))["--virtual-size"]
    assert value is not None
    assert value == 6 * MIB
