"""Block devices as targets: loop devices of this host. They need root."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.tools import needs
from vhdx.storage.device import DeviceStorage

from .making import raw_bytes, space_taken, write_raw

SIZE = 5 * MIB + 512
PIECES = {0: b"boot" * 128, 3 * MIB - 7: b"over a border of MiB", SIZE - 512: b"last" * 128}
CONTENT = raw_bytes(SIZE, PIECES)
OLD = b"\xaa" * MIB
Attach = Callable[[Path], Path]


@pytest.fixture(name="source")
def _source(tmp_path: Path) -> Path:
    source = tmp_path / "a.vhdx"
    vhdx.convert(write_raw(tmp_path / "a.raw", SIZE, PIECES), source)
    return source


@pytest.fixture(name="device")
def _device(tmp_path: Path, block_device: Attach) -> Path:
    """8 MiB, full of something else."""
    return block_device(write_raw(tmp_path / "disk", 8 * MIB, {at * MIB: OLD for at in range(8)}))


def held_by(device: Path) -> bytes:
    """What it holds, past what the host keeps of it."""
    subprocess.run(["blockdev", "--flushbufs", str(device)], check=True)
    return device.read_bytes()


def test_the_disk_is_there_zeros_included(source: Path, device: Path, tmp_path: Path) -> None:
    made = vhdx.convert(source, device, overwrite=True, verify=True)
    assert held_by(device) == (tmp_path / "disk").read_bytes() == CONTENT + (OLD * 3)[: 3 * MIB - 512]
    assert (made.target_format, made.virtual_size) == ("raw", SIZE)
    assert any("what stood there before stays" in remark for remark in made.remarks)
    assert space_taken(tmp_path / "disk") < 5 * MIB  # zeros were given back


@pytest.mark.parametrize("method", ["_given_back", "_zeroed", "written"])
def test_each_way_to_zeros(source: Path, device: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    if method != "_given_back":
        monkeypatch.setattr(DeviceStorage, "_given_back", lambda *_: False)
    if method == "written":
        monkeypatch.setattr(DeviceStorage, "_zeroed", lambda *_: False)
    vhdx.convert(source, device, overwrite=True)
    assert held_by(device)[:SIZE] == CONTENT


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "say --force"),
        ({"overwrite": True, "target_format": "vhdx"}, "gets the disk itself"),
        ({"overwrite": True, "clone": "always"}, "cannot share space"),
    ],
)
def test_what_is_refused(source: Path, device: Path, options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        vhdx.convert(source, device, **options)  # type: ignore[arg-type]
    assert held_by(device) == OLD * 8


def test_a_disk_that_does_not_fit(device: Path, tmp_path: Path) -> None:
    vhdx.create(tmp_path / "large.vhdx", 8 * MIB + 512)
    with pytest.raises(ValueError, match="the disk has 8"):
        vhdx.convert(tmp_path / "large.vhdx", device, overwrite=True)
    assert held_by(device) == OLD * 8


def test_the_source_itself(source: Path, device: Path, tmp_path: Path, block_device: Attach) -> None:
    """By its own name, by the file that it is kept in."""
    around = block_device(source)
    for taken, target in ((device, device), (tmp_path / "disk", device), (source, around)):
        with pytest.raises(ValueError, match="is the source"):
            vhdx.convert(taken, target, source_format="raw", overwrite=True)
    assert held_by(device) == OLD * 8


@needs("mkfs.ext4")
def test_a_device_in_use(source: Path, device: Path, tmp_path: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", str(device)], check=True)
    (tmp_path / "m").mkdir()
    subprocess.run(["mount", str(device), str(tmp_path / "m")], check=True)
    try:
        with pytest.raises(vhdx.ImageLockedError, match=f"mounted at {tmp_path}/m"):
            vhdx.convert(source, device, overwrite=True)
    finally:
        subprocess.run(["umount", str(tmp_path / "m")], check=True)
    held = os.open(device, os.O_RDWR | os.O_EXCL)
    try:
        with pytest.raises(vhdx.ImageLockedError, match="in use"):
            vhdx.convert(source, device, overwrite=True)
    finally:
        os.close(held)
    vhdx.convert(source, device, overwrite=True)


def test_what_was_broken_off_shows_no_table(
    source: Path, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever failed in between, the first MiB is zeros, and no old GPT is left at the end."""
    with open(device, "r+b") as opened:
        opened.seek(8 * MIB - 512)
        opened.write(b"EFI PART")
    calls = iter(range(100))

    def failing(self: DeviceStorage) -> None:
        if next(calls) == 1:
            raise OSError(5, "gone")
        os.fsync(self._descriptor)

    monkeypatch.setattr(DeviceStorage, "flush", failing)
    with pytest.raises(OSError, match="gone"):
        vhdx.convert(source, device, overwrite=True)
    assert held_by(device)[:MIB] == bytes(MIB)
    assert held_by(device)[-512:] == bytes(512)


def test_a_device_that_lies_is_found_out(source: Path, device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lying(self: DeviceStorage) -> None:
        os.pwrite(self._descriptor, b"x", 4 * MIB + 5)

    monkeypatch.setattr(DeviceStorage, "drop_cache", lying)
    with pytest.raises(OSError, match=f"another byte at {4 * MIB + 5}"):
        vhdx.convert(source, device, overwrite=True, verify=True)


def test_only_devices_are_read_back(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="vhdx compare"):
        vhdx.convert(source, tmp_path / "b.raw", verify=True)


@needs("sgdisk")
@pytest.mark.parametrize("sector_size", [512, 4096])
def test_a_table_fits_the_device(tmp_path: Path, sector_size: int, request: pytest.FixtureRequest) -> None:
    """Its backup at the end, its numbers in the sectors of the device: as another program finds them."""
    raw = write_raw(tmp_path / "g.raw", 20 * MIB, {})
    subprocess.run(["sgdisk", "-n", "1:2048:+8M", str(raw)], check=True, capture_output=True)
    with open(raw, "r+b") as file:
        file.seek(MIB)
        file.write(b"partition")
    disk = write_raw(tmp_path / "disk", 24 * MIB, {})
    line = ["losetup", "--find", "--show", "--sector-size", str(sector_size), str(disk)]
    device = subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()
    request.addfinalizer(lambda: subprocess.run(["losetup", "--detach", device], check=True))
    vhdx.convert(raw, device, overwrite=True, verify=True)
    verified = subprocess.run(["sgdisk", "-v", device], check=True, capture_output=True, text=True).stdout
    assert "No problems found" in verified
    with vhdx.open(device, image_format="raw") as opened:
        assert opened.pread(9, MIB) == b"partition"


def test_a_disk_out_of_a_pipe_that_is_too_large(device: Path) -> None:
    command = ["vhdx", "convert", "-f", "raw", "-", str(device), "--force"]
    given = bytes(9 * MIB)
    done = subprocess.run([sys.executable, "-m", *command], input=given, capture_output=True, check=False)
    assert (done.returncode, b"is larger than" in done.stderr) == (1, True)


@pytest.mark.parametrize("size", [512, 700, MIB - 512, MIB, MIB + 512])
def test_a_disk_out_of_a_pipe_ends_where_it_ends(device: Path, size: int) -> None:
    """However small it is: what stood behind it stays."""
    command = ["vhdx", "convert", "-f", "raw", "-", str(device), "--force"]
    given = (b"disk" * (size // 8)).ljust(size, b"\0")
    done = subprocess.run([sys.executable, "-m", *command], input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert held_by(device) == given + (OLD * 8)[size:]


def test_a_pipe_that_brings_nothing_changes_nothing(device: Path) -> None:
    command = ["vhdx", "convert", "-f", "raw", "-", str(device), "--force"]
    done = subprocess.run([sys.executable, "-m", *command], input=b"", capture_output=True, check=False)
    assert done.returncode != 0
    assert held_by(device) == OLD * 8
