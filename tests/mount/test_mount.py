"""Real mounts: what programs see in the file, what holes do, and how it ends."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import COMMAND, run, succeed
from tests.docs.scenes import chain, dirty
from tests.docs.schema import SCHEMA, complaints
from tests.interop.programs import run as program
from tests.nbd.test_kill import wait_until_committed
from tests.ops.make.making import write_raw
from tests.partitions.tables import gpt_disk
from tests.support.layout import MIB
from tests.support.patterns import pattern
from tests.support.tools import needs
from tests.write.checking import is_clean, qemu_check, qemu_content

from .mounting import FUSE, LOOP, is_mounted, mounted, opened_to_write, process_of, wait_for_end

pytestmark = FUSE
SIZE = 64 * MIB


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    vhdx.create(tmp_path / "a.vhdx", SIZE, block_size=MIB)
    return tmp_path / "a.vhdx"


def content(path: Path) -> bytes:
    with vhdx.open(path) as disk:
        return disk.pread(disk.size, 0)


# What is seen ------------------------------------------------------------------------------------


def test_reading_changes_nothing(path: Path) -> None:
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(1, MIB), 5 * MIB)
    before = path.read_bytes()
    with mounted(path) as file:
        status = file.stat()
        assert (status.st_size, status.st_blocks * 512) == (SIZE, MIB)
        assert file.read_bytes() == content(path)
        with pytest.raises(OSError, match="Read-only") as caught:
            file.open("r+b")
        assert caught.value.errno == errno.EROFS
    assert path.read_bytes() == before


def test_a_dirty_image_is_replayed_when_it_is_mounted_to_be_written_to(tmp_path: Path) -> None:
    """As Windows does. So `unmount` sees by the log whether the image was closed."""
    dirty(tmp_path)
    path = tmp_path / "vm.vhdx"
    before = content(path)
    with mounted(path, "--write") as file:
        assert file.read_bytes() == before
    assert is_clean(path)
    assert content(path) == before


def test_a_parent_is_not_mounted_to_be_written_to_unasked(tmp_path: Path) -> None:
    chain(tmp_path)
    (tmp_path / "at").mkdir()
    done = run("mount", "--write", "monday.avhdx", "at", cwd=tmp_path)
    assert done.code == 1
    assert "--force does it nevertheless" in done.sentence
    assert not is_mounted(tmp_path / "at")


def test_holes_are_seen(path: Path) -> None:
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(1, MIB), 5 * MIB)
    with mounted(path) as file, open(file, "rb", buffering=0) as opened:
        assert os.lseek(opened.fileno(), 0, os.SEEK_DATA) == 5 * MIB
        assert os.lseek(opened.fileno(), 5 * MIB, os.SEEK_HOLE) == 6 * MIB
        copy = path.with_name("copy.raw")
        program("cp", "--sparse=auto", file, copy)
    assert copy.read_bytes() == content(path)
    assert copy.stat().st_blocks * 512 <= MIB + 65536


def test_a_huge_disk_answers_at_once(tmp_path: Path) -> None:
    vhdx.create(tmp_path / "a.vhdx", "64TiB")
    with mounted(tmp_path / "a.vhdx") as file:
        assert file.stat().st_size == 64 << 40
        with open(file, "rb") as opened:
            opened.seek(-4096, os.SEEK_END)
            assert opened.read() == bytes(4096)


@needs("sfdisk")
def test_a_partition_alone_and_the_table_of_the_whole(tmp_path: Path) -> None:
    disk = gpt_disk(8 * MIB, [(2048, 4095), (4096, 8191)])
    disk[2 * MIB : 4 * MIB] = pattern(2, 2 * MIB)
    write_raw(tmp_path / "a.raw", 8 * MIB, {0: bytes(disk)})
    vhdx.convert(tmp_path / "a.raw", tmp_path / "a.vhdx", options=vhdx.ImageOptions(block_size=MIB))
    with mounted(tmp_path / "a.vhdx") as file:
        table = json.loads(program("sfdisk", "--json", file))["partitiontable"]
        assert [(p["start"], p["size"]) for p in table["partitions"]] == [(2048, 2048), (4096, 4096)]
    with mounted(tmp_path / "a.vhdx", "--partition", "2", "--write") as file:
        assert file.read_bytes() == pattern(2, 2 * MIB)
        with open(file, "r+b") as opened:
            opened.seek(-3, os.SEEK_END)
            opened.write(b"end")
    assert content(tmp_path / "a.vhdx")[4 * MIB - 3 : 4 * MIB + 1] == b"end\0"


def test_names_with_everything_in_them(tmp_path: Path) -> None:
    path = tmp_path / "ä ,=\\040:b.vhdx"
    vhdx.create(path, MIB)
    with mounted(path, "--write") as file:
        file.open("r+b").close()
    assert is_clean(path)


# Writing -----------------------------------------------------------------------------------------


@needs("mkfs.ext4", "e2fsck", "debugfs")
def test_a_file_system_made_filled_and_checked(path: Path, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(pattern(3, 3 * MIB))
    with mounted(path, "--write") as file:
        program("mkfs.ext4", "-q", file)
        program("debugfs", "-w", "-R", f"write {tmp_path}/in name", file)
    with mounted(path) as file:
        program("e2fsck", "-fn", file)
        program("debugfs", "-R", f"dump name {tmp_path}/out", file)
    assert (tmp_path / "out").read_bytes() == pattern(3, 3 * MIB)


@needs("mkfs.vfat", "mcopy")
def test_mtools(path: Path, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(pattern(3, MIB + 3))
    with mounted(path, "--write") as file:
        program("mkfs.vfat", file)
        program("mcopy", "-i", file, tmp_path / "in", "::name")
        program("mcopy", "-i", file, "::name", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == pattern(3, MIB + 3)


def test_the_file_keeps_its_size(path: Path) -> None:
    with mounted(path, "--write") as file:
        program("truncate", "-s", str(SIZE), file)
        assert "Operation not permitted" in program("truncate", "-s", str(SIZE * 2), file, code=1)
        with pytest.raises(PermissionError):
            file.open("wb")
        with open(file, "r+b", buffering=0) as opened:
            opened.seek(SIZE - 3)
            assert opened.write(b"12345") == 3
            with pytest.raises(OSError) as caught:
                opened.write(b"x")
            assert caught.value.errno == errno.ENOSPC
        assert file.stat().st_size == SIZE
    assert content(path)[-5:] == b"\0\x00123"


@needs("fallocate")
def test_holes_give_space_back(path: Path) -> None:
    wanted = bytearray(SIZE)
    wanted[: 20 * MIB] = pattern(1, 20 * MIB)
    with mounted(path, "--write") as file:
        with open(file, "r+b") as opened:
            opened.write(wanted[: 20 * MIB])
        full = path.stat().st_blocks * 512
        program("fallocate", "-p", "-o", "1000", "-l", str(16 * MIB), file)
        wanted[1000 : 1000 + 16 * MIB] = bytes(16 * MIB)
        assert file.read_bytes() == bytes(wanted)
        assert file.stat().st_blocks * 512 == 5 * MIB
        program("fallocate", "-z", "-o", "17M", "-l", "1M", file)
        wanted[17 * MIB : 18 * MIB] = bytes(MIB)
        assert file.read_bytes() == bytes(wanted)
        assert file.stat().st_blocks * 512 == 5 * MIB
    assert path.stat().st_blocks * 512 <= full - 16 * MIB + 3 * 4096
    assert content(path) == bytes(wanted)


@LOOP
@needs("mkfs.ext4", "losetup", "fstrim")
def test_fstrim_on_a_loop_device_gives_space_back(path: Path, tmp_path: Path) -> None:
    """The kernel's own file system: made, filled, trimmed, and still there when it is mounted again."""
    inside = tmp_path / "inside"
    inside.mkdir()
    with mounted(path, "--write") as file:
        program("mkfs.ext4", "-q", file)
        empty = file.stat().st_blocks
        program("mount", "-o", "loop", file, inside)
        try:
            (inside / "kept").write_bytes(pattern(4, 2 * MIB))
            (inside / "gone").write_bytes(pattern(5, 20 * MIB))
            program("sync", "-f", inside)
            full = file.stat().st_blocks
            busy = run("unmount", file.parent)
            assert busy.code == 1
            assert "busy" in busy.sentence
            (inside / "gone").unlink()
            program("sync", "-f", inside)
            program("fstrim", inside)
        finally:
            program("umount", inside)
        assert full - empty >= 20 * MIB // 512
        assert file.stat().st_blocks <= full - 18 * MIB // 512
        program("e2fsck", "-fn", file)
        program("mount", "-o", "loop,ro", file, inside)
        try:
            assert (inside / "kept").read_bytes() == pattern(4, 2 * MIB)
        finally:
            program("umount", inside)
    qemu_check(path)


def test_readers_and_writers_at_once(path: Path) -> None:
    """Each thread owns every fourth piece and knows what is in it; at the end all of it is in the image."""
    piece, threads = 48 * 1024 + 512, 4
    twin = bytearray(SIZE)
    failures: list[BaseException] = []

    def work(owner: int, file: Path) -> None:
        chance = random.Random(owner)
        try:
            with open(file, "r+b", buffering=0) as opened:
                for number in range(60):
                    place = (chance.randrange(SIZE // piece // threads) * threads + owner) * piece
                    data = pattern(owner, chance.randrange(1, piece), seed=number)
                    os.pwrite(opened.fileno(), data, place)
                    twin[place : place + len(data)] = data
                    assert os.pread(opened.fileno(), piece, place) == bytes(twin[place : place + piece])
                    if number % 20 == 19:
                        os.fsync(opened.fileno())
        except BaseException as error:  # noqa: BLE001  told below, in the main thread
            failures.append(error)

    with mounted(path, "--write") as file:
        workers = [threading.Thread(target=work, args=(owner, file)) for owner in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert failures == []
    assert content(path) == bytes(twin)
    assert is_clean(path)


@needs("mkfs.ext4", "resize2fs", "e2fsck")
def test_a_file_system_is_resized(path: Path) -> None:
    """It grows and shrinks, resize2fs says nothing of an error, and what is behind stays as it is."""
    with mounted(path, "--write") as file:
        program("mkfs.ext4", "-q", "-F", file, "20M")
        for size in ("", "30M", "10M"):
            words = ["resize2fs", "-f", str(file), *size.split()]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            assert done.stderr.splitlines()[1:] == []  # the first one says its version
            program("e2fsck", "-f", "-n", file)
        assert file.stat().st_size == SIZE
    assert is_clean(path)


# The end -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("foreground", [True, False])
def test_a_signal_closes_the_image(path: Path, number: signal.Signals, foreground: bool) -> None:
    folder = path.with_name("mnt")
    folder.mkdir()
    if foreground:
        command = [*COMMAND, "mount", str(path), str(folder), "--write", "--foreground"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == f"{path}: mounted as {folder}/disk.raw\n".encode()
    else:
        succeed("mount", path, folder, "--write")
    serving = process_of(folder)
    with open(folder / "disk.raw", "r+b") as opened:
        opened.write(pattern(1, 2 * MIB))
    os.kill(serving, number)
    if foreground:
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (0, b"", b"")
    else:
        wait_for_end(serving)
    assert not is_mounted(folder)
    assert is_clean(path)
    assert content(path)[: 2 * MIB] == pattern(1, 2 * MIB)


@pytest.mark.parametrize("option", ["-l", "-f"])
@LOOP
def test_a_lazy_or_forced_unmount_loses_nothing(path: Path, option: str) -> None:
    folder = path.with_name("mnt")
    folder.mkdir()
    succeed("mount", path, folder, "--write")
    serving = process_of(folder)
    with opened_to_write(folder / "disk.raw") as opened:
        os.pwrite(opened, pattern(1, 2 * MIB), 0)
        # An open file keeps a forced unmount from happening; what is gone is the connection.
        program("umount", option, folder, code=None)
        if option == "-l":
            os.pwrite(opened, pattern(2, MIB), 2 * MIB)
    if is_mounted(folder):
        program("umount", "-l", folder)
    wait_for_end(serving)
    assert is_clean(path)
    assert content(path)[: 2 * MIB] == pattern(1, 2 * MIB)
    assert option != "-l" or content(path)[2 * MIB : 3 * MIB] == pattern(2, MIB)


def test_what_was_synchronized_survives_kill_9(path: Path) -> None:
    folder = path.with_name("mnt")
    folder.mkdir()
    twin = bytearray(SIZE)
    chance = random.Random(9)
    succeed("mount", path, folder, "--write")
    with opened_to_write(folder / "disk.raw") as opened:
        for number in range(40):
            place = chance.randrange(SIZE - MIB)
            data = pattern(number, chance.randrange(1, MIB))
            twin[place : place + len(data)] = data
            os.pwrite(opened, data, place)
        os.fsync(opened)
        os.kill(process_of(folder), signal.SIGKILL)
    wait_for_end(process_of(folder))
    again = run("mount", path, folder)
    assert again.code == 1
    assert again.sentence.endswith(f"the process of an earlier mount died; try: vhdx unmount {folder}")
    done = run("unmount", folder)
    assert done.code == 1
    assert done.sentence.endswith(f"try: vhdx repair {path}")
    assert not is_clean(path)
    assert content(path) == bytes(twin)
    succeed("repair", path)
    qemu_check(path)
    assert content(path) == bytes(twin)


def test_promise_24_what_nobody_synchronized_survives_kill_9_some_time_later(path: Path) -> None:
    folder = path.with_name("mnt")
    folder.mkdir()
    succeed("mount", path, folder, "--write", "--commit-interval", "0.2")
    with opened_to_write(folder / "disk.raw") as opened:
        for block in range(20):
            os.pwrite(opened, pattern(block, MIB), 3 * block * MIB)
        wait_until_committed(path, pattern(19, MIB), 57 * MIB)
        os.kill(process_of(folder), signal.SIGKILL)
    wait_for_end(process_of(folder))
    run("unmount", folder)
    succeed("repair", path)
    qemu_check(path)
    found = qemu_content(path)
    assert all(found[3 * block * MIB :][:MIB] == pattern(block, MIB) for block in range(20))


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_do_not_become_the_images(path: Path, closed: str) -> None:
    """Behind the caller's back nothing is put in place of the standard streams, whoever has their numbers."""
    folder = path.with_name("mnt")
    folder.mkdir()
    line = f"exec {' '.join(COMMAND)} mount --write {path} {folder} {closed}"
    subprocess.run(["sh", "-c", line], capture_output=True, check=True, timeout=30)
    try:
        with open(folder / "disk.raw", "r+b") as opened:
            opened.write(pattern(1, 2 * MIB))
    finally:
        succeed("unmount", folder)
    assert content(path)[: 2 * MIB] == pattern(1, 2 * MIB)
    assert is_clean(path)


# What is refused ---------------------------------------------------------------------------------


def test_what_cannot_be_mounted_is_told(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mnt"
    assert run("mount", path, folder).sentence == f"{folder}: No such file or directory"
    folder.mkdir()
    assert run("mount", tmp_path / "no.vhdx", folder).sentence.endswith("No such file or directory")
    assert run("mount", path, folder, "--partition", "1").code == 64
    assert run("mount", path, folder, "--write", "--force-share").code == 64
    assert run("mount", path, path).sentence == f"{path}: Not a directory"
    (folder / "file").touch()
    assert run("mount", path, folder).sentence == f"{folder}: the directory to mount in is not empty"
    assert run("unmount", folder).sentence == f"{folder}: no disk is mounted there"
    assert not is_mounted(folder)


def test_one_writer(path: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with mounted(path, "--write"):
        assert "is writing to it" in run("mount", path, tmp_path / "other").sentence


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"FUSE_LIBRARY_PATH": "/nowhere/libfuse.so"}, "mounting needs libfuse"),
        ({"PYTHONPATH": "{hidden}"}, 'try: pip install "vhdx[mount]"'),
    ],
)
def test_what_is_missing_is_told(path: Path, tmp_path: Path, environment: dict[str, str], said: str) -> None:
    folder, hidden = tmp_path / "mnt", tmp_path / "hidden"
    folder.mkdir()
    hidden.mkdir()
    (hidden / "mfusepy.py").write_text("raise ImportError\n")
    changed = {name: value.format(hidden=hidden) for name, value in environment.items()}
    done = run("mount", path, folder, env={**os.environ, **changed})
    assert done.code == 1
    assert said in done.sentence


@LOOP
@needs("setpriv")
def test_what_fuse_says_is_told(path: Path, tmp_path: Path) -> None:
    """Root without its rights may not mount: the words of libfuse's helper come out in our sentence."""
    folder = tmp_path / "mnt"
    folder.mkdir()
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *COMMAND, "mount", str(path), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"vhdx: {folder}: FUSE refuses: ")
    assert len(done.stderr.splitlines()) == 1
    assert is_clean(path)


def test_json_of_mounting_and_unmounting(path: Path) -> None:
    """In the background and in the foreground; a failure is one value, too."""
    folder = path.with_name("json")
    folder.mkdir()
    printed = json.loads(succeed("mount", path, folder, "--write", "--json"))
    assert complaints(printed, SCHEMA.prints["mount"], SCHEMA) == []
    assert (printed["path"], printed["directory"], printed["read_only"]) == (str(path), str(folder), False)
    assert os.stat(printed["file"]).st_size == printed["virtual_size"]
    failure = json.loads(run("mount", path, path.parent, "--json").out)
    assert complaints(failure, "failure", SCHEMA) == []
    failure = json.loads(run("mount", path, _empty(path), "--partition", "9", "--json").out)
    assert complaints(failure, "failure", SCHEMA) == []
    printed = json.loads(succeed("unmount", folder, "--json"))
    assert printed == {"path": str(path), "directory": str(folder), "read_only": False}
    words = [*COMMAND, "mount", str(path), str(folder), "--foreground", "--json", "--timeout", "0"]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    assert json.loads(done.stdout)["read_only"] is True


def _empty(path: Path) -> Path:
    folder = path.with_name("empty")
    folder.mkdir()
    return folder


def test_a_mount_that_nobody_opens_ends(path: Path) -> None:
    before = path.read_bytes()
    with mounted(path, "--write", "--timeout", "0.3") as file:
        folder, process = file.parent, process_of(file.parent)
        assert file.stat().st_size == SIZE  # a look is no use
        wait_for_end(process)
        assert not is_mounted(folder)
    assert is_clean(path)
    assert path.read_bytes() == before


def test_a_mount_that_was_opened_stays(path: Path) -> None:
    with mounted(path, "--write", "--timeout", "2") as file:
        file.open("rb").close()
        time.sleep(3)
        assert is_mounted(file.parent)


def test_what_shows_a_vhdx_shows_the_others(tmp_path: Path) -> None:
    """Both kinds of VHD, and raw disks; of these only those are written to that are said to be raw."""
    raw = write_raw(tmp_path / "a.raw", 4 * MIB, {5: b"here", 3 * MIB: b"there"})
    for disk_type in ("fixed", "dynamic"):
        image = tmp_path / f"{disk_type}.vhd"
        assert run("convert", "--type", disk_type, raw, image).code == 0
        with mounted(image) as file:
            assert file.read_bytes() == raw.read_bytes()
    assert run("mount", "--write", raw, tmp_path / "a.raw.mounted").code != 0
    with mounted(raw, "--write", "-f", "raw") as file, open(file, "r+b") as written:
        written.seek(5)
        written.write(b"HERE")
    assert raw.read_bytes()[5:9] == b"HERE"


@needs("mkfs.ext4", "resize2fs", "e2fsck")
def test_a_file_system_is_resized_in_the_file(tmp_path: Path) -> None:
    """As on a disk: the file keeps its length, whatever the program makes of that of a file."""
    vhdx.create(tmp_path / "a.vhdx", SIZE, block_size=MIB)
    with mounted(tmp_path / "a.vhdx", "--write") as file:
        program("mkfs.ext4", "-q", "-F", "-b", "1024", file, "32M")
        for words, blocks in (([], 64 * 1024), (["24M"], 24 * 1024)):
            program("resize2fs", "-f", file, *words)
            program("e2fsck", "-fn", file)
            assert int.from_bytes(file.read_bytes()[1028:1032], "little") == blocks
            assert file.stat().st_size == SIZE


READY_FAILS = """
import sys
from functools import partial
import vhdx
from vhdx.mount import fuse
from vhdx.mount.directory import DiskDirectory

def ready():
    raise OSError(32, "nobody listens")

with vhdx.open(sys.argv[1]) as disk:
    fuse.serve(partial(DiskDirectory, disk, tell=print), sys.argv[2], source="x", ready=ready)
"""


def test_a_mount_that_cannot_be_told_of_ends(path: Path) -> None:
    point = path.with_name("mnt")
    point.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", READY_FAILS, path, point],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "nobody listens" in done.stderr) == (1, True)
    assert not is_mounted(point)
