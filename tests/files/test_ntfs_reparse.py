"""Reparse points of NTFS, set through ntfs-3g as Windows stores them; WOF's contents come from wimlib."""

import os
import random
import struct
from pathlib import Path

import pytest

from tests.cli.running import run
from tests.files.trees import at_work, made, volume_in
from tests.filesystems.making import need
from tests.filesystems.making import run as ran
from vhdx.errors import FileSystemError
from vhdx.files.base import Kind
from vhdx.files.ntfs import NtfsTree
from vhdx.files.ntfs_reparse import device_of, parsed
from vhdx.files.volume import FileVolume

SYMLINK, JUNCTION, LX_SYMLINK, WOF = 0xA000000C, 0xA0000003, 0xA000001D, 0x80000017
CLOUD, DEDUP, SOCKET, FIFO, DEVICE = 0x9000601A, 0x80000013, 0x80000023, 0x80000024, 0x80000025
STAND_IN, OFFLINE = 0x80000098, 0x1000
CODECS = {
    "xpress4k": (0, "XPRESS", 4096),
    "lzx": (1, "LZX", 32768),
    "xpress8k": (2, "XPRESS", 8192),
    "xpress16k": (3, "XPRESS", 16384),
}
LINKS = {
    "relative": (r"dir\target", r"dir\target", "dir/target"),
    "absolute": (r"\??\C:\dir\target", r"C:\dir\target", "C:/dir/target"),
    "unprinted": (r"\??\C:\dir", "", "C:/dir"),
    "share": (r"\??\UNC\server\share\x", "", "//server/share/x"),
    "volume": ("\\??\\Volume{12345678-90ab}\\", "", "//?/Volume{12345678-90ab}/"),
}


def point(tag: int, body: bytes) -> bytes:
    return struct.pack("<IHH", tag, len(body), 0) + body


def stand_in(tag: int) -> bytes:
    """What ntfs-3g takes instead of a point that it knows and refuses; `put_right` makes it that."""
    return point(STAND_IN, struct.pack("<II", tag, STAND_IN))


def put_right(image: Path) -> None:
    data = image.read_bytes()
    for tag in (SOCKET, FIFO, DEVICE):
        assert stand_in(tag) in data
        data = data.replace(stand_in(tag), point(tag, bytes(8)))
    image.write_bytes(data)


def link(tag: int, substitute: str, printed: str) -> bytes:
    names = [name.encode("utf-16-le") for name in (substitute, printed)]
    places = struct.pack("<HHHH", 0, len(names[0]), len(names[0]) + 2, len(names[1]))
    flags = struct.pack("<I", int(not substitute.startswith("\\"))) if tag == SYMLINK else b""
    return point(tag, places + flags + names[0] + bytes(2) + names[1] + bytes(2))


def wof(algorithm: int, provider: int = 2) -> bytes:
    return point(WOF, struct.pack("<IIII", 1, provider, 1, algorithm))


def text(length: int) -> bytes:
    rng = random.Random(3)
    rows = "".join(f"row {number} of {rng.randrange(50)}\n" for number in range(length // 10)).encode()
    return rows[:length] + rng.randbytes(40_000) + bytes(70_000) + b"end"


def compressed(data: bytes, codec: str, chunk: int, folder: Path) -> bytes:
    """What stands in a WIM is what stands in the stream of a file: a table of chunks, and the chunks."""
    source, archive = folder / "source", folder / "a.wim"
    source.mkdir(exist_ok=True)
    (source / "file").write_bytes(data)
    archive.unlink(missing_ok=True)
    ran("wimlib-imagex", "capture", source, archive, f"--compress={codec}", f"--chunk-size={chunk}")
    raw = archive.read_bytes()
    size, start = int.from_bytes(raw[0x30:0x37], "little"), int.from_bytes(raw[0x38:0x40], "little")
    for row in range(start, start + size, 50):
        length, place, original = struct.unpack_from("<QQQ", raw, row)
        if original == len(data):
            return raw[place : place + (length & (1 << 56) - 1)]
    raise AssertionError("the archive does not have the file")


def mark(path: Path, value: bytes, size: int | None = None) -> None:
    if not path.exists():
        path.touch()
        if size:
            os.truncate(path, size)
    os.setxattr(path, "system.ntfs_reparse_data", value)


def plant(root: Path, folder: Path) -> None:
    (root / "dir").mkdir()
    (root / "dir" / "target").write_bytes(b"target")
    for name, (substitute, printed, _) in LINKS.items():
        mark(root / name, link(SYMLINK, substitute, printed))
        (root / f"{name} junction").mkdir()
        mark(root / f"{name} junction", link(JUNCTION, substitute, printed))
    mark(root / "of wsl", point(LX_SYMLINK, struct.pack("<I", 2) + "dir/ü".encode()))
    mark(root / "fifo", stand_in(FIFO))
    mark(root / "socket", stand_in(SOCKET))
    (root / "device").touch()
    value = struct.pack("<IBBH7sII", 24, 0, 6, 8, b"$LXDEV", 1, 3) + bytes(1)
    os.setxattr(root / "device", "system.ntfs_ea", value)
    mark(root / "device", stand_in(DEVICE))
    for name, tag in (("dedup", DEDUP), ("cloud", CLOUD), ("unknown", 0x80000099)):
        mark(root / name, point(tag, bytes(16)), 100_000)
    for name, data in (("here", b"h" * 100_000), ("small and here", b"small"), ("part", b"p" * 300_000)):
        (root / name).write_bytes(data)
    with open(root / "holey", "wb") as file:
        file.write(b"p" * 100_000)
        file.truncate(400_000)
    (root / "nothing").write_bytes(bytes(100))
    for name in ("here", "small and here", "part", "holey", "nothing"):
        mark(root / name, point(CLOUD, bytes(12)))
    os.setxattr(root / "part", "system.ntfs_attrib", struct.pack("<I", OFFLINE))
    (root / "efs").write_bytes(b"secret")
    plant_compressed(root, folder)


def plant_compressed(root: Path, folder: Path) -> None:
    for name, (number, codec, chunk) in CODECS.items():
        data = text(40_000)
        path = root / name
        path.touch()
        os.truncate(path, len(data))
        os.setxattr(path, "user.WofCompressedData", compressed(data, codec, chunk, folder)[: 64 << 10])
        os.setxattr(path, "user.other", b"a stream")
        mark(path, wof(number))
    for name, value in (("bare", wof(0)), ("in a wim", wof(0, 1))):
        mark(root / name, value, 5000)


@pytest.fixture(name="image", scope="module")
def _image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("wimlib-imagex", "ntfs-3g")
    folder = tmp_path_factory.mktemp("reparse")
    image = made("NTFS", folder)
    with at_work(image, "NTFS") as root:
        plant(root, folder)
    put_right(image)
    return image


def record_offset(volume: FileVolume, path: str) -> int:
    """Where in a small volume the record of a file stands."""
    tree = volume.tree
    assert isinstance(tree, NtfsTree)
    boot = tree.records.boot
    return boot.mft_cluster * boot.cluster_size + volume.find(path).entry.identity * boot.record_size


@pytest.mark.parametrize("name", LINKS)
def test_links(image: Path, name: str) -> None:
    with volume_in(image) as volume:
        for path in (f"/{name}", f"/{name} junction"):
            entry = volume.find(path, follow=False).entry
            assert (entry.kind, entry.target) == (Kind.SYMLINK, LINKS[name][2])
        assert not volume.told


def test_names_alone_are_those_of_the_entries(image: Path) -> None:
    with volume_in(image) as volume:
        entries = {each.name: each.is_directory for each in volume.tree.entries(volume.tree.root)}
        names = {name: found is not None for name, found in volume.tree.names(volume.tree.root)}
        assert names == entries


def test_links_are_followed_inside_of_the_guest(image: Path) -> None:
    with volume_in(image) as volume:
        for path in ("/relative", "/absolute", "/unprinted/target", r"C:\UNPRINTED JUNCTION\Target"):
            assert volume.open(path).read() == b"target"
        assert volume.find("/of wsl", follow=False).entry.target == "dir/ü"
        for path in ("/share", "/volume"):
            with pytest.raises(FileNotFoundError):
                volume.find(path)


def test_nodes_of_wsl(image: Path) -> None:
    with volume_in(image) as volume:
        found = {name: volume.find(f"/{name}").entry for name in ("fifo", "socket", "device")}
    assert [each.kind for each in found.values()] == [Kind.FIFO, Kind.SOCKET, Kind.CHARACTER_DEVICE]
    assert found["device"].device == (1, 3)


@pytest.mark.parametrize("name", CODECS)
def test_compressed_by_wof(image: Path, name: str) -> None:
    data = text(40_000)
    with volume_in(image) as volume:
        found = volume.find(f"/{name}").entry
        content = volume.tree.content(found)
        assert content.pread(len(data) + 1, 0) == data
        assert content.pread(5000, 30_000) == data[30_000:35_000]
        assert list(content.data_ranges()) == [(0, len(data))]
        assert volume.tree.streams(found) == ("other",)
        assert dict(volume.tree.attributes(found)) == {"user.other": b"a stream"}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("bare", "compressed contents of 'bare' are missing"),
        ("in a wim", "in a WIM archive"),
        ("dedup", "store of deduplicated chunks"),
        ("cloud", "in the cloud"),
        ("part", "not all of it on the disk"),
        ("holey", "not all of it on the disk"),
        ("nothing", "not all of it on the disk"),
        ("unknown", "0x80000099"),
    ],
)
def test_what_is_elsewhere_is_one_sentence(image: Path, name: str, told: str) -> None:
    done = run("cat", f"{image}:/{name}")
    assert (done.code, done.out) == (1, "")
    assert told in done.sentence


def test_what_the_cloud_left_here_is_read(image: Path) -> None:
    with volume_in(image) as volume:
        assert volume.open("/here").read() == b"h" * 100_000
        assert volume.open("/small and here").read() == b"small"


def test_encrypted_files_are_one_sentence(image: Path, tmp_path: Path) -> None:
    with volume_in(image) as volume:
        place = record_offset(volume, "/efs")
    hostile = tmp_path / "efs.raw"
    data = bytearray(image.read_bytes())
    attribute = place + int.from_bytes(data[place + 20 : place + 22], "little")
    flags = attribute + int.from_bytes(data[attribute + 20 : attribute + 22], "little") + 32
    data[flags + 1] |= 0x40
    hostile.write_bytes(data)
    with volume_in(hostile) as volume:
        assert volume.find("/efs").entry.size == 6
        with pytest.raises(FileSystemError, match="EFS"):
            volume.open("/efs")


def test_points_that_make_no_sense() -> None:
    for value in (b"", b"\0" * 7):
        with pytest.raises(FileSystemError, match="cut off"):
            parsed(value)
    found = parsed(point(SYMLINK, b"123"))
    assert (found.kind, found.target) == (None, None)
    assert found.elsewhere
    assert parsed(point(SYMLINK, b"\xff" * 12)).target == ""
    assert parsed(point(CLOUD, b"")).kind is None
    for value in (b"", bytes(8), b"\1" + bytes(20), struct.pack("<IBBH", 8, 0, 6, 8) + b"$LXDEV\0short"):
        with pytest.raises(FileSystemError, match="missing"):
            device_of(value)
