"""Images that do harm to whoever examines them cost a process, and a row."""

import os
import sys
from pathlib import Path

import pytest

import vhdx
import vhdx.fleet
from vhdx.fleet.options import FleetOptions
from vhdx.fleet.run import USUAL
from vhdx.units import MIB

from .estate import make
from .rows import differences

HOSTILE = """
from vhdx.ops import check, tree
def harm(path, *args, **options):
    if str(path).endswith("hostile.vhdx"):
        {harm}
    return real[0](path, *args, **options) if args or options else real[1](path)
real = check.check, tree.member_of
check.check = harm
"""
"""What every Python does first that finds it under the name of ``sitecustomize``."""
HARMS = {
    "memory": "bytearray(8 << 30)",
    "time": "__import__('time').sleep(60)",
    "worker-died": "__import__('os').kill(__import__('os').getpid(), 9)",
}


def test_the_same_rows(tmp_path: Path) -> None:
    estate = make(tmp_path / "estate", plain=1, broken_ones=4, chains=0, in_use=0)
    alone = list(vhdx.fleet.run([estate.folder], "check"))
    isolated = list(vhdx.fleet.run([estate.folder], "check", options=USUAL._replace(isolate=True)))
    assert differences(alone, isolated) == []


@pytest.mark.parametrize("code", HARMS)
def test_a_hostile_image_is_a_row(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is the real one, but for what one image does in it, which none can yet."""
    (tmp_path / "sitecustomize.py").write_text(HOSTILE.format(harm=HARMS[code]))
    for name in ("good.vhdx", "hostile.vhdx"):
        vhdx.create(tmp_path / name, "1M")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    options = FleetOptions(isolate=True, seconds=3 if code == "time" else 60, memory=1024 * MIB)
    rows = {Path(row["path"]).stem: row for row in vhdx.fleet.run([tmp_path], "check", options=options)}
    assert rows["good"]["result"] == "ok", rows["good"]["error"]
    assert (rows["hostile"]["result"], rows["hostile"]["error_code"]) == ("failed", code)


def test_little_memory_is_told(tmp_path: Path) -> None:
    vhdx.create(
        tmp_path / "a.vhdx", "1T", block_size=MIB
    )  # whose table has 8 MiB: what is there is not enough
    (row,) = vhdx.fleet.run([tmp_path], "check", options=USUAL._replace(isolate=True, memory=MIB))
    assert row["result"] == "failed"
    assert row["error_code"] in ("memory", "worker-died")
