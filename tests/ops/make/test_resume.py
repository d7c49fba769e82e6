"""A conversion that is broken off and gone on with, by us and by ddrescue, from each other's map."""

import shutil
import subprocess
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import COMMAND
from tests.support.build import ImageBuilder
from tests.support.layout import MIB, SECTOR
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.unreadable import UnreadableHost
from vhdx.format import mapfile
from vhdx.format.mapfile import MapRange


class BrokenOffError(Exception):
    """Somebody pressed Ctrl-C."""


def image() -> ImageBuilder:
    made = ImageBuilder(10 * MIB)
    made.blocks = {number: Block(pattern(number, MIB)) for number in (0, 1, 4, 9)}
    return made


def ranges(path: Path) -> list[tuple[int, int, str]]:
    return [(row.offset, row.length, row.status) for row in mapfile.unpack(path.read_text())]


def test_what_is_done_or_failed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = image().write(tmp_path / "a.vhdx")
    target, state = tmp_path / "a.raw", tmp_path / "a.map"
    places = image().plan().blocks
    host = UnreadableHost(monkeypatch, path, [(places[1] + SECTOR, places[1] + 2 * SECTOR)])

    def stop(done: int, _: int | None) -> None:
        if done == 5 * MIB:
            raise BrokenOffError

    with pytest.raises(BrokenOffError):
        vhdx.convert(path, target, salvage=True, state=state, progress=stop)
    lost = MIB + SECTOR
    assert ranges(state) == [
        (0, lost, "+"),
        (lost, SECTOR, "-"),
        (lost + SECTOR, 5 * MIB - lost - SECTOR, "+"),
        (5 * MIB, 5 * MIB, "?"),
    ]
    host.reads.clear()
    doubts: list[vhdx.Doubt] = []
    made = vhdx.convert(path, target, salvage=True, state=state, on_doubt=doubts.append)
    assert [(doubt.offset, doubt.length) for doubt in doubts] == [(lost, SECTOR)]
    assert made.doubts == 1
    assert not any(places[0] <= offset < places[4] + MIB for offset, _, _ in host.reads)
    expected = bytearray(image().content())
    expected[lost : lost + SECTOR] = bytes(SECTOR)
    assert target.read_bytes() == bytes(expected)
    assert [status for _, _, status in ranges(state)] == ["+", "-", "+"]


def test_what_stood_in_a_range_that_was_not_tried_is_replaced(tmp_path: Path) -> None:
    path = image().write(tmp_path / "a.vhdx")
    target, state = tmp_path / "a.raw", tmp_path / "a.map"
    target.write_bytes(b"x" * 10 * MIB)
    state.write_text(mapfile.pack([MapRange(0, MIB, "-"), MapRange(MIB, 9 * MIB, "/")], 0))
    vhdx.convert(path, target, salvage=True, state=state)
    assert target.read_bytes() == b"x" * MIB + image().content()[MIB:]


@pytest.mark.skipif(shutil.which("ddrescue") is None, reason="ddrescue is not there")
def test_ddrescue_goes_on_from_our_map_and_we_from_its(tmp_path: Path) -> None:
    path = image().write(tmp_path / "a.vhdx")
    flat, target, state = tmp_path / "flat.raw", tmp_path / "a.raw", tmp_path / "a.map"
    flat.write_bytes(image().content())

    def stop(done: int, _: int | None) -> None:
        if done == 2 * MIB:
            raise BrokenOffError

    with pytest.raises(BrokenOffError):
        vhdx.convert(path, target, salvage=True, state=state, progress=stop)
    subprocess.run(
        ["ddrescue", "-q", "--size", str(6 * MIB), str(flat), str(target), str(state)], check=True, timeout=60
    )
    assert [status for _, _, status in ranges(state)] == ["+", "?"]
    vhdx.convert(path, target, salvage=True, state=state)
    assert target.read_bytes() == image().content()
    assert ranges(state) == [(0, 10 * MIB, "+")]
    done = subprocess.run(["ddrescuelog", "-D", str(state)], check=False, timeout=60)
    assert done.returncode == 0, "ddrescue calls it finished"


def test_what_is_refused(tmp_path: Path) -> None:
    path = image().write(tmp_path / "a.vhdx")
    target, state = tmp_path / "a.raw", tmp_path / "a.map"
    with pytest.raises(ValueError, match="raw target"):
        vhdx.convert(path, tmp_path / "b.vhdx", salvage=True, state=state)
    with pytest.raises(ValueError, match="goes with salvage"):
        vhdx.convert(path, target, state=state)
    target.write_bytes(b"something")
    with pytest.raises(FileExistsError):
        vhdx.convert(path, target, salvage=True, state=state)
    for text in ("", "0 ?\n0 10 ?\n20 10 +\n", "0 +\n0 0x10000000 +\n", "0 +\nno range +\n"):
        state.write_text(text)
        with pytest.raises(ValueError, match="map"):
            vhdx.convert(path, target, salvage=True, state=state)
    assert target.read_bytes() == b"something"


def test_read_salvages(tmp_path: Path) -> None:
    made = image()
    made.file_length = made.plan().blocks[9] + MIB // 2
    path = made.write(tmp_path / "a.vhdx")
    for offset, code, length in (("0", 0, MIB), ("9M", 3, MIB // 2)):
        command = [*COMMAND, "read", "--salvage", str(path), offset, "1M"]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
        start = 9 * MIB if code else 0
        assert done.stdout == image().content()[start : start + length] + bytes(MIB - length)
        assert (done.returncode, b"doubtful" in done.stderr) == (code, code == 3)
