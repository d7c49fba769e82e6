"""Conversions that are killed: nothing half-written looks whole, wherever it went."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import COMMAND
from tests.client.peers import nbdkit
from tests.ops.test_shared import chain, holes_and_gaps
from tests.support.killing import sampled
from tests.support.layout import MIB
from tests.support.sharing import MAKERS, SHARING, mounted
from tests.support.tools import needs

from .making import raw_bytes, write_raw

SIZE = 8 * MIB
PIECES = {0: b"boot" * 3000, 3 * MIB - 7: b"over a border of MiB" * 9000, SIZE - 512: b"last" * 128}
CONTENT = raw_bytes(SIZE, PIECES)
OLD = b"\xaa" * SIZE
POINTS = [pytest.param(3, id="some"), pytest.param(None, id="all", marks=pytest.mark.slow)]
"""At how many calls."""
points = pytest.mark.parametrize("number", POINTS)
kinds = pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] if kind != "xfs" else []) for kind in MAKERS]
)


def looks_like_a_disk(found: bytes) -> bool:
    """Whether anybody would take it for the disk, or for the one before."""
    return found[:MIB] != bytes(MIB)


@points
def test_onto_a_block_device(
    tmp_path: Path, block_device: Callable[[Path], Path], number: int | None
) -> None:
    raw = write_raw(tmp_path / "a.raw", SIZE, PIECES)
    disk = write_raw(tmp_path / "disk", SIZE, {})
    device = block_device(disk)
    found = []

    def prepare() -> None:
        device.write_bytes(OLD)

    for _ in sampled(lambda: vhdx.convert(raw, device, overwrite=True), number, prepare):
        subprocess.run(["blockdev", "--flushbufs", str(device)], check=True)
        found.append(device.read_bytes())
        assert found[-1] in (CONTENT, OLD) or not looks_like_a_disk(found[-1])
    assert OLD in found
    assert not all(map(looks_like_a_disk, found))


@needs("nbdkit")
@points
def test_onto_a_server(tmp_path: Path, number: int | None) -> None:
    raw, disk = write_raw(tmp_path / "a.raw", SIZE, PIECES), tmp_path / "disk"
    found = []
    with nbdkit(tmp_path, "file", write_raw(disk, SIZE, {})) as uri:
        for _ in sampled(
            lambda: vhdx.convert(raw, uri, overwrite=True), number, lambda: disk.write_bytes(OLD)
        ):
            found.append(disk.read_bytes())
            assert found[-1] in (CONTENT, OLD) or not looks_like_a_disk(found[-1])
    assert not all(map(looks_like_a_disk, found))


@SHARING
@kinds
@points
def test_by_shared_space(tmp_path: Path, kind: str, number: int | None) -> None:
    with mounted(kind, tmp_path) as place:
        raw, target = write_raw(place / "a.raw", SIZE, PIECES), place / "b.vhdx"

        def job() -> object:
            return vhdx.convert(raw, target, overwrite=True, clone="always")

        whole = 0
        for _ in sampled(job, number, lambda: target.unlink(missing_ok=True)):
            assert raw.read_bytes() == CONTENT
            if target.exists():
                whole += 1
                with vhdx.open(target) as disk:
                    assert disk.pread(SIZE, 0) == CONTENT
                assert vhdx.check(target).is_clean
        assert number is not None or whole
        job()
        assert sorted(os.listdir(place)) == ["a.raw", "b.vhdx"]


@SHARING
@kinds
@points
def test_merges_by_shared_space(tmp_path: Path, kind: str, number: int | None) -> None:
    """The chain opens and reads as before; running it again completes it."""
    with mounted(kind, tmp_path) as place:
        child, base = place / "child.avhdx", place / "base.vhdx"

        def prepare() -> None:
            for path in (child, base):
                path.unlink(missing_ok=True)
            chain()(place)

        prepare()
        with vhdx.open(child) as disk:
            expected = disk.pread(disk.size, 0)
        for _ in sampled(lambda: vhdx.merge(child, clone="always"), number, prepare):
            for path in (child, base):
                with vhdx.open(path) as disk:
                    assert path == base or disk.pread(disk.size, 0) == expected
            vhdx.merge(child, clone="always", delete_child=True)
            with vhdx.open(base) as disk:
                assert disk.pread(disk.size, 0) == expected
            assert (
                vhdx.check(base).errors == 0
            )  # space that is leaked is told, as after a copy that was killed


@SHARING
@kinds
@points
def test_compactions_by_shared_space(tmp_path: Path, kind: str, number: int | None) -> None:
    with mounted(kind, tmp_path) as place:
        path = place / "gaps.vhdx"

        def prepare() -> None:
            path.unlink(missing_ok=True)
            holes_and_gaps(place)

        prepare()
        with vhdx.open(path) as disk:
            expected = disk.pread(disk.size, 0)
        smallest = vhdx.compact(path, clone="never").file_size_after
        for _ in sampled(lambda: vhdx.compact(path, clone="always"), number, prepare):
            with vhdx.open(path) as disk:
                assert disk.pread(disk.size, 0) == expected
            assert vhdx.compact(path, clone="always").file_size_after == smallest
            with vhdx.open(path) as disk:
                assert disk.pread(disk.size, 0) == expected
            assert vhdx.check(path).is_clean


PIPED = {
    "vhdx": ["-O", "vhdx", "--block-size", "1M"],
    "vhd": ["-O", "vhd"],
    "dynamic vhd": ["-O", "vhd", "--type", "dynamic"],
}


@pytest.mark.parametrize("kind", PIPED)
@points
def test_into_a_pipe(tmp_path: Path, kind: str, number: int | None) -> None:
    """Whoever reads what came before the kill refuses it, through a pipe and as a file."""
    raw = write_raw(tmp_path / "a.raw", SIZE, PIECES)
    line = [*COMMAND, "convert", *PIPED[kind], str(raw), "-"]
    whole = subprocess.run(line, check=True, capture_output=True).stdout
    for step in range(number or 16):
        wanted = len(whole) * step // (number or 16)
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            came = process.stdout.read(wanted)
            process.send_signal(signal.SIGKILL)
            came += process.stdout.read()
        if process.returncode == 0 or len(came) == len(whole):  # it was faster
            continue
        part = tmp_path / f"part.{kind[-4:].strip()}"
        part.write_bytes(came)
        _refused(part, ["-f", kind[-4:].strip()])


def _refused(part: Path, options: list[str]) -> None:
    target = part.with_suffix(".raw")
    for source, given in ((str(part), b""), ("-", part.read_bytes())):
        done = subprocess.run(
            [*COMMAND, "convert", *options, source, str(target)],
            input=given,
            capture_output=True,
            check=False,
        )
        assert done.returncode != 0, (source, len(given))
        assert not target.exists()


@points
def test_out_of_a_pipe(tmp_path: Path, number: int | None) -> None:
    """The writer is killed: an image that ends early makes no file. Of a raw disk only its size tells."""
    raw = write_raw(tmp_path / "a.raw", SIZE, PIECES)
    image = tmp_path / "a.vhdx"
    image.write_bytes(
        subprocess.run(
            [*COMMAND, "convert", "-O", "vhdx", str(raw), "-"], check=True, capture_output=True
        ).stdout
    )
    target = tmp_path / "b.vhdx"
    size = image.stat().st_size
    for step in range(number or 16):
        count = size * step // (number or 16)
        with subprocess.Popen(
            [*COMMAND, "convert", "-", str(target)], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdin is not None
            process.stdin.write(image.read_bytes()[:count])
            process.stdin.close()
        assert process.returncode != 0
        assert not target.exists()
