"""A guest's files as a directory: what programs see there, and how it ends."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import USAGE, run, succeed
from tests.files.test_kinds import statuses
from tests.files.trees import at_work, made, plant
from tests.filesystems.making import run as ran
from tests.ops.files.guest import Guest, Node
from tests.support.tools import needs
from vhdx.disk.open import open_any
from vhdx.files.base import Kind
from vhdx.files.volume import volumes
from vhdx.mount.files import FilesDirectory

from .mounting import FUSE, is_mounted, mounted, process_of, wait_for_end

pytestmark = FUSE


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A VHDX with a tree in ext4, and a copy of the tree on the host."""
    folder = tmp_path_factory.mktemp("guest")
    raw = made("ext4", folder)
    with at_work(raw, "ext4") as root:
        plant(root, "ext4")
        os.rmdir(root / "lost+found")
        ran("cp", "-a", root, folder / "same")
    vhdx.convert(raw, folder / "disk.vhdx")
    return folder / "disk.vhdx", folder / "same"


def test_programs_find_all_of_it(guest: tuple[Path, Path]) -> None:
    image, same = guest
    before = image.read_bytes()
    with mounted(image, "--files") as point:
        found, expected = (own_statuses(each) for each in (point, same))
        assert found == expected
        sums = ran("sh", "-c", f"cd '{same}' && find . -type f -exec sha256sum {{}} +")
        ran("sh", "-c", f"cd '{point}' && sha256sum -c --quiet", text=sums)
        for path in same.rglob("*"):
            if not path.is_symlink() and path.is_file():
                twin = point / path.relative_to(same)
                assert {name: os.getxattr(twin, name) for name in os.listxattr(twin)} == {
                    name: os.getxattr(path, name) for name in os.listxattr(path)
                }
        with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
            (point / "new").write_text("x")
    assert not is_mounted(point)
    assert image.read_bytes() == before


def own_statuses(root: Path) -> dict[str, tuple[object, ...]]:
    """Without times of change and numbers of inodes, which each file system has of its own."""
    return {name: values[:6] + values[8:] for name, values in statuses(root).items()}


@needs("rsync")
def test_rsync_copies_it(guest: tuple[Path, Path], tmp_path: Path) -> None:
    image, same = guest
    with mounted(image, "--files") as point:
        ran("rsync", "-aHXS", f"{point}/", tmp_path / "copied")
        assert ran("rsync", "-aHXn", "--checksum", "--itemize-changes", f"{same}/", tmp_path / "copied") == ""


def test_one_of_several_volumes_and_words(guest: tuple[Path, Path], tmp_path: Path) -> None:
    image, _ = guest
    point = tmp_path / "mnt"
    point.mkdir()
    assert run("mount", "--files", "--write", image, point).code == USAGE
    assert run("mount", "--volume", "x", image, point).code == USAGE
    done = run("mount", "--files", "--volume", "no such", image, point)
    assert (done.code, "there is no volume" in done.err) == (1, True)
    assert not is_mounted(point)
    succeed("mount", "--files", image, point)
    process = process_of(point)
    assert "unmounted" in succeed("unmount", point)
    wait_for_end(process)
    vhdx.create(tmp_path / "empty.vhdx", "4M")
    assert (
        "there is: no file system that is known"
        in run("mount", "--files", tmp_path / "empty.vhdx", point).err
    )


def test_it_ends_when_the_process_is_told_to(guest: tuple[Path, Path], tmp_path: Path) -> None:
    image, _ = guest
    point = tmp_path / "mnt"
    point.mkdir()
    succeed("mount", "--files", image, point)
    process = process_of(point)
    os.kill(process, 15)
    wait_for_end(process)
    assert not is_mounted(point)


def directory_of(guest: Guest, told: list[str]) -> FilesDirectory:
    return FilesDirectory(guest, size=1 << 20, free=4096, ready=lambda: None, tell=told.append)


def number_of(directory: FilesDirectory, operation: str, *arguments: object) -> int | None:
    with pytest.raises(OSError) as caught:
        getattr(directory, operation)(*arguments)
    return caught.value.errno


def test_hostile_names_and_damage() -> None:
    told: list[str] = []
    nodes: list[Node] = [
        ("..", Kind.FILE, b"up"),
        ("a/b", Kind.FILE, b"slash"),
        ("nul\0", Kind.FILE, b"nul"),
        ("loop", Kind.SYMLINK, "loop"),
        ("out", Kind.SYMLINK, "../../etc/passwd"),
        ("broken", Kind.FILE, None),
        ("file", Kind.FILE, b"content"),
    ]
    directory = directory_of(Guest(nodes), told)
    names = [name for name, _, _ in directory.readdir("/", 0)]
    assert names == [".", "..", "%2E%2E", "a%2Fb", "nul%00", "loop", "out", "broken", "file"]
    assert directory.readlink("/loop") == "loop"
    assert directory.readlink("/out") == "../../etc/passwd"
    handle = directory.open("/a%2Fb", os.O_RDONLY)
    assert directory.read("/a%2Fb", 100, 0, handle) == b"slash"
    assert directory.read("/a%2Fb", 100, 5, handle) == b""
    directory.release("/a%2Fb", handle)
    assert number_of(directory, "getattr", "/nothing") == errno.ENOENT
    assert number_of(directory, "getattr", "/file/below") == errno.ENOTDIR
    assert number_of(directory, "readlink", "/file") == errno.EINVAL
    assert number_of(directory, "open", "/file", os.O_RDWR) == errno.EROFS
    assert number_of(directory, "unlink", "/file") == errno.EROFS
    assert number_of(directory, "getxattr", "/file", "user.x") == errno.ENODATA
    assert number_of(directory, "open", "/broken", os.O_RDONLY) == errno.EIO
    assert told == ["it cannot be read"]


def test_holes_are_found(tmp_path: Path) -> None:
    raw = made("ext4", tmp_path)
    script = tmp_path / "sparse"
    with open(script, "wb") as file:
        file.truncate(1 << 20)
        file.seek(256 << 10)
        file.write(b"x" * 4096)
    subprocess.run(["debugfs", "-w", "-R", f"write {script} sparse", raw], check=True, capture_output=True)
    with open_any(str(raw)) as disk:
        (volume,) = volumes(disk)
        directory = FilesDirectory(volume.tree, size=disk.size, free=0, ready=lambda: None, tell=pytest.fail)
        start, end = 256 << 10, (256 << 10) + 4096
        for offset, whence, expected in (
            (0, os.SEEK_DATA, start),
            (0, os.SEEK_HOLE, 0),
            (start + 5, os.SEEK_DATA, start + 5),
            (start, os.SEEK_HOLE, end),
            (end, os.SEEK_HOLE, end),
        ):
            assert directory.lseek("/sparse", offset, whence) == expected
        assert number_of(directory, "lseek", "/sparse", end, os.SEEK_DATA) == errno.ENXIO
        assert number_of(directory, "lseek", "/sparse", 1 << 20, os.SEEK_HOLE) == errno.ENXIO
