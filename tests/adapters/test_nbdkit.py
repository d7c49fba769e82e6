"""The nbdkit plugin with real clients: what they write is in the image, what they ask is answered."""

import json
import os
import subprocess
from pathlib import Path

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.patterns import pattern
from tests.support.tools import needs
from tests.write.checking import is_clean, qemu_check
from vhdx.adapters import nbdkit_plugin

from .plugin import PLUGIN, environment

pytestmark = [PLUGIN, needs("nbdkit", "nbdinfo", "nbdcopy", "qemu-io")]
SIZE = 16 * MIB


def nbdkit(*parameters: str, client: str, code: int = 0) -> str:
    """Serve with these parameters while a client runs; everything that was printed."""
    command = ["nbdkit", "-U", "-", "python", nbdkit_plugin.__file__, *parameters, "--run", client]
    done = subprocess.run(
        command, env={**os.environ, **environment()}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    vhdx.create(tmp_path / "a.vhdx", SIZE, block_size=MIB)
    return tmp_path / "a.vhdx"


def test_everything_that_clients_write(path: Path, tmp_path: Path) -> None:
    content = bytearray(SIZE)
    content[MIB : 3 * MIB + 512] = pattern(1, 2 * MIB + 512)
    (tmp_path / "in.raw").write_bytes(content)
    steps = ["write -P 7 5M 2M", "write -z -u 5M 1M", "write -z 6M 1k", "discard 1M 1M", "flush"]
    nbdkit(
        f"image={path}",
        "write=yes",
        client=f'nbdcopy {tmp_path}/in.raw "$uri" && qemu-io -f raw "$uri" '
        + " ".join(f"-c '{step}'" for step in steps),
    )
    content[5 * MIB : 7 * MIB] = bytes(MIB + 1024) + b"\7" * (MIB - 1024)
    content[MIB : 2 * MIB] = bytes(MIB)
    with vhdx.open(path) as disk:
        assert disk.pread(SIZE, 0) == bytes(content)
        assert next(disk.extents(offset=5 * MIB)).file_offset is None
    assert is_clean(path)
    qemu_check(path)


def test_the_map_and_what_is_announced(path: Path) -> None:
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(b"x", MIB)
        disk.zero(length=MIB, offset=2 * MIB)
    found = json.loads(nbdkit(f"image={path}", client='nbdinfo --map --json "$uri"'))
    assert [(run["offset"], run["length"], run["type"]) for run in found] == [
        (0, MIB, 3),
        (MIB, MIB, 0),
        (2 * MIB, 14 * MIB, 3),
    ]
    (export,) = json.loads(nbdkit(f"image={path}", client='nbdinfo --json "$uri"'))["exports"]
    assert (export["is_read_only"], export["can_multi_conn"]) == (True, True)
    (export,) = json.loads(nbdkit(f"image={path}", "write=yes", client='nbdinfo --json "$uri"'))["exports"]
    assert {export[f"can_{what}"] for what in ("flush", "fua", "trim", "zero", "fast_zero")} == {True}


def test_reading_only_refuses_writes(path: Path) -> None:
    before = path.read_bytes()
    said = nbdkit(f"image={path}", client="qemu-io -f raw \"$uri\" -c 'write 0 512'", code=1)
    assert "ead-only" in said or "ermission" in said
    assert path.read_bytes() == before


def test_a_partition_and_a_parent(tmp_path: Path, path: Path) -> None:
    vhdx.create(tmp_path / "child.vhdx", parent=path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = path.rename(elsewhere / "b.vhdx")
    client = 'nbdinfo --size "$uri"'
    assert nbdkit(f"image={tmp_path}/child.vhdx", f"parents={moved}", client=client).strip() == str(SIZE)
    assert "parent" in nbdkit(f"image={tmp_path}/child.vhdx", client=client, code=1)
    assert "there is no partition 1" in nbdkit(f"image={moved}", "partition=1", client=client, code=1)


@pytest.mark.parametrize("parameters", [[], ["image=x", "write=maybe"], ["image=x", "size=1"]])
def test_wrong_parameters(parameters: list[str]) -> None:
    assert "ValueError" in nbdkit(*parameters, client="true", code=1)
