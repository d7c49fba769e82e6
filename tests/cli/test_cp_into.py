"""`vhdx cp` into an image."""

from pathlib import Path

import pytest

import vhdx
from tests.cli.running import USAGE, run, succeed
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
