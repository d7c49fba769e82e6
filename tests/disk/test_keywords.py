"""`zero` and `trim` take their range by name: two numbers that are swapped would be a legal range, too."""

from pathlib import Path
from typing import Any

import pytest

import vhdx
from tests.cli.running import USAGE, run
from tests.support.layout import MIB
from tests.support.vhd import FIXED, VhdBuilder
from vhdx.disk.open import open_any
from vhdx.disk.slice import SliceDisk

KINDS = ("vhdx", "raw", "slice", "vhd")


def opened(kind: str, folder: Path) -> Any:
    path = folder / f"a.{'vhdx' if kind == 'slice' else kind}"
    if kind == "vhd":
        VhdBuilder(2 * MIB, FIXED).write(path)
        return open_any(str(path))
    if kind == "raw":
        path.write_bytes(b"x" * 2 * MIB)
    else:
        vhdx.create(path, 2 * MIB, block_size=MIB)
    disk = open_any(str(path), mode="r+")
    return SliceDisk(disk, 0, MIB) if kind == "slice" else disk


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("verb", ["zero", "trim"])
def test_positions_are_refused_with_the_right_call(tmp_path: Path, kind: str, verb: str) -> None:
    disk = opened(kind, tmp_path)
    with disk:
        for arguments, named in (((512, 0), {}), ((512,), {"offset": 0}), ((512,), {})):
            with pytest.raises(TypeError) as caught:
                getattr(disk, verb)(*arguments, **named)
            assert str(caught.value) == f"{verb}() takes its range by name: {verb}(length=..., offset=...)"


@pytest.mark.parametrize("kind", ["vhdx", "raw", "slice"])
@pytest.mark.parametrize("verb", ["zero", "trim"])
def test_an_empty_range_is_refused(tmp_path: Path, kind: str, verb: str) -> None:
    with opened(kind, tmp_path) as disk:
        for offset in (0, 512, disk.size):
            with pytest.raises(ValueError, match="is empty: its length must be more than 0"):
                getattr(disk, verb)(length=0, offset=offset)
        getattr(disk, verb)(length=512, offset=512)
        assert disk.pread(512, 512) == bytes(512)


@pytest.mark.parametrize("verb", ["zero", "trim"])
def test_the_command_refuses_it_too(tmp_path: Path, verb: str) -> None:
    vhdx.create(tmp_path / "a.vhdx", "1M")
    done = run(verb, tmp_path / "a.vhdx", "512", "0")
    assert done.code == USAGE
    assert "is empty" in done.sentence
