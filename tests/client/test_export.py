"""Disks of NBD servers, read and written: nbdkit and QEMU at the other end."""

import re
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import vhdx
from tests.ops.make.making import raw_bytes, space_taken, write_raw
from tests.partitions.tables import gpt_disk
from tests.support.holes import data_ranges
from tests.support.layout import MIB
from tests.support.tools import needs
from vhdx.client.export import open_export

from .peers import cable, nbdkit, qemu_nbd

pytestmark = needs("nbdkit", "qemu-nbd")
SIZE = 12 * MIB
PIECES = {
    0: b"first" * 700,
    2 * MIB - 3: b"over a border of MiB",
    4 * MIB: b"\1" * (3 * MIB + 5),
    SIZE - 5: b"last.",
}
CONTENT = raw_bytes(SIZE, PIECES)
OLD = b"\xaa" * SIZE
LARGE_BLOCKS = (
    "--filter=blocksize-policy",
    "blocksize-minimum=4096",
    "blocksize-preferred=4096",
    "blocksize-maximum=65536",
    "blocksize-error-policy=error",
)
CUT = r"closed the connection|reset|Broken pipe"
Server = Callable[[Path, Path], AbstractContextManager[str]]
SERVERS: dict[str, Server] = {
    "nbdkit": lambda folder, raw: nbdkit(folder, "file", raw),
    "blocks of 4096 bytes": lambda folder, raw: nbdkit(folder, "file", raw, *LARGE_BLOCKS),
    "simple replies": lambda folder, raw: nbdkit(folder, "--no-sr", "file", raw),
    "no zeroes": lambda folder, raw: nbdkit(folder, "--mask-handshake=1", "--filter=nozero", "file", raw),
    "answers out of order": lambda folder, raw: nbdkit(folder, "--filter=delay", "file", raw, "rdelay=1ms"),
    "qemu-nbd": lambda folder, raw: qemu_nbd(folder, "-f", "raw", raw),
}


@pytest.fixture(name="server", params=SERVERS)
def _server(request: pytest.FixtureRequest) -> Server:
    return SERVERS[request.param]


def test_what_a_server_has(server: Server, tmp_path: Path) -> None:
    """Its holes stay holes."""
    write_raw(tmp_path / "a.raw", SIZE, PIECES)
    with server(tmp_path, tmp_path / "a.raw") as uri:
        made = vhdx.convert(uri, tmp_path / "a.vhdx")
        assert vhdx.compare(uri, tmp_path / "a.vhdx").identical
        with vhdx.open(uri) as disk:
            assert disk.pread(7, 2 * MIB - 5) == CONTENT[2 * MIB - 5 :][:7]
    assert (made.source_format, made.virtual_size) == ("raw", SIZE)
    assert made.data_size < 4 * MIB
    subprocess.run(
        ["qemu-img", "compare", "-f", "raw", "-F", "vhdx", str(tmp_path / "a.raw"), str(tmp_path / "a.vhdx")],
        check=True,
    )


def test_onto_a_server(server: Server, tmp_path: Path) -> None:
    """What stood there before is gone where the disk has zeros."""
    raw = write_raw(tmp_path / "a.raw", SIZE, PIECES)
    vhdx.convert(raw, tmp_path / "a.vhdx")
    (tmp_path / "b.raw").write_bytes(OLD)
    with server(tmp_path, tmp_path / "b.raw") as uri:
        made = vhdx.convert(tmp_path / "a.vhdx", uri, overwrite=True, verify=True)
    assert (tmp_path / "b.raw").read_bytes() == CONTENT
    assert (made.target_format, made.remarks) == ("raw", ())


def test_holes_of_a_server_become_holes(tmp_path: Path) -> None:
    """Both ways, unless there are to be none."""
    raw = write_raw(tmp_path / "a.raw", SIZE, PIECES)
    (tmp_path / "b.raw").write_bytes(OLD)
    with nbdkit(tmp_path, "file", raw) as source, nbdkit(tmp_path, "file", tmp_path / "b.raw") as target:
        with vhdx.open(source) as disk:
            assert list(disk.data_ranges()) == stored_in(raw)
        vhdx.convert(source, target, overwrite=True)
        assert space_taken(tmp_path / "b.raw") <= 5 * MIB
        with vhdx.sparse("never"):
            vhdx.convert(source, target, overwrite=True)
        assert space_taken(tmp_path / "b.raw") >= SIZE
    assert (tmp_path / "b.raw").read_bytes() == CONTENT


def stored_in(raw: Path) -> list[tuple[int, int]]:
    """What the host says."""
    with open(raw, "rb") as file:
        return list(data_ranges(file.fileno()))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, ValueError, "say --force"),
        ({"overwrite": True, "target_format": "vhdx"}, ValueError, "gets the disk itself"),
        ({"overwrite": True, "clone": "always"}, ValueError, "cannot share space"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, options: dict[str, object], error: type[Exception], words: str
) -> None:
    raw = write_raw(tmp_path / "a.raw", SIZE, PIECES)
    (tmp_path / "b.raw").write_bytes(OLD)
    with nbdkit(tmp_path, "file", tmp_path / "b.raw") as uri, pytest.raises(error, match=words):
        vhdx.convert(raw, uri, **options)  # type: ignore[arg-type]
    assert (tmp_path / "b.raw").read_bytes() == OLD


def test_servers_that_do_not_take_it(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "a.raw", SIZE, PIECES)
    (tmp_path / "b.raw").write_bytes(OLD)
    with (
        nbdkit(tmp_path, "-r", "file", tmp_path / "b.raw") as uri,
        pytest.raises(OSError, match="nobody write"),
    ):
        vhdx.convert(raw, uri, overwrite=True)
    (tmp_path / "b.raw").write_bytes(OLD[: 8 * MIB])
    with nbdkit(tmp_path, "file", tmp_path / "b.raw") as uri:
        with pytest.raises(ValueError, match="the disk has 12 MiB"):
            vhdx.convert(raw, uri, overwrite=True)
        with pytest.raises(ValueError, match="is the source"):
            vhdx.convert(uri, uri, overwrite=True)
        linked = tmp_path / "linked.sock"
        linked.symlink_to(uri.partition("socket=")[2])
        with pytest.raises(ValueError, match="is the source"):
            vhdx.convert(uri, f"nbd+unix:///?socket={linked}", overwrite=True)
    assert (tmp_path / "b.raw").read_bytes() == OLD[: 8 * MIB]


def test_a_larger_export(tmp_path: Path) -> None:
    """The backup of a GPT moves to its end, for the sectors that the disk has; the old one there goes."""
    raw = tmp_path / "a.raw"
    raw.write_bytes(gpt_disk(SIZE, [(2048, 4095)]))
    (tmp_path / "b.raw").write_bytes(b"\xaa" * (16 * MIB - 512) + b"EFI PART".ljust(512, b"\xaa"))
    with nbdkit(tmp_path, "file", tmp_path / "b.raw") as uri:
        made = vhdx.convert(raw, uri, overwrite=True)
    assert any("backup of the GPT was moved" in remark for remark in made.remarks)
    subprocess.run(["sgdisk", "--verify", str(tmp_path / "b.raw")], check=True, stdout=subprocess.PIPE)


@pytest.mark.parametrize("size", [512, 5 * 4096 + 512, MIB + 512])
def test_what_is_behind_the_disk_stays(tmp_path: Path, size: int) -> None:
    """As the remark says, in the first MiB, too, which is held back."""
    (tmp_path / "a.raw").write_bytes(b"\1" * size)
    (tmp_path / "b.raw").write_bytes(OLD)
    with nbdkit(tmp_path, "file", tmp_path / "b.raw") as uri:
        made = vhdx.convert(tmp_path / "a.raw", uri, overwrite=True, verify=True)
    assert any("what stood there before stays" in remark for remark in made.remarks)
    assert (tmp_path / "b.raw").read_bytes() == b"\1" * size + OLD[size:]


@pytest.mark.parametrize("size", [300, MIB + 1, 5 * MIB + 300])
def test_odd_sizes(tmp_path: Path, size: int) -> None:
    """What is no whole sector is filled up, as that of a flat file is."""
    content = (b"odd" * size)[:size]
    (tmp_path / "a.raw").write_bytes(content)
    (tmp_path / "b.raw").write_bytes(OLD[:size])
    with (
        nbdkit(tmp_path, "file", tmp_path / "a.raw") as source,
        nbdkit(tmp_path, "file", tmp_path / "b.raw") as target,
    ):
        vhdx.convert(source, target, overwrite=True, verify=True)
        with vhdx.open(source) as disk:
            assert disk.pread(disk.size, 0) == content.ljust(-(-size // 512) * 512, b"\0")
    assert (tmp_path / "b.raw").read_bytes() == content


def test_errors_of_a_server(tmp_path: Path) -> None:
    """In its words, with the host's number; what was broken off shows no table."""
    raw = write_raw(tmp_path / "a.raw", SIZE, PIECES)
    (tmp_path / "b.raw").write_bytes(OLD)
    broken = ("--filter=error", "file", raw, "error-pread=EIO", "error-pread-rate=100%")
    with nbdkit(tmp_path, *broken) as uri, pytest.raises(OSError, match=r"\[Errno 5\] the NBD server says"):
        vhdx.convert(uri, tmp_path / "n.vhdx", source_format="raw")
    assert not (tmp_path / "n.vhdx").exists()
    full = ("--filter=error", "file", tmp_path / "b.raw", "error-pwrite=ENOSPC", "error-pwrite-rate=100%")
    with nbdkit(tmp_path, *full) as uri, pytest.raises(OSError, match=r"\[Errno 28\] the NBD server says"):
        vhdx.convert(raw, uri, overwrite=True)
    assert (tmp_path / "b.raw").read_bytes()[:MIB] == bytes(MIB)


def test_a_server_that_tells_no_extents(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "a.raw", SIZE, PIECES)
    failing = ("error-extents=EIO", "error-extents-rate=100%")
    for arguments in (("--filter=noextents",), ("--filter=error", *failing)):
        with nbdkit(tmp_path, arguments[0], "file", raw, *arguments[1:]) as uri:
            vhdx.convert(uri, tmp_path / "a.vhdx", overwrite=True)
        with vhdx.open(tmp_path / "a.vhdx") as disk:
            assert disk.pread(SIZE, 0) == CONTENT


@pytest.mark.parametrize("length", [0, 5, 18, 100, 300, 5000, 300_000, 2_000_000, 3_900_000])
def test_a_cable_that_is_cut(tmp_path: Path, length: int) -> None:
    """Wherever it is cut, no file is made."""
    raw = write_raw(tmp_path / "a.raw", SIZE, PIECES)
    with (
        nbdkit(tmp_path, "--no-sr", "file", raw) as uri,
        cable(tmp_path, uri, length) as cut,
        pytest.raises(OSError, match=CUT),
    ):
        vhdx.convert(cut, tmp_path / "n.vhdx")
    assert not (tmp_path / "n.vhdx").exists()


def written_until_cut(folder: Path, length: int) -> bool:
    """Write through a cable that is cut after so many bytes of replies; whether that was all of them."""
    raw = folder / "a.raw"
    (folder / "b.raw").write_bytes(OLD)
    with nbdkit(folder, "file", folder / "b.raw") as uri, cable(folder, uri, length) as cut:
        try:
            vhdx.convert(raw, cut, overwrite=True)
        except OSError as error:
            assert re.search(CUT, str(error))  # noqa: PT017  it need not be raised
            found = (folder / "b.raw").read_bytes()
            assert found in (CONTENT, OLD) or found[:MIB] == bytes(MIB)
            return False
    assert (folder / "b.raw").read_bytes() == CONTENT
    return True


@pytest.mark.parametrize("length", [0, 30, 200, 300])
def test_a_cable_that_is_cut_while_writing(tmp_path: Path, length: int) -> None:
    """Nothing on the server looks like a disk."""
    write_raw(tmp_path / "a.raw", SIZE, PIECES)
    assert not written_until_cut(tmp_path, length)


@pytest.mark.slow
def test_a_cable_that_is_cut_at_every_reply(tmp_path: Path) -> None:
    write_raw(tmp_path / "a.raw", SIZE, PIECES)
    length = 0
    while not written_until_cut(tmp_path, length):
        length += 10
    assert length > 400


def test_images_on_a_server(tmp_path: Path) -> None:
    """An export is a disk; that it looks like an image is no reason to follow it, unless that is said."""
    raw = write_raw(tmp_path / "a.raw", SIZE, PIECES)
    vhdx.convert(raw, tmp_path / "a.vhdx")
    with nbdkit(tmp_path, "file", tmp_path / "a.vhdx", "--filter=exportname", "exportname=a.vhdx") as uri:
        with pytest.raises(ValueError, match="say -f raw or -f vhdx"):
            vhdx.open(uri)
        with vhdx.open(uri, image_format="vhdx") as disk:
            assert disk.pread(SIZE, 0) == CONTENT


def test_changes_come_in_their_order(tmp_path: Path) -> None:
    """Of the same bytes, whatever the server does at once; reads see what was written before."""
    (tmp_path / "b.raw").write_bytes(OLD)
    delays = ("--filter=delay", "file", tmp_path / "b.raw", "wdelay=1ms", *LARGE_BLOCKS)
    with nbdkit(tmp_path, *delays) as uri:
        storage = open_export(uri)
        for number in range(8):
            storage.write_at(bytes([number]) * 5000, 4096 + 100 * number)
        storage.zero(6000, 3000)
        expected = bytearray(OLD[:20_000])
        for number in range(8):
            expected[4096 + 100 * number : 9096 + 100 * number] = bytes([number]) * 5000
        expected[6000:9000] = bytes(3000)
        assert storage.read(20_000, 0) == expected
        storage.flush()
        storage.close()
    assert (tmp_path / "b.raw").read_bytes()[:20_000] == expected


def test_what_is_read_ahead_beside_a_change_is_no_older(tmp_path: Path) -> None:
    """Reads of one thread overtake a write of another, of which nobody knows yet whether it was done."""
    (tmp_path / "b.raw").write_bytes(OLD)
    with nbdkit(tmp_path, "--filter=delay", "file", tmp_path / "b.raw", "wdelay=100ms") as uri:
        storage = open_export(uri)
        storage.write_at(b"new", MIB)
        storage._ahead.told(0, 2 * MIB)
        first = memoryview(bytearray(4096))
        assert storage._ahead.read_into(first, 0) == len(first)  # as by who looked for changes before it
        assert storage.read(2 * MIB - 4096, 4096) == OLD[: MIB - 4096] + b"new" + OLD[: MIB - 3]
        storage.close()
