"""Files of other programs are not taken for raw disks: their bytes are not those of the disk."""

import gzip
import lzma
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import USAGE, Ran, run
from tests.format.test_foreign import KINDS
from tests.interop.programs import run as run_program
from tests.support.layout import MIB
from tests.support.patterns import pattern
from tests.support.tools import needs


@needs("qemu-img")
@pytest.mark.parametrize(("kind", "name"), [("qcow2", "qcow2"), ("vmdk", "VMDK"), ("vdi", "VDI")])
@pytest.mark.parametrize("suffix", ["", ".img", ".raw"])
def test_images_of_other_programs(tmp_path: Path, kind: str, name: str, suffix: str) -> None:
    path = tmp_path / f"disk{suffix}"
    run_program("qemu-img", "create", "-q", "-f", kind, path, "10M")
    with pytest.raises(ValueError, match=f"is a {name}.*make a raw disk"):
        vhdx.open(path, salvage=True)
    with pytest.raises(ValueError, match=f"is a {name}.*make a raw disk"):
        vhdx.convert(path, tmp_path / "new.vhdx")
    assert not (tmp_path / "new.vhdx").exists()


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_compressed_disks(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    (tmp_path / "disk.raw").write_bytes(pack(bytes(MIB)))
    for verb in (("convert", "disk.raw", "new.vhdx"), ("measure", "disk.raw"), ("map", "disk.raw")):
        done = run(*verb, cwd=tmp_path)
        assert done.code == USAGE
        assert "compressed, which is not read here" in done.sentence


def test_who_says_raw_gets_the_bytes(tmp_path: Path) -> None:
    content = b"QFI\xfb" + pattern(1, MIB - 4)
    (tmp_path / "disk").write_bytes(content)
    vhdx.convert(tmp_path / "disk", tmp_path / "new.vhdx", source_format="raw")
    with vhdx.open(tmp_path / "new.vhdx") as disk:
        assert disk.pread(MIB, 0) == content


@pytest.mark.parametrize("length", [3, 66])
def test_short_files_are_raw(tmp_path: Path, length: int) -> None:
    (tmp_path / "disk").write_bytes(b"QFI"[:length].ljust(length, b"\0"))
    done = run("map", "disk", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")


VERBS = {
    "convert {} new.vhdx": "x.raw",
    "convert -f raw -O raw {} new.raw": None,
    "convert {} other.vhdx": "x",
    "convert {} third.vhdx": "x.vhdx",
    "convert {} fourth.vhdx": "x.vhd",
    "convert -f vhd {} fifth.vhdx": "x.vhd",
    "convert -f vhdx {} sixth.vhdx": "x.vhdx",
    "measure {}": "x.img",
    "compare {} {}": "x.vhdx",
    "map {}": "x",
    "info {}": "x.vhdx",
    "check {}": "x.vhdx",
    "repair {}": "x.vhdx",
    "log {}": "x.vhdx",
    "read {} 0 1": "x.vhdx",
    "write {} 0": "x.vhdx",
    "compact {}": "x.vhdx",
    "merge {}": "x.vhdx",
    "resize {} 1M": "x.vhdx",
    "metadata list {}": "x.vhdx",
    "serve --socket s {}": "x.vhdx",
    "diff {}": "x.vhdx",
    "rebase {} --parent x.vhdx": "x.vhdx",
    "create --parent {} child.vhdx": "x.vhdx",
}
"""Lines, and the name that the file has; None where its bytes are asked for."""


def what_is_said(line: str, name: str | None, data: bytes, folder: Path) -> Ran:
    path = folder / (name or "x.raw")
    path.write_bytes(data)
    done = run(*line.format(path, path).split(), cwd=folder, input="")
    path.unlink()
    return done


@pytest.mark.parametrize(("line", "name"), VERBS.items())
def test_every_verb_says_what_a_file_is(tmp_path: Path, line: str, name: str | None) -> None:
    data, words = KINDS["zip"]
    done = what_is_said(line, name, data, tmp_path)
    assert (done.code == 0) == (name is None)
    assert name is None or words in done.err + done.out


@pytest.mark.parametrize("kind", ["tar of GNU", "page", "pointer"])
def test_every_kind_is_named(tmp_path: Path, kind: str) -> None:
    data, words = KINDS[kind]
    done = what_is_said(
        "info {}", "x.vhdx", data.ljust(2 * 65536 if kind == "tar of GNU" else 0, b"\0"), tmp_path
    )
    assert done.code != 0
    assert words in done.err + done.out


@pytest.mark.parametrize(("kind", "through"), [("zip", "file"), ("page", "pipe"), ("7z", "pipe")])
def test_standard_input(tmp_path: Path, kind: str, through: str) -> None:
    data, words = KINDS[kind]
    (tmp_path / "x").write_bytes(data)
    command = 'vhdx() { $PYTHON -m vhdx "$@"; }; ' + (
        "vhdx convert - new.vhdx < x" if through == "file" else "cat x | vhdx convert - new.vhdx"
    )
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == USAGE
    assert f"standard input is {words}" in done.stderr
    assert os.listdir(tmp_path) == ["x"]


def test_zeros_are_a_raw_disk_and_no_image(tmp_path: Path) -> None:
    for name in ("x.raw", "x", "x.vhdx", "x.vhd"):
        (tmp_path / name).write_bytes(bytes(MIB))
    assert run("convert", "x.raw", "a.vhdx", cwd=tmp_path).code == 0
    assert run("convert", "x", "b.vhdx", cwd=tmp_path).code == 0
    for line in (
        *("convert x.vhdx c.vhdx", "convert x.vhd c.vhdx", "convert -f vhd x.vhd c.vhdx", "info x.vhdx"),
        *("check x.vhdx", "repair x.vhdx", "measure x.vhdx", "info x.vhd"),
    ):
        done = run(*line.split(), cwd=tmp_path)
        assert done.code != 0
        assert "nothing but zeros at its beginning" in done.err + done.out, line
