"""Files of other programs are not taken for raw disks: their bytes are not those of the disk."""

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import USAGE, run
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


@pytest.mark.parametrize("length", [0, 3, 66])
def test_short_files_are_raw(tmp_path: Path, length: int) -> None:
    (tmp_path / "disk").write_bytes(b"QFI"[:length].ljust(length, b"\0"))
    done = run("map", "disk", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
