"""The hash of what disks hold, beside sha256sum of the same disk as a raw file."""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import get_args

import pytest

import vhdx
from tests.chains.making import own_block
from tests.chains.test_diff import chain
from tests.cli.running import USAGE, run, succeed
from tests.docs.scenes import partitioned
from tests.support.layout import FULLY_PRESENT, MIB, PARTIALLY_PRESENT
from tests.support.patterns import pattern
from vhdx.cli import cmd_hash
from vhdx.ops.hash import Algorithm

SIZE = 6 * MIB


@pytest.fixture(name="raw")
def _raw(tmp_path: Path) -> Path:
    """A disk with holes between what is neither whole blocks nor whole MiB."""
    with open(tmp_path / "a.raw", "wb") as file:
        for offset, length in ((512, 1024), (MIB + 4096, 2 * MIB), (SIZE - 512, 512)):
            file.seek(offset)
            file.write(pattern(1, length, offset))
    return tmp_path / "a.raw"


def of_host(path: Path, program: str = "sha256sum") -> str:
    done = subprocess.run([program, path], capture_output=True, text=True, check=True)
    return done.stdout.split()[0]


def test_every_format_has_the_hash_of_the_raw_file(raw: Path, tmp_path: Path) -> None:
    vhdx.convert(raw, tmp_path / "a.vhdx", options=vhdx.ImageOptions(block_size=MIB))
    vhdx.convert(raw, tmp_path / "a.vhd")
    vhdx.convert(raw, tmp_path / "dynamic.vhd", options=vhdx.ImageOptions(disk_type="dynamic"))
    vhdx.create(tmp_path / "child.avhdx", parent=tmp_path / "a.vhdx")
    names = ("a.raw", "a.vhdx", "a.vhd", "dynamic.vhd", "child.avhdx")
    expected = of_host(raw)
    assert {vhdx.content_hash(tmp_path / name).digest for name in names} == {expected}
    assert succeed("hash", *names, cwd=tmp_path) == "".join(f"{expected}  {name}\n" for name in names)
    checked = subprocess.run(
        ["sha256sum", "-c", "-"],
        input=f"{expected}  a.raw\n",
        text=True,
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    assert checked.stdout == "a.raw: OK\n"


def test_a_chain_is_hashed_as_it_reads(tmp_path: Path) -> None:
    blocks = {
        0: own_block(0, PARTIALLY_PRESENT, range(3, 900)),
        4: own_block(4, FULLY_PRESENT, ()),
    }
    child = chain(tmp_path, blocks)[0]
    vhdx.convert(child, tmp_path / "flat.raw")
    assert vhdx.content_hash(child).digest == of_host(tmp_path / "flat.raw")


def test_holes_are_not_read(tmp_path: Path) -> None:
    vhdx.create(tmp_path / "vm.vhdx", SIZE)
    seen = list[tuple[int, int | None]]()
    found = vhdx.content_hash(
        tmp_path / "vm.vhdx", "blake2b", progress=lambda done, total: seen.append((done, total))
    )
    assert found.digest == hashlib.blake2b(bytes(SIZE)).hexdigest()
    assert seen == [(done * MIB, SIZE) for done in range(1, 7)]


def test_a_partition_and_a_volume(tmp_path: Path) -> None:
    partitioned(tmp_path)
    image = tmp_path / "vm.vhdx"
    with vhdx.open(image) as disk:
        part = disk.partition(1)
        expected = hashlib.sha256(part.pread(part.size, 0)).hexdigest()
    found = json.loads(succeed("hash", image, "--partition", "1", "--json"))
    assert (found["digest"], found["hashed_size"], found["partition"]) == (expected, part.size, 1)
    assert found["virtual_size"] > found["hashed_size"]
    assert run("hash", image, "--partition", "9").err == "vhdx: there is no partition 9; the disk has 1, 2\n"
    assert run("hash", image, "--volume", "root").code == USAGE
    assert run("hash", image, "--volume", "root", "--partition", "1").code == USAGE
    with pytest.raises(ValueError, match="not both"):
        vhdx.content_hash(image, partition=1, volume="root")


def test_what_fails_has_a_line_too(raw: Path) -> None:
    done = run("hash", "gone.vhdx", raw)
    assert (done.code, done.out) == (1, f"-  gone.vhdx\n{of_host(raw)}  {raw}\n")
    assert done.err == "vhdx: gone.vhdx: No such file or directory\n"


def test_the_last_sector_of_a_raw_disk_is_filled_up(tmp_path: Path) -> None:
    (tmp_path / "odd.raw").write_bytes(b"x" * 1000)
    assert (
        vhdx.content_hash(tmp_path / "odd.raw").digest == hashlib.sha256(b"x" * 1000 + bytes(24)).hexdigest()
    )


def test_algorithms(raw: Path) -> None:
    assert get_args(Algorithm) == cmd_hash._ALGORITHMS
    for algorithm in get_args(Algorithm):
        expected = hashlib.new(algorithm, raw.read_bytes()).hexdigest()
        assert vhdx.content_hash(raw, algorithm).digest == expected
    with pytest.raises(ValueError, match="'crc32' is none of md5, "):
        vhdx.content_hash(raw, "crc32")  # type: ignore[arg-type]
