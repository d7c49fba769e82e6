"""Files of guests by URL, through fsspec, as other programs ask for them."""

import tomllib
from pathlib import Path

import fsspec
import pytest
from fsspec.registry import get_filesystem_class

from tests.docs.scenes import guest
from vhdx.files.specs import VhdxFileSystem


@pytest.fixture(autouse=True)
def registered() -> None:
    """As the entry point does where this project is installed anew."""
    fsspec.register_implementation("vhdx", VhdxFileSystem, clobber=True)


def test_the_entry_point_names_the_class() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["fsspec.specs"]["vhdx"].partition(":")
    assert (module, name) == (VhdxFileSystem.__module__, VhdxFileSystem.__name__)


def test_by_url(tmp_path: Path) -> None:
    guest(tmp_path)
    image = f"file://{tmp_path}/ext4.vhdx"
    with fsspec.open(f"vhdx://home/me/latest::{image}", "rt") as file:
        assert file.read() == "remember the milk\n"
    fs, path = fsspec.core.url_to_fs(f"vhdx://home/me::{image}")
    assert sorted(fs.ls(path, detail=False)) == ["home/me/latest", "home/me/notes.txt", "home/me/photos"]
    assert fs.find("home") == ["home/me/latest", "home/me/notes.txt", "home/me/photos/cat.jpg"]
    assert fs.info("home/me/photos/cat.jpg")["size"] == 300_000
    assert fs.isdir("home/me")
    assert not fs.exists("home/nobody")
    assert fs.glob("home/**/*.txt") == ["home/me/notes.txt"]
    with pytest.raises(OSError, match="only read"):
        fs.open("home/me/new", "wb")
    with pytest.raises(IsADirectoryError):
        fs.open("home")


def test_an_image_that_fsspec_opens(tmp_path: Path) -> None:
    guest(tmp_path)
    memory = fsspec.filesystem("memory")
    memory.pipe("/disk.vhdx", (tmp_path / "ext4.vhdx").read_bytes())
    with fsspec.open("vhdx://etc/fstab::memory://disk.vhdx") as file:
        assert file.read().startswith(b"LABEL=root")


def test_without_an_image() -> None:
    with pytest.raises(ValueError, match="names no image"):
        get_filesystem_class("vhdx")()
