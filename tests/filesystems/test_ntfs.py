"""Free space of NTFS, against ntfs-3g's programs and partclone."""

import errno
import os
from pathlib import Path

import pytest

from tests.support.tools import needs
from vhdx.filesystems import ntfs

from .noise import hashes, partclone_free, patch
from .ntfs_making import patched_record, place, restart_page
from .scribble import FUSE, aged, clean, mounted, needs_partclone, number, reader, reason, run, scribble

MIB = 1 << 20
pytestmark = needs("mkntfs", "ntfs-3g", "ntfsinfo", "ntfsfix", "ntfscluster")
COMPRESSED = 0x800


def made(path: Path, size: int, *options: str) -> Path:
    with open(path, "wb") as file:
        file.truncate(size)
    run("mkntfs", "-F", "-Q", "-q", *options, path)
    return path


def on(path: Path) -> list[str | Path]:
    return ["ntfs-3g", "-o", "compression,streams_interface=xattr", path]


def must_live_through_noise(path: Path, before: dict[str, str], folder: Path) -> None:
    result = clean(ntfs, path)
    cluster = result.file_system.block_size
    free = number(run("ntfsinfo", "-m", path), r"Free Clusters: (\d+)")
    assert result.file_system.free == free * cluster
    assert scribble(path, result) == free * cluster
    assert "OK" in run("ntfsfix", "-n", path)
    with mounted(on(path), folder):
        assert hashes(folder) == before
    assert clean(ntfs, path).file_system.free == free * cluster


@FUSE
@pytest.mark.parametrize(
    ("sector", "cluster", "size"),
    [
        pytest.param(512, 512, 48 * MIB, marks=pytest.mark.slow),
        (512, 4096, 64 * MIB + 512),
        (4096, 4096, 64 * MIB),
        pytest.param(512, 65536, 64 * MIB + 3 * 512, marks=pytest.mark.slow),
        pytest.param(512, 2 * MIB, 512 * MIB, marks=pytest.mark.slow),
    ],
)
def test_files_live_through_noise_in_what_is_free(
    tmp_path: Path, sector: int, cluster: int, size: int
) -> None:
    path = made(tmp_path / "n", size, "-s", str(sector), "-c", str(cluster), "-L", "Söder")
    folder = tmp_path / "folder"
    with mounted(on(path), folder):
        aged(folder, cluster, 240 if cluster < MIB else 60, MIB // 4)
        with open(folder / "sparse", "wb") as file:
            file.seek(9 * MIB)
            file.write(b"end" * 1000)
        if cluster <= 4096:
            (folder / "packed").mkdir()
            os.setxattr(folder / "packed", "system.ntfs_attrib_be", (COMPRESSED | 0x10).to_bytes(4, "big"))
            (folder / "packed" / "text").write_bytes(b"again and again " * 40000)
        before = hashes(folder)
    if cluster <= 4096:
        assert number(run("ntfsinfo", "-v", "-F", "/packed/text", path), r"Compressed size:\s+(\d+)") < 640000
    result = clean(ntfs, path)
    assert result.file_system.kind == "NTFS"
    assert result.file_system.label == "Söder"
    assert result.file_system.size == (size // sector - 1) * sector
    must_live_through_noise(path, before, folder)


@FUSE
@pytest.mark.slow
def test_table_of_files_in_many_fragments(tmp_path: Path) -> None:
    path = made(tmp_path / "n", 20 * MIB, "-c", "512")
    folder = tmp_path / "folder"
    with mounted(on(path), folder):
        _fragment(folder)
        before = hashes(folder)
    assert "$ATTRIBUTE_LIST" in run("ntfsinfo", "-i", "0", "-v", path)
    must_live_through_noise(path, before, folder)


def _write_until_full(folder: Path, size: int) -> int:
    """How many files there are then, the last of them not whole."""
    for index in range(1, 1 << 20):
        try:
            (folder / f"{index}").write_bytes(b"%06d" % index * (size // 6))
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017  it is what ends this, not what is tested
            return index
    raise AssertionError("it is never full")


def _fragment(folder: Path) -> None:
    """Leave only gaps, and let the table of files grow into them."""
    for name in "ab":
        (folder / name).mkdir()
    count = _write_until_full(folder / "a", 16384)
    for index in range(1, count, 2):
        (folder / "a" / f"{index}").unlink()
    small = _write_until_full(folder / "b", 120)
    for index in range(2, count, 4):
        (folder / "a" / f"{index}").unlink(missing_ok=True)
    for index in range(1, small, 3):
        (folder / "b" / f"{index}").unlink()


@FUSE
@needs_partclone
@pytest.mark.parametrize(
    "cluster", [512, *(pytest.param(size, marks=pytest.mark.slow) for size in (4096, 65536))]
)
def test_partclone_finds_the_same(tmp_path: Path, cluster: int) -> None:
    path = made(tmp_path / "n", 40 * MIB, "-c", str(cluster))
    with mounted(on(path), tmp_path / "folder") as folder:
        aged(folder, 3, 60, MIB // 4)
    assert clean(ntfs, path).file_system.free == partclone_free("partclone.ntfs", path)


def test_boot_sector_and_its_copy_are_kept(tmp_path: Path) -> None:
    path = made(tmp_path / "n", 16 * MIB + 1024)
    ranges = list(clean(ntfs, path).free_ranges())
    assert ranges[0][0] >= 8192
    assert sum(ranges[-1]) <= 16 * MIB + 512


def test_volume_that_is_marked(tmp_path: Path) -> None:
    path = made(tmp_path / "n", 16 * MIB)
    for flag, told in ((0x0001, "dirty"), (0x0002, "size of its log"), (0x4000, "chkdsk was changing it")):
        with patched_record(path, 3, b"\x03\x01\x00\x00", b"\x03\x01" + flag.to_bytes(2, "little")):
            assert told in reason(ntfs, path)
    for flag in (0x0004, 0x0008, 0x0010, 0x0020, 0x8000):
        with patched_record(path, 3, b"\x03\x01\x00\x00", b"\x03\x01" + flag.to_bytes(2, "little")):
            clean(ntfs, path)
    with patched_record(path, 3, b"\x03\x01\x00\x00", b"\x04\x00\x00\x00"):
        assert "version 4.0" in reason(ntfs, path)


LOGS = {
    "closed": (restart_page(), restart_page(lsn=9), None),
    "nobody, but not marked as clean": (restart_page(flags=0), restart_page(flags=0), None),
    "client that is marked as clean": (restart_page(in_use=0), restart_page(in_use=0), None),
    "in use": (restart_page(in_use=0, flags=0), restart_page(in_use=0, flags=0), "not unmounted cleanly"),
    "the newer one counts": (restart_page(), restart_page(in_use=0, flags=0, lsn=9), "not unmounted cleanly"),
    "the newer one is first": (restart_page(lsn=10), restart_page(in_use=0, flags=0, lsn=9), None),
    "fast startup": (restart_page(version=(2, 0)), restart_page(version=(2, 0)), "fast startup"),
    "one copy of version 2": (restart_page(), restart_page(version=(2, 0)), "fast startup"),
    "unknown version": (restart_page(version=(1, 7)), restart_page(), "version 1.7"),
    "chkdsk": (restart_page(magic=b"CHKD"), restart_page(magic=b"CHKD"), None),
    "torn": (restart_page(torn=True), restart_page(), "not written whole"),
    "second is missing": (restart_page(), b"\xff" * 4096, "not understood"),
    "first is missing": (b"\xff" * 4096, restart_page(), "not understood"),
    "zeros": (bytes(4096), bytes(4096), "not understood"),
}


@pytest.mark.parametrize("name", LOGS)
def test_log(tmp_path: Path, name: str) -> None:
    first, second, told = LOGS[name]
    path = made(tmp_path / "n", 16 * MIB)
    patch(path, place(path, 2), first + second)
    if told is None:
        clean(ntfs, path)
    else:
        assert told in reason(ntfs, path)


def test_shadow_copies(tmp_path: Path) -> None:
    path = made(tmp_path / "n", 16 * MIB)
    patch(path, 0x1E00, bytes.fromhex("6b87083876c1484eb7ae04046e6cc752"))
    clean(ntfs, path)
    patch(path, 0x1E30, (0x4000).to_bytes(8, "little"))
    assert "shadow copies" in reason(ntfs, path)


@FUSE
@pytest.mark.parametrize("others", [0, 400])
def test_hibernation(tmp_path: Path, others: int) -> None:
    path = made(tmp_path / "n", 32 * MIB)
    size, folder = path.stat().st_size, tmp_path / "folder"
    with mounted(on(path), folder):
        for index in range(others):
            (folder / f"{index} is the name of a file").write_bytes(b"")
        (folder / "Hiberfil.sys").write_bytes(b"wake" + bytes(70000))
    assert not ntfs.hibernated(reader(path), size)
    clean(ntfs, path)
    with mounted(on(path), folder):
        (folder / "Hiberfil.sys").write_bytes(b"HIBR" + bytes(70000))
    assert ntfs.hibernated(reader(path), size)
    assert "hibernated" in reason(ntfs, path)
    with mounted(on(path), folder):
        (folder / "Hiberfil.sys").write_bytes(b"short")
    assert ntfs.hibernated(reader(path), size)
    with mounted(on(path), folder):
        (folder / "Hiberfil.sys").unlink()
        (folder / "d").mkdir()
        (folder / "d" / "hiberfil.sys").write_bytes(b"hibr")
    assert not ntfs.hibernated(reader(path), size)
    clean(ntfs, path)


@FUSE
def test_file_whose_cluster_is_free_by_the_bitmap(tmp_path: Path) -> None:
    path = made(tmp_path / "n", 16 * MIB)
    with mounted(on(path), tmp_path / "folder") as folder:
        (folder / "f").write_bytes(b"all of it" * 20000)
    clean(ntfs, path)
    data = path.read_bytes()
    cluster = data.find(b"all of it" * 20) // 4096
    byte = place(path, 6) + cluster // 8
    patch(path, byte, bytes([data[byte] & ~(1 << cluster % 8)]))
    assert reason(ntfs, path).startswith(f"cluster {cluster} is free by its bitmap and belongs to a file")
