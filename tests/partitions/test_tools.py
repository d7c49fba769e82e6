"""What fdisk, sfdisk and sgdisk make is listed as they list it, and they find our tables sound."""

import json
import os
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

import vhdx
from tests.interop.programs import run
from tests.ops.make.making import write_raw
from tests.real.test_real_images import IMAGES, LISTED, unpack
from tests.support.layout import MIB
from tests.support.tools import needs
from vhdx.disk.open import open_any
from vhdx.disk.partitions import partition_table
from vhdx.partitions.relocate import minimum_size, relocated
from vhdx.partitions.table import PartitionTable

SFDISK = needs("sfdisk")
SGDISK = needs("sgdisk")

SMALL = [name for name, facts in LISTED.items() if facts["virtual_size"] <= 128 * MIB]

MBR_SCRIPT = """label: dos
label-id: 0xcafe1234
start=2048, size=8192, type=c, bootable
start=10240, size=100000, type=f
start=12288, size=20480, type=83
start=36864, size=4096, type=82
start=43008, type=7
start=112640, size=2048, type=ef
"""
GPT_SCRIPT = """label: gpt
label-id: 01234567-89AB-CDEF-0123-456789ABCDEF
start=2048, size=8192, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="EFI ünd more"
start=40960, size=8192, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name="zweite"
start=10240, size=20480, type=0657FD6D-A4AB-43C4-84E5-0933C84B4F4F
"""


def made_by_sfdisk(raw: Path, script: str) -> None:
    done = subprocess.run(["sfdisk", "-q", raw], input=script, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def listed_by_sfdisk(raw: Path) -> dict[str, Any]:
    listed = json.loads(run("sfdisk", "--json", raw))["partitiontable"]
    assert isinstance(listed, dict)
    return listed


def table_of(path: Path) -> PartitionTable:
    with open_any(str(path)) as disk:
        return partition_table(disk)


def assert_as_listed(table: PartitionTable, raw: Path) -> None:
    """Numbers, places, types, names, identities and flags are those of sfdisk."""
    listed = listed_by_sfdisk(raw)
    assert table.kind == {"dos": "mbr", "gpt": "gpt"}[listed["label"]]
    identity = listed["id"].removeprefix("0x").lower()
    assert table.disk_id == identity
    assert len(table.partitions) == len(listed["partitions"])
    for ours, theirs in zip(
        sorted(table.partitions, key=lambda p: p.number), listed["partitions"], strict=True
    ):
        assert str(ours.number) == theirs["node"].removeprefix(str(raw)).removeprefix("p")
        assert (ours.offset, ours.length) == (theirs["start"] * 512, theirs["size"] * 512)
        if table.kind == "gpt":
            assert ours.type == theirs["type"].lower()
            assert ours.unique_id == theirs["uuid"].lower()
            assert (ours.name or "") == theirs.get("name", "")
        else:
            assert int(ours.type, 16) == int(theirs["type"], 16)
            assert ours.bootable == theirs.get("bootable", False)


@SFDISK
@pytest.mark.parametrize("script", [MBR_SCRIPT, GPT_SCRIPT])
def test_tables_of_sfdisk(tmp_path: Path, script: str) -> None:
    raw = write_raw(tmp_path / "disk.raw", 64 * MIB)
    made_by_sfdisk(raw, script)
    table = table_of(raw)
    assert table.findings == ()
    assert_as_listed(table, raw)
    vhdx.convert(raw, tmp_path / "disk.vhdx")
    with vhdx.open(tmp_path / "disk.vhdx") as disk:
        assert disk.partitions() == table.partitions


@SGDISK
@SFDISK
def test_tables_of_sgdisk(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "disk.raw", 64 * MIB)
    run("sgdisk", "-n", "1:2048:+10M", "-n", "9:0:+5M", "-n", "3:0:0", "-t", "3:8e00", "-c", "3:drei", raw)
    table = table_of(raw)
    assert table.findings == ()
    assert [partition.number for partition in table.partitions] == [1, 3, 9]
    assert table.partitions[1].type_name == "Linux LVM"
    assert_as_listed(table, raw)


@SGDISK
def test_a_hybrid_of_sgdisk(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "disk.raw", 64 * MIB)
    run("sgdisk", "-n", "1:2048:+10M", "-n", "2:0:+5M", raw)
    run("sgdisk", "--hybrid=1", raw)
    table = table_of(raw)
    assert (table.kind, len(table.partitions)) == ("hybrid", 2)


@needs("fdisk")
def test_sectors_of_4096_by_fdisk(tmp_path: Path) -> None:
    """fdisk knows 4096-byte sectors of files, by its option."""
    raw = write_raw(tmp_path / "disk.raw", 64 * MIB)
    words = "g\nn\n1\n256\n+16M\nn\n2\n\n\nw\n"
    done = subprocess.run(
        ["fdisk", "-b", "4096", raw], input=words, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    table = table_of(raw)
    assert (table.kind, table.sector_size) == ("gpt", 4096)
    first = table.partitions[0]
    assert (first.offset, first.length) == (MIB, 16 * MIB)
    listed = run("fdisk", "-b", "4096", "-o", "start,sectors", "-l", raw).splitlines()[-2:]
    assert [tuple(map(int, line.split())) for line in listed] == [
        (p.offset // 4096, p.length // 4096) for p in table.partitions
    ]


@SFDISK
@SGDISK
@pytest.mark.parametrize("new_size", [40 * MIB, 64 * MIB - 4096, 64 * MIB + 512, 200 * MIB])
@pytest.mark.parametrize("damaged", [False, True])
def test_relocated_tables_are_sound(tmp_path: Path, new_size: int, damaged: bool) -> None:
    raw = write_raw(tmp_path / "disk.raw", 64 * MIB)
    made_by_sfdisk(raw, GPT_SCRIPT)
    before = listed_by_sfdisk(raw)
    if damaged:
        _write(raw, 600, b"\xff")
    table = table_of(raw)
    assert table.gpt is not None
    assert minimum_size(table) < new_size
    os.truncate(raw, max(new_size, 64 * MIB))
    for step in relocated(table.gpt, raw.read_bytes()[:512], new_size):
        _write(raw, step.disk_offset, step.data)
    os.truncate(raw, new_size)
    assert "No problems found" in run("sgdisk", "--verify", raw)
    assert "No errors detected" in run("sfdisk", "--verify", raw)
    after = listed_by_sfdisk(raw)
    assert after["partitions"] == before["partitions"]
    assert after["lastlba"] == new_size // 512 - 34
    assert after["id"] == before["id"]


@SFDISK
@SGDISK
def test_down_to_the_minimum(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "disk.raw", 64 * MIB)
    made_by_sfdisk(raw, GPT_SCRIPT)
    table = table_of(raw)
    assert table.gpt is not None
    size = minimum_size(table)
    for step in relocated(table.gpt, raw.read_bytes()[:512], size):
        _write(raw, step.disk_offset, step.data)
    os.truncate(raw, size)
    assert "No problems found" in run("sgdisk", "--verify", raw)
    with pytest.raises(ValueError, match=f"need {size} bytes"):
        relocated(table.gpt, bytes(512), size - 512)


def _write(raw: Path, offset: int, data: bytes) -> None:
    with open(raw, "r+b") as file:
        file.seek(offset)
        file.write(data)


@SFDISK
@pytest.mark.skipif(not LISTED, reason=f"there is no folder {IMAGES}")
@pytest.mark.parametrize("name", SMALL)
def test_real_images(tmp_path: Path, name: str) -> None:
    image = unpack(name, tmp_path)
    raw = tmp_path / "disk.raw"
    vhdx.convert(image, raw)
    with vhdx.open(image) as disk:
        table = disk.partition_table()
    if table.kind == "none":
        assert "does not contain a recognized partition table" in run("sfdisk", "--json", raw, code=1)
        return
    assert table.findings == ()
    assert_as_listed(table, raw)


def test_unique_ids_are_uuids_of_linux(tmp_path: Path) -> None:
    """A PARTUUID of an MBR is the disk's identity and the number, both in hexadecimal."""
    from .tables import gpt_disk, mbr_record  # noqa: PLC0415

    raw = write_raw(tmp_path / "a.raw", MIB, {0: mbr_record({3: (0x83, 63, 9)})})
    assert table_of(raw).partitions[0].unique_id == "1234abcd-04"
    raw = write_raw(tmp_path / "b.raw", MIB, {0: bytes(gpt_disk(MIB, [(40, 50)]))})
    assert table_of(raw).partitions[0].unique_id == str(uuid.UUID(int=1))
