"""A host that cannot read parts of an image: one copy of two, the table, blocks; with and without salvage."""

import contextlib
import errno
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import run
from tests.examine.fault import child, dynamic
from tests.mount.mounting import NO_FUSE
from tests.support.build import ImageBuilder
from tests.support.layout import KIB, MIB, SECTOR
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.reading import whole
from tests.support.tools import needs
from tests.support.unreadable import UnreadableHost
from vhdx.disk.open import open_any
from vhdx.format import mapfile
from vhdx.storage.file import open_for_reading
from vhdx.storage.skipping import SkippingStorage

BOTH = pytest.mark.parametrize("short", [False, True])


@pytest.mark.parametrize("place", [64 * KIB, 128 * KIB, 192 * KIB, 256 * KIB])
@BOTH
def test_one_copy_of_two_is_enough(
    place: int, short: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = dynamic()
    path = image.write(tmp_path / "image.vhdx")
    UnreadableHost(monkeypatch, path, [(place, place + SECTOR)], short=short)
    with vhdx.open(path) as disk:
        assert whole(disk) == image.content()
    result = vhdx.check(path)
    assert result.codes["host.read_error"] == 1
    assert {"header.damaged", "region_table.damaged"} & result.codes.keys()


@BOTH
def test_a_block_is_read_around_what_cannot_be_read(
    short: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = dynamic()
    path = image.write(tmp_path / "image.vhdx")
    place = image.plan().blocks[1] + 10 * SECTOR
    host = UnreadableHost(monkeypatch, path, [(place + 512, place + 1024)], short=short)
    expected = bytearray(image.content())
    lost = MIB + 10 * SECTOR + 512
    expected[lost : lost + 512] = bytes(512)
    with vhdx.open(path, salvage=True) as disk:
        assert whole(disk) == bytes(expected)
        assert [(doubt.offset, doubt.length) for doubt in disk.doubts] == [(lost, 512)]
        tried = len(host.reads)
        assert disk.pread(512, lost) == bytes(512)
        assert len(host.reads) == tried, "what failed is not tried again"
    with vhdx.open(path) as disk, pytest.raises(OSError, match="of the disk") as caught:
        disk.pread(MIB, MIB)
    assert caught.value.errno == errno.EIO
    assert f"bytes {MIB} to {2 * MIB} of the disk" in str(caught.value)
    assert "convert --salvage" in str(caught.value)


def test_unreadable_entries_are_lost_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = ImageBuilder(600 * MIB, block_size=MIB)
    image.blocks = {0: Block(pattern(0, MIB)), 599: Block(pattern(1, MIB))}
    path = image.write(tmp_path / "image.vhdx")
    bat = image.plan().bat_offset
    UnreadableHost(monkeypatch, path, [(bat + SECTOR, bat + 2 * SECTOR)])
    with vhdx.open(path, salvage=True) as disk:
        assert disk.pread(MIB, 0) == pattern(0, MIB)
        assert disk.pread(MIB, 599 * MIB) == bytes(MIB)
        doubts = list(disk.doubts)
    assert [(doubt.offset, doubt.length) for doubt in doubts] == [(512 * MIB, 88 * MIB)]
    assert vhdx.check(path).codes["host.read_error"] == 1


@pytest.mark.parametrize("form", ["raw", "vhd"])
def test_raw_disks_and_vhds_are_read_around_it_too(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = pattern(3, 4 * MIB)
    (tmp_path / "disk.raw").write_bytes(contents)
    path = tmp_path / f"disk.{form}"
    if form == "vhd":
        vhdx.convert(tmp_path / "disk.raw", path)
    UnreadableHost(monkeypatch, path, [(MIB, MIB + SECTOR)])
    with open_any(str(path), salvage=True) as disk:
        assert disk.pread(disk.size, 0) == contents[:MIB] + bytes(SECTOR) + contents[MIB + SECTOR :]
        assert [(doubt.offset, doubt.length) for doubt in disk.doubts] == [(MIB, SECTOR)]
    with open_any(str(path)) as disk, pytest.raises(OSError, match="of the disk"):
        disk.pread(2 * MIB, 0)


def test_a_child_is_doubted_only_where_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = child()
    path = image.write(tmp_path / "image.vhdx")
    place = image.plan().bitmaps[0]
    UnreadableHost(monkeypatch, path, [(place, place + SECTOR)])
    with vhdx.open(path, salvage=True) as disk:
        whole(disk)
        reasons = {(doubt.offset, doubt.reason) for doubt in disk.doubts}
    assert any("the host cannot read what says where it is" in reason for _, reason in reasons)


@BOTH
def test_only_what_failed_is_read_twice(short: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(pattern(1, MIB))
    bad = (300 * KIB + 512, 300 * KIB + 2048)
    host = UnreadableHost(monkeypatch, path, [bad], short=short)
    storage = SkippingStorage(open_for_reading(str(path)))
    data = storage.read(MIB, 0)
    assert data == pattern(1, MIB)[: bad[0]] + bytes(bad[1] - bad[0]) + pattern(1, MIB)[bad[1] :]
    assert storage.unreadable(0, MIB) == [bad]
    read = sorted((offset, offset + length) for offset, length, failed in host.reads if not failed)
    assert all(end <= start for (_, end), (start, _) in pairwise(read))
    assert len(host.reads) < 40
    storage.close()


def test_the_end_of_a_file_is_no_failure_of_the_host(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    storage = SkippingStorage(open_for_reading(str(path)))
    with pytest.raises(OSError, match="ends inside"):
        storage.read(2000, 0)
    assert storage.unreadable(0, 2000) == []
    storage.close()


@contextlib.contextmanager
def failing_drive(path: Path, folder: Path, start: int, end: int) -> Iterator[Path]:
    """The file on a file system that fails between two places of it."""
    (mounted := folder / "mounted").mkdir()
    words = [str(mounted), str(path), str(start), str(end)]
    drive = subprocess.Popen([sys.executable, "-m", "tests.support.failing_fuse", *words])
    try:
        for _ in range(300):
            if mounted.is_mount():
                break
            time.sleep(0.1)
        yield mounted / "image"
    finally:
        subprocess.run(["fusermount3", "-u", "-z", str(mounted)], check=False)
        drive.wait(30)


FUSE = pytest.mark.skipif(NO_FUSE is not None, reason=str(NO_FUSE))


@FUSE
@needs("fusermount3")
def test_a_drive_that_really_fails(tmp_path: Path) -> None:
    image = dynamic()
    path = image.write(tmp_path / "image.vhdx")
    bad = image.plan().blocks[1] + 40 * SECTOR
    expected = bytearray(image.content())
    lost = MIB + 40 * SECTOR
    expected[lost : lost + SECTOR] = bytes(SECTOR)
    with failing_drive(path, tmp_path, bad, bad + SECTOR) as drive:
        with vhdx.open(drive, lock=False) as disk, pytest.raises(OSError, match="of the disk"):
            disk.pread(MIB, MIB)
        with vhdx.open(drive, lock=False, salvage=True) as disk:
            assert whole(disk) == bytes(expected)
            assert [(doubt.offset, doubt.length) for doubt in disk.doubts] == [(lost, SECTOR)]
        done = run("read", "--salvage", "--force-share", drive, str(lost), "8K")
        assert (done.code, f"{SECTOR} bytes at {lost}" in done.err) == (3, True)
        target, state = tmp_path / "target.raw", tmp_path / "state.map"
        doubts: list[vhdx.Doubt] = []
        for _ in range(2):  # the second time nothing is left to be tried
            doubts.clear()
            vhdx.convert(drive, target, salvage=True, state=state, lock=False, on_doubt=doubts.append)
            assert target.read_bytes() == bytes(expected)
            assert [(doubt.offset, doubt.length) for doubt in doubts] == [(lost, SECTOR)]


class _StoppedError(Exception):
    """Somebody pressed Ctrl-C."""


@FUSE
@needs("fusermount3")
@needs("ddrescue")
def test_ddrescue_and_we_go_on_from_each_others_map(tmp_path: Path) -> None:
    """Of a drive that fails: each begins with a half of it, and the other one does the rest."""
    contents = pattern(3, 4 * MIB)
    (tmp_path / "disk.raw").write_bytes(contents)
    bad = MIB + 5 * SECTOR
    expected = contents[:bad] + bytes(SECTOR) + contents[bad + SECTOR :]

    def stop(done: int, _: int | None) -> None:
        if done >= 2 * MIB:
            raise _StoppedError

    with failing_drive(tmp_path / "disk.raw", tmp_path, bad, bad + SECTOR) as drive:
        for first in ("ours", "theirs"):
            target, state = tmp_path / f"{first}.raw", tmp_path / f"{first}.map"
            ddrescue = ["ddrescue", "-q", "--sector-size=4096", str(drive), str(target), str(state)]
            if first == "ours":
                with pytest.raises(_StoppedError):
                    vhdx.convert(drive, target, salvage=True, state=state, source_format="raw", progress=stop)
                subprocess.run(ddrescue, check=True, timeout=60)
            else:
                subprocess.run([*ddrescue, "--size=2M"], check=True, timeout=60)
                vhdx.convert(drive, target, salvage=True, state=state, source_format="raw")
            assert target.read_bytes() == expected
            rows = mapfile.unpack(state.read_text())
            assert [(row.offset, row.length) for row in rows if row.status == "-"] == [(bad, SECTOR)]
            assert {row.status for row in rows} == {"+", "-"}
