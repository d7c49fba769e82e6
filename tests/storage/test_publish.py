"""New files: what may be replaced, who must not hold it, and what links and odd file systems do."""

import contextlib
import errno
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vhdx
from tests.ops.make.making import is_regular, names_in
from tests.support.tools import needs
from vhdx.storage.publish import new_file

from .ways import WITHOUT_LINKS, Way, force

if sys.platform != "win32":
    from vhdx.storage import host, locks

NEW = b"new"


def publish(path: Path | str, *, overwrite: bool = False) -> None:
    """Write a little file."""
    with new_file(str(path), overwrite=overwrite) as storage:
        storage.write_at(NEW, 0)


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def test_a_relative_name_in_the_working_directory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    publish("file")
    assert path.read_bytes() == NEW
    assert names_in(path.parent) == ["file"]


def test_the_temporary_file_stands_hidden_beside_the_final_one(path: Path) -> None:
    with new_file(str(path), overwrite=False) as storage:
        storage.write_at(NEW, 0)
        (name,) = names_in(path.parent)
        assert name.startswith(".vhdx-")
    assert names_in(path.parent) == ["file"]


def test_the_longest_name_the_host_allows(path: Path) -> None:
    longest = path.with_name("n" * 255)
    publish(longest)
    assert longest.read_bytes() == NEW
    assert names_in(path.parent) == [longest.name]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_name_that_is_too_long_is_told_before_anything_is_made(path: Path, *, overwrite: bool) -> None:
    too_long = path.with_name("n" * 256)
    with pytest.raises(OSError) as caught, new_file(str(too_long), overwrite=overwrite):
        pytest.fail("hours of work would be lost with it")
    assert caught.value.errno == errno.ENAMETOOLONG
    assert (caught.value.filename, caught.value.filename2) == (str(too_long), None)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_missing_directory_is_named_by_what_was_asked_for(tmp_path: Path, *, overwrite: bool) -> None:
    """People did not ask for a file called .vhdx-….part."""
    path = tmp_path / "no such directory" / "file"
    with pytest.raises(FileNotFoundError) as caught:
        publish(path, overwrite=overwrite)
    assert str(caught.value.filename) == str(path)


def test_a_failing_write_is_named_by_what_was_asked_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError) as caught:
        publish(path)
    assert caught.value.errno == errno.ENOSPC
    assert str(caught.value.filename) == str(path)


@pytest.mark.parametrize("way", WITHOUT_LINKS)
class TestWithoutHardLinks:
    """FAT and some network file systems have none: renaming must not replace, or names are claimed."""

    @pytest.fixture(autouse=True)
    def _no_links(self, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
        force(way, monkeypatch)

    def test_publishes(self, path: Path) -> None:
        publish(path)
        assert path.read_bytes() == NEW
        assert names_in(path.parent) == ["file"]

    def test_replaces_nothing(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        flush = os.fdatasync

        def somebody_else_is_faster(descriptor: int) -> None:
            flush(descriptor)
            path.write_bytes(b"old")

        monkeypatch.setattr(os, "fdatasync", somebody_else_is_faster)
        with pytest.raises(FileExistsError):
            publish(path)
        assert path.read_bytes() == b"old"
        assert names_in(path.parent) == ["file"]

    def test_leaves_nothing_when_renaming_fails(
        self, path: Path, way: Way, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(*_: object) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        if way == "rename":
            monkeypatch.setattr(host, "rename_to_new", fails)
        monkeypatch.setattr(os, "replace", fails)
        with pytest.raises(OSError):
            publish(path)
        assert names_in(path.parent) == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_what_hosts_say_that_have_no_links(path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)
    publish(path)
    assert path.read_bytes() == NEW


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of what Linux is asked by ctypes")
def test_a_python_that_was_built_without_ctypes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can begin no write-back, and not rename without replacing."""

    def link(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    monkeypatch.setitem(sys.modules, "ctypes", None)
    host._sync_file_range.cache_clear()
    try:
        with new_file(str(path), overwrite=False) as storage:
            storage.write_at(NEW, 0)
            storage.start_writing_back()
    finally:
        host._sync_file_range.cache_clear()
    assert path.read_bytes() == NEW
    assert names_in(path.parent) == [path.name]


def test_a_claim_that_somebody_replaces_is_theirs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program may rename over the empty file by which the name was claimed."""
    force("claim", monkeypatch)
    acquire = locks.acquire_writer

    def somebody_else_renames(descriptor: int, name: str) -> None:
        acquire(descriptor, name)
        if path.exists():
            other = path.with_name("other")
            other.write_bytes(b"old")
            other.replace(path)

    monkeypatch.setattr(locks, "acquire_writer", somebody_else_renames)
    with pytest.raises(FileExistsError):
        publish(path)
    assert path.read_bytes() == b"old"
    assert names_in(path.parent) == ["file"]


def test_other_failures_of_the_link_are_failures(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(PermissionError):
        publish(path)
    assert names_in(path.parent) == []


class TestLinks:
    """What a link points at is replaced, never the link."""

    def test_to_a_file(self, path: Path) -> None:
        path.write_bytes(b"old")
        link = path.with_name("link")
        link.symlink_to("file")
        with pytest.raises(FileExistsError):
            publish(link)
        assert path.read_bytes() == b"old"
        publish(link, overwrite=True)
        assert link.is_symlink()
        assert path.read_bytes() == NEW

    def test_into_another_directory(self, path: Path) -> None:
        elsewhere = path.with_name("elsewhere")
        elsewhere.mkdir()
        (elsewhere / "file").write_bytes(b"old")
        path.symlink_to(elsewhere / "file")
        publish(path, overwrite=True)
        assert path.is_symlink()
        assert (elsewhere / "file").read_bytes() == NEW
        assert names_in(elsewhere) == ["file"]

    def test_to_nothing(self, path: Path) -> None:
        link = path.with_name("link")
        link.symlink_to("file")
        with pytest.raises(FileExistsError):
            publish(link)
        assert not path.exists()
        publish(link, overwrite=True)
        assert link.is_symlink()
        assert path.read_bytes() == NEW

    def test_other_names_of_the_file_keep_the_old_one(self, path: Path) -> None:
        path.write_bytes(b"old")
        other = path.with_name("other")
        other.hardlink_to(path)
        publish(path, overwrite=True)
        assert (path.read_bytes(), other.read_bytes()) == (NEW, b"old")


def _directory(path: Path) -> None:
    path.mkdir()


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _character_device(path: Path) -> None:
    _device(path, stat.S_IFCHR, 1, 3)


def _block_device(path: Path) -> None:
    _device(path, stat.S_IFBLK, 7, 0)


def _device(path: Path, kind: int, major: int, minor: int) -> None:
    try:
        os.mknod(path, kind | 0o600, os.makedev(major, minor))
    except PermissionError:
        pytest.skip("only root makes device nodes")


@pytest.mark.parametrize("make", [_directory, _fifo, _socket, _character_device, _block_device])
@pytest.mark.parametrize("overwrite", [False, True])
def test_only_regular_files_are_replaced(path: Path, make: object, *, overwrite: bool) -> None:
    assert callable(make)
    make(path)
    before = path.lstat()
    with pytest.raises((OSError, ValueError)):
        publish(path, overwrite=overwrite)
    assert not is_regular(path)
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert names_in(path.parent) == ["file"]


@contextlib.contextmanager
def _held_by_a_reader(path: Path) -> Iterator[None]:
    with vhdx.open(path):
        yield


@contextlib.contextmanager
def _held_by_qemu(path: Path) -> Iterator[None]:
    command = ["qemu-io", "-f", "raw", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as qemu:
        assert qemu.stdin is not None
        assert qemu.stdout is not None
        qemu.stdin.write("length\n")
        qemu.stdin.flush()
        qemu.stdout.readline()  # it answers once it has the file
        try:
            yield
        finally:
            qemu.stdin.write("quit\n")
            qemu.stdin.flush()


class TestLocks:
    """What is to be replaced must be held by nobody, from before the work begins until it is done."""

    @pytest.fixture(name="image")
    def _image(self, path: Path) -> Path:
        vhdx.create(path, "1M", block_size="1M")
        return path

    def test_a_reader_of_our_own(self, image: Path) -> None:
        before = image.read_bytes()
        with _held_by_a_reader(image), pytest.raises(vhdx.ImageLockedError) as caught:
            publish(image, overwrite=True)
        assert f"process {os.getpid()}" in str(caught.value)
        assert image.read_bytes() == before
        assert names_in(image.parent) == ["file"]
        publish(image, overwrite=True)
        assert image.read_bytes() == NEW

    @needs("qemu-io")
    def test_qemu(self, image: Path) -> None:
        before = image.read_bytes()
        with _held_by_qemu(image), pytest.raises(vhdx.ImageLockedError, match="qemu-io"):
            publish(image, overwrite=True)
        assert image.read_bytes() == before
        assert names_in(image.parent) == ["file"]

    def test_through_a_link(self, image: Path) -> None:
        link = image.with_name("link")
        link.symlink_to(image)
        with _held_by_a_reader(image), pytest.raises(vhdx.ImageLockedError):
            publish(link, overwrite=True)

    def test_nobody_else_gets_it_meanwhile(self, image: Path) -> None:
        with new_file(str(image), overwrite=True), pytest.raises(vhdx.ImageLockedError):
            vhdx.open(image).close()

    def test_two_that_replace(self, image: Path) -> None:
        with new_file(str(image), overwrite=True) as storage:
            storage.write_at(NEW, 0)
            with pytest.raises(vhdx.ImageLockedError):
                publish(image, overwrite=True)
        assert image.read_bytes() == NEW

    def test_a_read_only_image_can_be_replaced(self, image: Path) -> None:
        image.chmod(0o400)
        publish(image, overwrite=True)
        assert image.read_bytes() == NEW
