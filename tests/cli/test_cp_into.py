"""`vhdx cp` into an image."""

import json
import os
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import USAGE, run, succeed
from tests.docs.schema import SCHEMA, complaints
from tests.files.test_volumes import ext4_with, gpt_of
from tests.filesystems.inserting import check, made


@pytest.fixture
def esp(tmp_path: Path) -> Path:
    """A disk with an EFI system partition beside an ext4."""
    return gpt_of(tmp_path, made("FAT32", tmp_path), ext4_with(tmp_path, "root", "root", fstab="x"))


def fat_of(image: Path) -> Path:
    raw = image.with_suffix(".part")
    succeed("convert", "--partition", "1", "--target-format", "raw", image, raw)
    return raw


def test_into_the_only_fat_of_a_disk(esp: Path, tmp_path: Path) -> None:
    tree = tmp_path / "EFI"
    (tree / "BOOT").mkdir(parents=True)
    (tree / "BOOT" / "BOOTX64.EFI").write_text("MZ" * 5000)
    succeed("cp", "-R", tree, f"{esp}:/")
    assert succeed("cat", f"{esp}:/efi/boot/bootx64.efi") == "MZ" * 5000
    check(fat_of(esp))
    succeed("check", esp)


def test_json_tells_what_was_copied_and_what_was_not(esp: Path, tmp_path: Path) -> None:
    """Both ways; standard error has nothing then."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"x" * 5000)
    os.symlink("file", tree / "link")
    done = run("cp", "-R", tree, f"{esp}:/", "--json")
    into = json.loads(done.out)
    assert (done.code, done.err) == (1, "")
    assert "neither a file nor a directory" in into["remarks"][0]
    (copied,) = into["result"]
    assert copied == {
        "path": str(esp),
        "format": "vhdx",
        "virtual_size": vhdx.info(esp).virtual_size,
        "volume": "partition 1",
        "guest_path": "/",
        "files": 1,
        "directories": 1,
        "others": 0,
        "copied_size": 5000,
        "left_out": 1,
    }
    (tmp_path / "out" / "tree").mkdir(parents=True)
    (tmp_path / "out" / "tree" / "file").write_bytes(b"mine")
    done = run("cp", "-R", f"{esp}:/tree", f"{esp}:/fstab", tmp_path / "out", "--json")
    out = json.loads(done.out)
    assert (done.code, done.err) == (1, "")
    assert "exists already" in out["remarks"][0]
    counts = [
        (each["volume"], each["files"], each["copied_size"], each["left_out"]) for each in out["result"]
    ]
    assert counts == [("partition 1", 0, 0, 1), ("partition 2", 1, 1, 0)]
    for printed in (into, out):
        assert complaints(printed, SCHEMA.prints["cp"], SCHEMA) == []
    assert (tmp_path / "out" / "tree" / "file").read_bytes() == b"mine"


def test_usage(esp: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    assert run("cp", f"{esp}:/a", f"{esp}:/b").code == USAGE
    assert run("cp", "--force-share", file, f"{esp}:/b").code == USAGE
    assert "is a directory; -R" in run("cp", tmp_path, f"{esp}:/").err
    succeed("cp", file, f"{esp}:/")
    done = run("cp", file, f"{esp}:/FILE")
    assert (done.code, "--force replaces it" in done.err) == (1, True)
    succeed("cp", "--force", file, f"{esp}:/FILE")
    assert "choose" not in run("cp", file, f"{esp}:/other").err
    assert "debugfs" in run("cp", "--partition", "2", file, f"{esp}:/other").err


def test_through_a_chain(esp: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"in the child")
    child = tmp_path / "child.avhdx"
    vhdx.create(child, parent=esp)
    before = esp.read_bytes()
    assert "would take their parent from" in run("cp", file, f"{esp}:/").err
    succeed("cp", file, f"{child}:/")
    assert esp.read_bytes() == before
    assert succeed("cat", f"{child}:/file") == "in the child"
    assert run("cat", f"{esp}:/file").code == 1
