"""What only macOS puts on an HFS+: hard links, compression, resource forks; images by hand, 7-Zip agrees."""

import base64
import zlib
from pathlib import Path

import pytest

from tests.cli.running import run
from tests.files.hfs_making import (
    CHUNK,
    PRIVATE,
    PRIVATE_DIRECTORIES,
    Making,
    lzvn_literals,
    lzvn_repeated,
    lzvn_resources,
    zlib_resources,
)
from tests.files.trees import volume_in
from tests.filesystems.making import need
from tests.filesystems.making import run as ran
from vhdx.errors import FileSystemError
from vhdx.files.base import Kind

pytest.importorskip("pyfshfs", reason="needs the extra vhdx[files]")
TEXT = "".join(f"line {number}\n" for number in range(20_000)).encode()
SMALL = TEXT[:2000]
PERIOD = bytes(range(256))
REPEATED = (PERIOD * 400)[:CHUNK] + PERIOD * 40
SQUARES = b" ".join(b"%d" % (number * number % 97) for number in range(5000))
SQUARES_IN_LZFSE = base64.b85decode(
    "Vs>~kk~aVVya2!i02}~dLAhksK{)_Gp#T5?KA5lrXJ;Qk7C-<1NPsus6aWB#v(Mmy3xEr_;DU>bi;IgN;0O2tPEP><00000000"
    "1h8vp<R00000;3)zC000iZh^OIo_#Zxnf8r_lAD#pN00000000000000000000000000000000000000000000000000000000"
    "00000000imgYUr8;nI38tT$I!{EHdf(L3)hsCJ^V-B)droKikpJIqg;_5*yb*vh6x}?RY^_2;pY^5jyVV{$+#V1fxz`;6PWG7V"
    "YD*ylh00000000nk?*G*P3;wV9zr^@|iNIxDQ}!d1Ac=M{9_5++jSSR5Qs(4u*)RD3@a-+gP6}dncq9"
)
"""By the encoder of LZFSE's authors."""
COMPRESSED = {
    "zlib": (3, SMALL, zlib.compress(SMALL), b""),
    "zlib, stored": (3, SMALL, b"\xff" + SMALL, b""),
    "zlib, fork": (4, TEXT, b"", zlib_resources(TEXT)),
    "lzvn": (7, SMALL, lzvn_literals(SMALL), b""),
    "lzvn, stored": (7, SMALL, b"\x06" + SMALL, b""),
    "lzvn, fork": (
        8, REPEATED, b"", lzvn_resources([lzvn_repeated(PERIOD, CHUNK), lzvn_repeated(PERIOD, 10_240)]),
    ),
    "lzfse": (11, SQUARES, SQUARES_IN_LZFSE, b""),
    "lzfse, fork": (12, SQUARES, b"", lzvn_resources([SQUARES_IN_LZFSE])),
    "stored": (9, SMALL, b"\xcc" + SMALL, b""),
}  # fmt: skip


@pytest.fixture(name="image", scope="module")
def _image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    making = Making()
    folder = making.directory("folder")
    making.file("plain", b"plain\n" * 1000, parent=folder)
    forked = making.file("forked", b"data", resources=b"RSRC" * 3000)
    making.attribute(forked, "com.apple.quarantine", b"0081;x")
    making.attribute(forked, "long", b"L" * 20_000, in_fork=True)
    making.file("huge fork", b"data", resources=b"R" * 70_000)
    private, directories = making.directory(PRIVATE), making.directory(PRIVATE_DIRECTORIES)
    node = making.hidden_file(private, b"hard\n" * 100, links=2)
    making.attribute(node, "of both", b"1")
    making.hard_link("one", node)
    making.hard_link("two", node, parent=folder)
    linked = making.hidden_directory(directories)
    making.file("inside", b"in a directory", parent=linked)
    making.directory_link("here", linked)
    making.directory_link("there", linked, parent=folder)
    for name, (kind, data, inline, resources) in COMPRESSED.items():
        making.compressed(name, kind, len(data), inline, resources)
    making.compressed("elsewhere", 5, 2000, b"")
    making.compressed("unknown", 77, 2000, b"")
    making.compressed("broken", 3, 2000, b"\x78\x9c" + b"\xa5" * 50)
    image = tmp_path_factory.mktemp("hfs") / "h.raw"
    image.write_bytes(making.image())
    return image


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_files(image: Path, name: str) -> None:
    _, data, _, _ = COMPRESSED[name]
    with volume_in(image) as volume:
        entry = volume.find(f"/{name}").entry
        content = volume.tree.content(entry)
        assert (entry.size, content.pread(len(data) + 1, 0)) == (len(data), data)
        assert content.pread(100, 1234) == data[1234:1334]
        assert list(volume.tree.attributes(entry)) == []


def test_7_zip_reads_the_same(image: Path, tmp_path: Path) -> None:
    """What it knows of it; of the rest it says that it does not."""
    need("7zz")
    for name in ("zlib", "zlib, stored", "zlib, fork", "lzvn", "lzvn, stored", "lzvn, fork", "stored"):
        ran("7zz", "e", f"-o{tmp_path}", image, f"disk/{name}")
        assert (tmp_path / name).read_bytes() == COMPRESSED[name][1]


@pytest.mark.parametrize(
    ("name", "told"),
    [("elsewhere", "decmpfs 5"), ("unknown", "compression method"), ("broken", "cannot be read")],
)
def test_what_is_not_read_is_one_sentence(image: Path, name: str, told: str) -> None:
    done = run("cat", f"{image}:/{name}")
    assert (done.code, done.out, told in done.sentence) == (1, "", True)


def test_hard_links(image: Path) -> None:
    with volume_in(image) as volume:
        one, two = (volume.find(path).entry for path in ("/one", "/folder/two"))
        assert (one.identity, one.links, one.size) == (two.identity, 2, 500)
        assert volume.open("/folder/two").read() == b"hard\n" * 100
        assert dict(volume.tree.attributes(two)) == {"user.of both": b"1"}


def test_hard_links_of_directories(image: Path, tmp_path: Path) -> None:
    with volume_in(image) as volume:
        here, there = (volume.find(path).entry for path in ("/here", "/folder/there"))
        assert (here.kind, here.identity) == (Kind.DIRECTORY, there.identity)
        for path in ("/here/inside", "/folder/there/inside"):
            assert volume.open(path).read() == b"in a directory"
        assert not volume.told
    done = run("cp", "-R", f"{image}:/folder", f"{image}:/here", tmp_path)
    assert (done.code, done.err) == (0, "")
    assert run("ls", "-R", image).code == 1  # which says that it is in both places


def test_resource_forks_are_attributes(image: Path) -> None:
    with volume_in(image) as volume:
        assert dict(volume.tree.attributes(volume.find("/forked").entry)) == {
            "user.com.apple.quarantine": b"0081;x",
            "user.long": b"L" * 20_000,
            "user.com.apple.ResourceFork": b"RSRC" * 3000,
        }
        assert volume.open("/forked").read() == b"data"
        assert dict(volume.tree.attributes(volume.find("/huge fork").entry)) == {}
        assert "70000 bytes, too many" in volume.told[0]


def test_its_own_directories_are_not_shown(image: Path) -> None:
    with volume_in(image) as volume:
        names = {entry.name for entry in volume.tree.entries(volume.tree.root)}
    assert names == {
        "folder",
        "forked",
        "huge fork",
        "one",
        "here",
        "elsewhere",
        "unknown",
        "broken",
        *COMPRESSED,
    }


def test_a_catalogue_that_leads_back_into_itself(image: Path, tmp_path: Path) -> None:
    data = bytearray(image.read_bytes())
    first = int.from_bytes(data[1024 + 272 + 16 : 1024 + 272 + 20], "big") * 4096
    leaf = first + 16384
    assert data[leaf + 8] == 0xFF
    data[leaf : leaf + 4] = (1).to_bytes(4, "big")
    hostile = tmp_path / "hostile.raw"
    hostile.write_bytes(data)
    with volume_in(hostile) as volume:
        last = volume.tree.root._replace(identity=1 << 31)
        with pytest.raises(FileSystemError, match="catalogue is damaged"):
            list(volume.tree.entries(last))
