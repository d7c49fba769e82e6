"""The same files wherever a file system stands: chains, dirty logs, 4096-byte sectors, LVM, behind a URL."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import COMMAND, succeed
from tests.files.second_reader import tsk_hashes
from tests.filesystems.inserting import host_hashes, made, plant, put
from tests.filesystems.making import MIB, need, raw_file, run
from tests.filesystems.noise import loop_device
from tests.filesystems.test_lvm import EXTENT, GROUP, START, group, segment, volume
from tests.remote.server import serving
from tests.support.tools import needs
from vhdx import remote
from vhdx.disk.base import VirtualDisk
from vhdx.disk.open import open_any
from vhdx.files.volume import chosen
from vhdx.ops.files.opening import split
from vhdx.ops.log import open_log
from vhdx.ops.make.formatting import Formatting

SIZE = 16 * MIB


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of the host."""
    return plant(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def raw(tree: Path) -> Path:
    """An ext4 with the tree in it."""
    need("mkfs.ext4")
    image = raw_file(tree.with_name("ext4.raw"), SIZE)
    run("mkfs.ext4", "-q", "-d", tree, image)
    return image


def hashes(disk: VirtualDisk, **which: str) -> dict[str, str]:
    """The SHA-256 of every file."""
    told: list[str] = []
    found = chosen(disk, tell=told.append, **which)  # type: ignore[arg-type]
    result = {}
    for step in found.steps(found.tree.root):
        if step.entry.kind.value == "file":
            content = found.tree.content(step.entry)
            result["/".join(step.parts)] = hashlib.sha256(content.pread(content.size, 0)).hexdigest()
    assert not told
    return result


def files_of(tree: Path) -> dict[str, str]:
    return {name: value for name, value in host_hashes(tree).items() if value}


def test_a_second_reader_agrees(tree: Path, raw: Path, tmp_path: Path) -> None:
    with open_any(str(raw), image_format="raw") as disk:
        assert hashes(disk) == tsk_hashes(disk) == files_of(tree)
    for kind in ("FAT16", "FAT32"):
        image = made(kind, tmp_path)
        put(image, [tree], "/", recursive=True)
        with open_any(str(image), image_format="raw") as disk:
            found, second = hashes(disk), tsk_hashes(disk)
            assert found == {f"tree0/{name}": value for name, value in files_of(tree).items()}
            assert {name: second[name] for name in second if name in found} == {
                name: found[name]
                for name in found
                if "LLL" not in name  # too long for the second one
            }


def test_a_chain(tree: Path, raw: Path, tmp_path: Path) -> None:
    """The parent has the tree, the child a file more; most of what is read comes from both."""
    need("debugfs")
    parent, child, changed = tmp_path / "parent.vhdx", tmp_path / "child.avhdx", tmp_path / "changed.raw"
    vhdx.convert(raw, parent)
    vhdx.create(child, parent=parent)
    changed.write_bytes(raw.read_bytes())
    extra = tmp_path / "extra"
    extra.write_bytes(b"more" * 5000)
    run("debugfs", "-w", "-R", f"write {extra} extra", changed)
    before, after = raw.read_bytes(), changed.read_bytes()
    with vhdx.open(child, "r+") as disk:
        for offset in range(0, SIZE, 512):
            if before[offset : offset + 512] != after[offset : offset + 512]:
                disk.pwrite(after[offset : offset + 512], offset)
    with vhdx.open(child) as disk:
        expected = {**files_of(tree), "extra": hashlib.sha256(b"more" * 5000).hexdigest()}
        assert hashes(disk) == tsk_hashes(disk) == expected
    with vhdx.open(parent) as disk:
        assert hashes(disk) == files_of(tree)


def test_a_dirty_log(tree: Path, raw: Path, tmp_path: Path) -> None:
    """Where the bytes of files stand only the log knows."""
    image = tmp_path / "a.vhdx"
    vhdx.create(image, SIZE, block_size=MIB)
    program = (
        "import os, vhdx; disk = vhdx.open('a.vhdx', 'r+'); "
        f"disk.pwrite(open({str(raw)!r}, 'rb').read(), 0); disk.flush(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    with open_log(str(image)) as log:
        assert log.state == "dirty"
    before = image.read_bytes()
    with vhdx.open(image) as disk:
        assert hashes(disk) == files_of(tree)
    assert image.read_bytes() == before


def test_sectors_of_4096_bytes(tree: Path, tmp_path: Path) -> None:
    image = tmp_path / "a.vhdx"
    need("mkfs.ext4")
    vhdx.create(
        image, "32MiB", logical_sector_size=4096, formatting=Formatting("ext4", "gpt", None, str(tree))
    )
    with vhdx.open(image) as disk:
        assert hashes(disk) == tsk_hashes(disk, MIB) == files_of(tree)


@needs("pvcreate", "vgcreate", "vgcfgbackup", "vgcfgrestore", "pvs")
def test_a_logical_volume(tree: Path, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In two pieces, the second one before the first."""
    if os.geteuid():
        pytest.skip("only root makes volume groups")
    monkeypatch.setenv("LVM_SYSTEM_DIR", str(tmp_path))
    image, half = raw_file(tmp_path / "pv.raw", 2 * SIZE), SIZE // EXTENT // 2
    with loop_device(image) as device:
        pieces = segment(0, half, ("pv0", half + 1)), segment(half, half, ("pv0", 0))
        group([str(device)], tmp_path, volume("root", *pieces))
    data = raw.read_bytes()
    with open(image, "r+b") as file:
        for place, start in ((half + 1, 0), (0, half)):
            file.seek(START + place * EXTENT)
            file.write(data[start * EXTENT : (start + half) * EXTENT])
    with open_any(str(image), image_format="raw") as disk:
        assert hashes(disk, volume=f"{GROUP}/root") == files_of(tree)


def test_behind_a_url(tree: Path, raw: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="needs the extra vhdx[remote]")
    image = tmp_path / "a.vhdx"
    vhdx.convert(raw, image)
    with serving({"/a.vhdx": image.read_bytes()}) as server, remote.open(f"{server.url}/a.vhdx") as disk:
        assert chosen(disk).open("/one/two/lower.txt").read() == (tree / "one/two/lower.txt").read_bytes()
        assert server.sent < image.stat().st_size / 2


@pytest.mark.parametrize(
    ("words", "image", "path"),
    [
        ("https://host:8000/a/b.vhdx:/etc/fstab", "https://host:8000/a/b.vhdx", "/etc/fstab"),
        (r"s3://bucket/b.vhdx:C:\Users", "s3://bucket/b.vhdx", r"C:\Users"),
        ("https://host/b.vhdx", "https://host/b.vhdx", None),
    ],
)
def test_places_behind_urls(words: str, image: str, path: str | None) -> None:
    assert split(words) == (image, path)


def test_cat_and_cp_from_a_url(tree: Path, raw: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="needs the extra vhdx[remote]")
    image = tmp_path / "a.vhdx"
    vhdx.convert(raw, image)
    with serving({"/a.vhdx": image.read_bytes()}) as server:
        place = f"{server.url}/a.vhdx:/one/two/lower.txt"
        printed = subprocess.run([*COMMAND, "cat", place], capture_output=True, check=True).stdout
        assert printed == (tree / "one/two/lower.txt").read_bytes()
        succeed("cp", place, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (tree / "one/two/lower.txt").read_bytes()
