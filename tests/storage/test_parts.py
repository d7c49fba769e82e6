"""Parts: what their names say, and which of them are removed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import vhdx
from vhdx.storage.parts import part_name, part_of, remove_left_over
from vhdx.storage.publish import new_file

if sys.platform == "win32":
    from vhdx.storage import windows_processes as host
    from vhdx.storage.windows import is_held
else:
    from vhdx.storage import host, locks
    from vhdx.storage.host import is_held

RANDOM = "0123456789abcdef"


@pytest.fixture(name="dead")
def _dead() -> int:
    """A process that ran and does not any more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def left_by(process: int, folder: Path, target: str = "x.vhdx", machine: str | None = None) -> Path:
    path = folder / f".vhdx-{process}-{machine or host.machine_tag()}-{RANDOM}-{target}.part"
    path.write_bytes(b"part")
    return path


@pytest.mark.parametrize(
    "target", ["x.vhdx", "a-b-0-c.part", "line\nbreak", "n" * 255, "ü" * 127, "\udcff.vhdx"]
)
def test_a_name_says_process_machine_and_target(target: str) -> None:
    name = part_name(target)
    assert len(os.fsencode(name)) < 143  # what hosts take that encrypt names
    found = part_of(name)
    assert found is not None
    assert (found.process, found.machine) == (os.getpid(), host.machine_tag())
    assert target.startswith(found.target)
    assert len(os.fsencode(target)) > 64 or found.target == target
    assert name != part_name(target)


@pytest.mark.parametrize(
    "name",
    [
        "x.vhdx",
        f".vhdx-{RANDOM}.part",  # of versions before
        f".vhdx-0-01234567-{RANDOM}-x.part",
        f".vhdx-12-0123456-{RANDOM}-x.part",
        f".vhdx-12-01234567-{RANDOM}-.part",
        f".vhdx-12-01234567-{RANDOM}-x",
        f".vhdx-99999999999-01234567-{RANDOM}-x.part",
    ],
)
def test_other_names_are_no_parts(name: str, tmp_path: Path) -> None:
    assert part_of(name) is None
    (tmp_path / name).touch()
    assert remove_left_over(str(tmp_path / "y")) == []
    assert os.listdir(tmp_path) == [name]


def test_what_a_dead_process_left_is_removed_and_named(dead: int, tmp_path: Path) -> None:
    part = left_by(dead, tmp_path)
    made = vhdx.create(tmp_path / "other.vhdx", "1M")
    assert os.listdir(tmp_path) == ["other.vhdx"]
    (sentence,) = made.remarks
    for word in (str(part), "4 bytes", f"process {dead}", "x.vhdx"):
        assert word in sentence


def test_conversions_say_so_too(dead: int, tmp_path: Path) -> None:
    left_by(dead, tmp_path)
    (tmp_path / "a.raw").write_bytes(b"x" * 512)
    made = vhdx.convert(tmp_path / "a.raw", tmp_path / "b.vhdx")
    assert any("removed" in remark for remark in made.remarks)


def test_what_is_held_stays_whatever_its_process(dead: int, tmp_path: Path) -> None:
    """A process of another name space, for one, whose number means nothing here."""
    part = left_by(dead, tmp_path)
    descriptor = os.open(part, os.O_RDWR)
    locks.acquire_writer(descriptor, str(part))
    assert remove_left_over(str(tmp_path / "x.vhdx")) == []
    assert part.exists()
    os.close(descriptor)
    assert len(remove_left_over(str(tmp_path / "x.vhdx"))) == 1
    assert not part.exists()


def test_what_a_running_process_has_just_begun_stays(tmp_path: Path) -> None:
    """It is locked a moment after it is made."""
    part = left_by(os.getppid(), tmp_path)
    assert remove_left_over(str(tmp_path / "x.vhdx")) == []
    assert part.exists()


def test_a_number_that_another_process_has_now(tmp_path: Path) -> None:
    """Whoever runs has locked its part a minute later."""
    part = left_by(os.getppid(), tmp_path)
    before = time.time() - 3600
    os.utime(part, (before, before))
    assert len(remove_left_over(str(tmp_path / "x.vhdx"))) == 1
    assert not part.exists()


@pytest.mark.parametrize("is_old", [False, True])
def test_without_locks_the_number_alone_counts(
    dead: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_old: bool
) -> None:
    monkeypatch.setattr(locks, "is_held", lambda _: None)
    running, left = left_by(os.getppid(), tmp_path, "running"), left_by(dead, tmp_path, "left")
    if is_old:
        os.utime(running, (1, 1))
    assert len(remove_left_over(str(tmp_path / "x.vhdx"))) == 1
    assert (running.exists(), left.exists()) == (True, False)


def test_another_machines_parts_are_only_named(dead: int, tmp_path: Path) -> None:
    """Its processes are not seen here, and not every network file system passes locks on."""
    part = left_by(dead, tmp_path, machine="01234567")
    left_by(dead, tmp_path, "unrelated", machine="01234567")
    (sentence,) = remove_left_over(str(tmp_path / "x.vhdx"))
    assert str(part) in sentence
    assert "another machine" in sentence
    assert len(os.listdir(tmp_path)) == 2


def test_only_regular_files_are_removed(dead: int, tmp_path: Path) -> None:
    part = left_by(dead, tmp_path)
    part.unlink()
    for kind in ("directory", "fifo", "link"):
        if kind == "directory":
            part.mkdir()
        elif kind == "fifo":
            os.mkfifo(part)
        else:
            part.symlink_to("precious")
        assert remove_left_over(str(tmp_path / "x.vhdx")) == []
        assert os.path.lexists(part)
        part.rmdir() if part.is_dir() else part.unlink()


def test_an_empty_file_of_somebodys_stays(dead: int, tmp_path: Path) -> None:
    """Only that is the claim of a dead process which is newer than its part, and has its name."""
    path, other = tmp_path / "x.vhdx", tmp_path / "y.vhdx"
    path.touch()
    other.touch()
    part = left_by(dead, tmp_path)
    os.utime(path, (1, 1))
    with pytest.raises(FileExistsError):
        vhdx.create(path, "1M")
    assert not part.exists()
    left_by(dead, tmp_path)
    os.utime(path)
    with pytest.raises(FileExistsError):
        vhdx.create(other, "1M")
    assert path.exists()
    left_by(dead, tmp_path)
    os.utime(path)
    vhdx.create(path, "1M")


def test_what_is_being_made_is_held(tmp_path: Path) -> None:
    with new_file(str(tmp_path / "x.vhdx"), overwrite=False):
        (name,) = os.listdir(tmp_path)
        assert is_held(str(tmp_path / name))
        os.utime(tmp_path / name, (1, 1))
        assert remove_left_over(str(tmp_path / "x.vhdx")) == []
        assert os.listdir(tmp_path) == [name]
    assert os.listdir(tmp_path) == ["x.vhdx"]


def test_a_host_that_asks_by_locking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    path = tmp_path / "x"
    path.touch()
    ours, theirs = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    assert locks.is_held(ours) is False
    locks.acquire_writer(theirs, str(path))
    assert locks.is_held(ours) is True
    os.close(theirs)
    assert locks.is_held(ours) is False
    os.close(ours)


def test_numbers_that_no_process_has(dead: int) -> None:
    assert host.process_runs(os.getpid())
    assert host.process_runs(1) or sys.platform == "win32"
    assert not host.process_runs(dead)
    assert host.process_runs(9999999999)  # cannot be asked for
