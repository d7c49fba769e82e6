"""What people use as clients, against `vhdx serve`: numbers are those of the table in NBD's own practice."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vhdx
from tests.interop.programs import run
from tests.support.layout import MIB
from tests.support.patterns import pattern
from tests.support.tools import needs
from vhdx.disk.open import open_disk

from .serving import Process, serving

NBDINFO, NBDCOPY, FIO = needs("nbdinfo"), needs("nbdcopy"), needs("fio")
QEMU_IMG, QEMU_IO = needs("qemu-img"), needs("qemu-io")
SIZE = 24 * MIB


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """A VHDX with data, zeros and holes, and its contents as a raw file."""
    vhdx.create(tmp_path / "disk.vhdx", SIZE, block_size=MIB)
    with open_disk(tmp_path / "disk.vhdx", "r+") as disk:
        disk.pwrite(pattern(1, 3 * MIB), 0)
        disk.pwrite(pattern(2, 5 * MIB + 512), 7 * MIB + 512)
        disk.zero(length=MIB, offset=9 * MIB)
        disk.pwrite(pattern(3, 700), SIZE - 700)
        (tmp_path / "disk.raw").write_bytes(disk.pread(SIZE, 0))
    return tmp_path


@pytest.fixture(name="reader")
def _reader(folder: Path) -> Iterator[Process]:
    with serving(folder / "disk.vhdx", folder / "disk.raw", "--socket", folder / "s", count=2) as process:
        yield process
        assert process.end() == (0, "")


@pytest.fixture(name="writer")
def _writer(folder: Path) -> Iterator[Process]:
    """An empty image of the same size that may be written to; sound afterwards."""
    vhdx.create(folder / "new.vhdx", SIZE, block_size=MIB)
    with serving(folder / "new.vhdx", "--write", "--socket", folder / "s") as process:
        yield process
        assert process.end() == (0, "")
    with open_disk(folder / "new.vhdx") as disk:
        assert disk.layers[0].sequence is None
    if os.path.exists("/usr/bin/qemu-img"):
        run("qemu-img", "check", "-f", "vhdx", folder / "new.vhdx")


def contents(folder: Path) -> bytes:
    return (folder / "disk.raw").read_bytes()


def info(*words: str) -> Any:
    return json.loads(run("nbdinfo", "--json", *words))


@NBDINFO
def test_nbdinfo_sees_what_is_offered(reader: Process) -> None:
    found = info(reader.uri)
    (export,) = found["exports"]
    assert found["structured"]
    assert export["export-size"] == SIZE
    assert export["export-name"] == "disk.vhdx"
    assert export["contexts"] == ["base:allocation", "x-vhdx:state", "x-vhdx:depth"]
    assert export["is_read_only"]
    assert export["can_multi_conn"]
    assert export["can_df"]
    assert not export["can_trim"]
    sizes = [export[f"block_size_{which}"] for which in ("minimum", "preferred", "maximum")]
    assert sizes == [1, 4096, 32 * MIB]
    default = reader.uri.replace("/disk.vhdx?", "/?")
    assert info(default)["exports"][0]["export-size"] == SIZE
    listed = info("--list", default)["exports"]
    assert [each["export-name"] for each in listed] == ["disk.vhdx", "disk.raw"]
    assert [each["description"] for each in listed] == ["24 MiB, dynamic", "24 MiB, raw"]


@NBDINFO
def test_nbdinfo_of_what_may_be_written(writer: Process) -> None:
    (export,) = info(writer.uri)["exports"]
    assert not export["is_read_only"]
    for ability in ("trim", "zero", "fast_zero", "flush", "fua", "cache", "multi_conn"):
        assert export[f"can_{ability}"], ability


@NBDINFO
def test_maps_tell_data_holes_and_states(reader: Process, folder: Path) -> None:
    raw, at = contents(folder), 0
    kinds = set()
    for extent in info("--map", reader.uri):
        assert extent["offset"] == at
        at += extent["length"]
        kinds.add(extent["type"])
        assert extent["type"] in (0, 2, 3)
        if extent["type"]:
            assert not any(raw[extent["offset"] : at])
    assert at == SIZE
    assert {0, 3} <= kinds
    states = [(e["offset"] // MIB, e["type"]) for e in info("--map=x-vhdx:state", reader.uri)]
    assert states == [(0, 6), (3, 0), (7, 6), (9, 2), (10, 6), (13, 0), (23, 6)]
    done = subprocess.run(
        ["nbdinfo", "--map=no:such", reader.uri], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1


@NBDINFO
def test_an_export_that_is_not_there(reader: Process) -> None:
    said = run("nbdinfo", reader.uri.replace("/disk.vhdx?", "/nope?"), code=1)
    assert "nope" in said


@NBDINFO
def test_a_server_started_by_its_client(folder: Path) -> None:
    command = [sys.executable, "-m", "vhdx", "serve", str(folder / "disk.vhdx")]
    assert info("--", "[", *command, "]")["exports"][0]["export-size"] == SIZE
    with open_disk(folder / "disk.vhdx", "r+"):  # it has let go of the image
        pass


@NBDCOPY
@pytest.mark.parametrize(
    "options",
    [(), ("--connections=4",), ("--synchronous",), ("--no-extents",), ("--request-size=33554432",)],
)
def test_nbdcopy_out(options: tuple[str, ...], reader: Process, folder: Path) -> None:
    run("nbdcopy", *options, reader.uri, folder / "out.raw")
    assert (folder / "out.raw").read_bytes() == contents(folder)


@NBDCOPY
@pytest.mark.parametrize("options", [("--connections=4",), ("--synchronous",), ("--allocated",)])
def test_nbdcopy_in(options: tuple[str, ...], writer: Process, folder: Path) -> None:
    run("nbdcopy", "--flush", *options, folder / "disk.raw", writer.uri)
    run("nbdcopy", writer.uri, folder / "out.raw")
    assert (folder / "out.raw").read_bytes() == contents(folder)


@NBDCOPY
def test_nbdcopy_into_what_is_only_read(reader: Process, folder: Path) -> None:
    assert "read-only" in run("nbdcopy", folder / "disk.raw", reader.uri, code=1)


@NBDCOPY
def test_an_empty_disk_of_1_tib_is_copied_without_reading_it(tmp_path: Path) -> None:
    vhdx.create(tmp_path / "huge.vhdx", "1TiB")
    with serving(tmp_path / "huge.vhdx", "--socket", tmp_path / "s") as process:
        run("nbdcopy", process.uri, "null:")
        assert process.end() == (0, "")


@QEMU_IMG
def test_qemu_img_reads_maps_and_compares(reader: Process, folder: Path) -> None:
    assert json.loads(run("qemu-img", "info", "--output=json", reader.uri))["virtual-size"] == SIZE
    raw, at = contents(folder), 0
    for extent in json.loads(run("qemu-img", "map", "--output=json", reader.uri)):
        assert extent["start"] == at
        at += extent["length"]
        assert not extent["zero"] or not any(raw[extent["start"] : at])
    assert at == SIZE
    assert "identical" in run(
        "qemu-img", "compare", "-f", "raw", "-F", "raw", folder / "disk.raw", reader.uri
    )
    run("qemu-img", "convert", "-f", "raw", "-O", "raw", reader.uri, folder / "out.raw")
    assert (folder / "out.raw").read_bytes() == raw


@QEMU_IMG
@pytest.mark.parametrize("options", [(), ("-W", "-m", "8"), ("--target-is-zero",)])
def test_qemu_img_writes(options: tuple[str, ...], writer: Process, folder: Path) -> None:
    run("qemu-img", "convert", "-n", *options, "-f", "raw", "-O", "raw", folder / "disk.raw", writer.uri)
    assert "identical" in run(
        "qemu-img", "compare", "-f", "raw", "-F", "raw", folder / "disk.raw", writer.uri
    )


def qemu_io(process: Process, *commands: str, code: int = 0, cache: str = "writeback") -> str:
    words = [word for command in commands for word in ("-c", command)]
    return run("qemu-io", "-t", cache, "-f", "raw", *words, process.uri, code=code)


@QEMU_IO
@pytest.mark.parametrize("cache", ["writeback", "writethrough"])
def test_qemu_io_writes_and_verifies(cache: str, writer: Process) -> None:
    said = qemu_io(
        writer,
        *("write -P 0x5a 0 64k", "read -P 0x5a 0 64k", "write -P 1 100 20", "read -P 1 100 20"),
        *("read -P 0x5a 0 100", "write -f -P 2 1048000 2000", "read -P 2 1048000 2000", "flush"),
        *("write -z 0 1M", "read -P 0 0 1M", "read -P 2 1M 1424", "write -z -u 1M 1M", "read -P 0 1M 1M"),
        *("write -P 3 2M 3M", "discard 3M 1M", "read -P 3 2M 1M", "read -P 3 4M 1M", "read -P 0 3M 1M"),
        *("aio_write -P 1 8M 64k", "aio_write -P 2 8454144 64k", "aio_flush"),
        *("read -P 1 8M 64k", "read -P 2 8454144 64k", f"write -P 7 {SIZE - 1} 1", f"read -P 7 {SIZE - 1} 1"),
        cache=cache,
    )
    assert "Pattern verification failed" not in said


@QEMU_IO
def test_qemu_io_zeroes_with_space_and_without(writer: Process, folder: Path) -> None:
    qemu_io(writer, "write -z 0 1M", "write -z -u 1M 1M", "write -P 1 2M 2M", "write -z -u 3M 1M")
    assert writer.end() == (0, "")
    with open_disk(folder / "new.vhdx") as disk:
        kinds = [
            (e.offset // MIB, e.kind.value, e.file_offset is not None) for e in disk.extents(length=4 * MIB)
        ]
    assert kinds == [(0, "data", True), (1, "zero", False), (2, "data", True), (3, "zero", False)]


@QEMU_IO
def test_zeroes_that_are_to_be_fast_are_refused_whole(writer: Process) -> None:
    said = qemu_io(writer, "write -P 5 0 2M", "write -n -z 0 1536k", "read -P 5 0 2M", code=1)
    assert "not supported" in said
    assert "Pattern verification failed" not in said


@QEMU_IO
def test_qemu_io_is_refused_what_is_only_read(reader: Process) -> None:
    assert "Permission denied" in run("qemu-io", "-f", "raw", "-c", "write 0 512", reader.uri, code=1)


@FIO
@pytest.mark.parametrize(
    "options",
    [
        ("--rw=randrw", "--iodepth=32", "--fsync=64", "--verify=crc32c"),
        ("--rw=randwrite", "--iodepth=8", "--numjobs=3", "--offset_increment=8M", "--verify=crc32c"),
        ("--rw=randtrim", "--iodepth=8"),
    ],
)
def test_fio_verifies(options: tuple[str, ...], writer: Process) -> None:
    # Four connections and more; each job first asks for the size on one of its own.
    done = subprocess.run(
        [
            "fio",
            "--name=t",
            "--ioengine=nbd",
            f"--uri={writer.uri}",
            "--bs=4k",
            "--size=8M",
            "--verify_state_save=0",
            *options,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verify:" not in done.stderr


LIBNBD = """
import nbd, sys
h = nbd.NBD(); h.add_meta_context("base:allocation"); h.connect_uri(sys.argv[1])
g = nbd.NBD(); g.connect_uri(sys.argv[1]); h.set_strict_mode(0)
def errno_of(call, *words):
    try:
        call(*words)
    except nbd.Error as error:
        return error.errno
size = h.get_size()
print(errno_of(h.pread, 512, size), errno_of(h.pwrite, b"x" * 512, size), errno_of(h.trim, 512, size))
print(errno_of(h.pwrite, b"x", 0, 0x80), errno_of(h.pread, 1, 1 << 62), errno_of(h.zero, 2, size - 1))
h.pwrite(b"A" * 70000, 1000)
assert g.pread(70000, 1000) == b"A" * 70000
g.flush()
tiles = []
def chunk(data, offset, status, error):
    tiles.append((offset, len(data), status))
    return 0
h.pread_structured(4 << 20, 0, chunk)
assert sum(length for _, length, _ in tiles) == 4 << 20 and {s for _, _, s in tiles} == {1, 2}, tiles
h.shutdown(); g.shutdown()
"""


def test_libnbd_by_python(writer: Process) -> None:
    python = "/usr/bin/python3"
    if (
        not os.path.exists(python)
        or subprocess.run([python, "-c", "import nbd"], check=False, capture_output=True).returncode
    ):
        if os.environ.get("CI"):
            pytest.fail("python3-libnbd is not installed")
        pytest.skip("not installed: python3-libnbd")
    done = subprocess.run([python, "-c", LIBNBD, writer.uri], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["EINVAL ENOSPC EINVAL", "EINVAL EINVAL ENOSPC"]
