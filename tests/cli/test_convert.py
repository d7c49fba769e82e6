"""``vhdx convert``: words in, words out. That contents survive is tested in ``tests/ops``."""

import shlex
import subprocess
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.tools import needs

from .running import COMMAND, NO_SUCH_FILE, USAGE, info, run, succeed

IMAGE = ImageBuilder(4 * MIB, MIB, blocks={1: Block(pattern(1, MIB)), 3: Block(b"x" * 512)})


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    IMAGE.write(tmp_path / "a.vhdx")
    return tmp_path


def test_what_it_says(folder: Path) -> None:
    done = run("convert", "a.vhdx", "a.raw", cwd=folder)
    assert (done.code, done.err) == (0, "")
    assert done.out == "a.raw: raw, 4 MiB, of which 1 MiB data; the file has 4 MiB\n"
    assert succeed("convert", "-v", "--force", "a.vhdx", "a.raw", cwd=folder) == (
        "a.raw: raw, 4 MiB (4194304 bytes), of which 1 MiB (1052672 bytes) data; "
        "the file has 4 MiB (4194304 bytes)\n"
    )
    assert (folder / "a.raw").read_bytes() == IMAGE.content()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--type", "fixed", "--block-size", "2M", "--log-size", "2M"),
        ("--logical-sector-size", "4096", "--physical-sector-size", "512"),
        ("--disk-id", str(UUID(int=9)), "--zero-blocks"),
    ],
)
def test_the_options_of_create(folder: Path, arguments: tuple[str, ...]) -> None:
    succeed("convert", folder / "a.vhdx", folder / "b.vhdx", *arguments)
    succeed("create", folder / "c.vhdx", "4M", *arguments)
    made, empty = info(folder / "b.vhdx"), info(folder / "c.vhdx")
    for key in ("disk_type", "logical_sector_size", "physical_sector_size", "log"):
        assert made[key] == empty[key], key
    assert (made["disk_id"] == str(UUID(int=9))) == ("--disk-id" in arguments)
    succeed("convert", folder / "b.vhdx", folder / "b.raw")
    assert (folder / "b.raw").read_bytes() == IMAGE.content()


def test_formats_can_be_said(folder: Path) -> None:
    (folder / "a.vhdx").rename(folder / "a.raw")
    done = run("convert", "a.raw", "b.raw", cwd=folder)
    assert done.code == USAGE
    assert "say -f raw or -f vhdx" in done.sentence
    succeed("convert", "-f", "vhdx", "a.raw", "b", "-O", "raw", cwd=folder)
    assert (folder / "b").read_bytes() == IMAGE.content()
    succeed("convert", "-f", "raw", "a.raw", "c", "-O", "raw", cwd=folder)
    assert (folder / "c").read_bytes() == (folder / "a.raw").read_bytes()


def test_the_source_is_no_target(folder: Path) -> None:
    done = run("convert", "a.vhdx", "./a.vhdx", "--force", cwd=folder)
    assert done.code == USAGE
    assert done.sentence == "./a.vhdx is the source or one of its parents"


def test_parents(folder: Path) -> None:
    (folder / "sub").mkdir()
    IMAGE.child("elsewhere.vhdx").write(folder / "sub" / "child.vhdx")
    child = folder / "sub" / "child.vhdx"
    done = run("convert", child, folder / "b.raw")
    assert done.code == 1
    assert f"elsewhere.vhdx: {NO_SUCH_FILE}" in done.err
    succeed("convert", child, folder / "b.raw", "--parent-dir", folder)
    assert (folder / "b.raw").read_bytes() == IMAGE.content()


@needs("qemu-img")
@pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vdi"])
def test_what_qemu_writes_is_told_how_to_write(kind: str, folder: Path) -> None:
    """The line that is told, run by a shell, makes a file that QEMU reads as the disk."""
    for words in (["it's.out", "-O", kind], [f"it's.{kind}"]):
        done = run("convert", "-f", "vhdx", "a.vhdx", *words, cwd=folder)
        assert done.code == USAGE
        said = done.sentence
        assert said.startswith(f"{kind} is written by QEMU; try: vhdx serve -f vhdx a.vhdx --run ")
        line = f"{shlex.join(COMMAND)} {said.split('try: vhdx ')[1]}"
        subprocess.run(["sh", "-c", line], cwd=folder, check=True)
        raw = ["qemu-img", "convert", "-f", kind, "-O", "raw", words[0], "x.raw"]
        subprocess.run(raw, cwd=folder, check=True)
        assert (folder / "x.raw").read_bytes() == IMAGE.content()


def test_no_line_that_is_told_has_a_secret_in_it(folder: Path) -> None:
    url = "https://mine.blob.core.windows.net/disks/a.vhdx?sig=hunter2"
    done = run("convert", url, "x.qcow2", cwd=folder)
    assert "make a VHDX of https://mine.blob.core.windows.net/disks/a.vhdx first" in done.sentence
    assert "hunter2" not in done.sentence
    assert "say the name of one" in (told := run("convert", "a.vhdx", url, "-O", "vmdk", cwd=folder).sentence)
    assert "hunter2" not in told
    for words in (
        ("upload", "a.vhdx", "s3://me:hunter2@disks/a.vhd"),
        ("convert", "a.vhdx", "nbd://me:hunter2@host/a"),
        ("convert", "nbds://me:hunter2@host/a", "b.vhdx"),
        ("convert", "a.vhdx", "az://me:hunter2@disks"),
    ):
        done = run(*words, cwd=folder)
        assert (done.code, "hunter2" in done.err) == (USAGE, False), words


def test_standard_input_is_no_way_to_qemu(folder: Path) -> None:
    assert (
        "make a VHDX of standard input first" in run("convert", "-", "x.qcow2", cwd=folder, input="").sentence
    )
