"""Files without holes: where Windows would refuse them, and where that is said."""

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import run
from tests.ops.make.making import raw_bytes, write_raw
from tests.support.layout import MIB
from tests.support.naive import naive_content
from tests.support.tools import needs
from vhdx.storage import host, sparse
from vhdx.storage.file import open_for_writing
from vhdx.storage.publish import new_file

SIZE = 20 * MIB
PIECES = {0: b"first" * 100, 17 * MIB: b"later"}
CONTENT = raw_bytes(SIZE, PIECES)


def has_holes(path: Path) -> bool:
    status = path.stat()
    return status.st_blocks * 512 < status.st_size


@pytest.fixture(name="source")
def _source(tmp_path: Path) -> Path:
    return write_raw(tmp_path / "a.raw", SIZE, PIECES)


@pytest.fixture(name="reserves", params=[True, False], ids=["reserved", "written"])
def _reserves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(host, "reserve", lambda *_: False)


@pytest.mark.usefixtures("reserves")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("b.raw", {}),
        ("b.vhd", {}),
        ("b.vhd", {"disk_type": "dynamic"}),
        ("b.vhdx", {"block_size": MIB}),
        ("b.vhdx", {"disk_type": "fixed"}),
    ],
)
def test_what_is_made_without_holes(
    source: Path, tmp_path: Path, name: str, options: dict[str, object]
) -> None:
    made = tmp_path / name
    with vhdx.sparse("never"):
        vhdx.convert(source, made, options=vhdx.ImageOptions(**options))  # type: ignore[arg-type]
    assert not has_holes(made)
    with vhdx.open(made) as disk:
        assert disk.pread(SIZE, 0) == CONTENT
    vhdx.convert(source, made, overwrite=True)
    assert has_holes(made)


@pytest.mark.usefixtures("reserves")
def test_what_is_changed_gets_none(source: Path, tmp_path: Path) -> None:
    """By writes, trims, a resize and a compaction; it is the same disk as with holes."""
    images = [tmp_path / "dense.vhdx", tmp_path / "sparse.vhdx"]
    for image, wanted in zip(images, ("never", "always"), strict=True):
        with vhdx.sparse(wanted):  # type: ignore[arg-type]
            vhdx.convert(source, image, options=vhdx.ImageOptions(block_size=MIB))
            with vhdx.open(image, "r+") as disk:
                disk.pwrite(b"new", 9 * MIB)
                disk.trim(length=MIB // 2, offset=17 * MIB + 4096)
                disk.zero(length=10, offset=0)
            vhdx.resize(image, 30 * MIB)
            vhdx.compact(image, scan_zeros=True)
    assert [has_holes(image) for image in images] == [False, True]
    assert naive_content(images[0], 0, SIZE) == naive_content(images[1], 0, SIZE)
    assert vhdx.check(images[0]).is_clean


def test_two_that_grow_a_file_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filling up to the one never goes over the other."""
    monkeypatch.setattr(host, "reserve", lambda *_: False)
    places = [step * 300_000 for step in range(1, 40)]
    with vhdx.sparse("never"), new_file(str(tmp_path / "a"), overwrite=False) as storage:
        threads = [
            threading.Thread(target=storage.write_at, args=(b"%9d" % place, place))
            for place in reversed(places)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    content = (tmp_path / "a").read_bytes()
    assert [content[place : place + 9] for place in places] == [b"%9d" % place for place in places]
    assert len(content.replace(b"\0", b"")) == 9 * len(places)


@pytest.mark.parametrize(
    ("kind", "is_ntfs", "expected"),
    [
        ("ext4 /dev/vda rw", False, None),
        ("ntfs3 /dev/vda rw", False, "NTFS"),
        ("fuseblk /dev/vda rw", False, "NTFS or exFAT"),
        ("fuseblk /dev/vda rw", True, "NTFS"),
        ("fuse /home/ntfs.img rw", True, "NTFS"),
        ("fuse.sshfs host: rw", False, None),
        ("cifs //host/share rw", False, "an SMB share"),
        ("9p C:\\134 rw,aname=drvfs;path=C:\\", False, "a drive of Windows"),
        ("9p share rw", False, None),
    ],
)
def test_which_file_systems(kind: str, is_ntfs: bool, expected: str | None) -> None:
    line = f"36 35 0:77 / /mnt rw,noatime shared:1 - {kind}\n"
    assert sparse._named(line, lambda: is_ntfs) == expected


def test_other_words_are_refused() -> None:
    with pytest.raises(ValueError, match="must be"), vhdx.sparse("maybe"):  # type: ignore[arg-type]
        pass


def test_a_file_that_windows_would_refuse(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`check` has a note, `info` tells, and what is made with holes all the same has a remark."""
    monkeypatch.setattr("vhdx.storage.file.refusing", lambda *_: "NTFS")
    for name in ("b.vhdx", "b.vhd"):
        made = vhdx.convert(source, tmp_path / name)
        assert any("Windows refuses to attach it" in remark for remark in made.remarks)
        checked = vhdx.check(tmp_path / name)
        assert (checked.codes["file.holes"], checked.is_clean) == (1, True)
        assert "0xC03A001A" in str(vhdx.info(tmp_path / name).notes)


def test_the_option(source: Path, tmp_path: Path) -> None:
    assert run("convert", source, tmp_path / "b.raw", "--sparse", "never").code == 0
    assert not has_holes(tmp_path / "b.raw")
    assert run("create", tmp_path / "c.vhdx", "1G", "--sparse", "never").code == 0
    assert not has_holes(tmp_path / "c.vhdx")


@pytest.fixture(name="ntfs")
def _ntfs(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    with open(tmp_path / "ntfs.img", "wb") as file:
        file.truncate(96 * MIB)
    subprocess.run(
        ["mkfs.ntfs", "-F", "-Q", "-q", str(tmp_path / "ntfs.img")], check=True, capture_output=True
    )
    folder = tmp_path / "ntfs"
    folder.mkdir()
    subprocess.run(["ntfs-3g", str(tmp_path / "ntfs.img"), str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def is_sparse_on_ntfs(path: Path) -> bool:
    return bool(int.from_bytes(os.getxattr(path, "system.ntfs_attrib_be"), "big") & 0x200)


@needs("mkfs.ntfs", "ntfs-3g")
def test_on_ntfs(source: Path, ntfs: Path) -> None:
    """By itself; also what is made there by others is not made sparse by a change."""
    made = vhdx.convert(source, ntfs / "b.vhdx")
    assert any("no holes were made: this is NTFS" in remark for remark in made.remarks)
    vhdx.create(ntfs / "f.vhdx", MIB, disk_type="fixed")
    (ntfs / "c.vhdx").write_bytes((ntfs / "b.vhdx").read_bytes())
    with vhdx.open(ntfs / "c.vhdx", "r+") as disk:
        disk.pwrite(b"new", 9 * MIB)
        disk.trim(length=4 * MIB, offset=0)
    assert [is_sparse_on_ntfs(ntfs / name) for name in ("b.vhdx", "c.vhdx", "f.vhdx")] == [False] * 3
    assert "file.holes" not in vhdx.check(ntfs / "c.vhdx").codes
    with vhdx.sparse("always"):
        vhdx.convert(source, ntfs / "d.vhdx")
    assert is_sparse_on_ntfs(ntfs / "d.vhdx")
    assert "file.holes" in vhdx.check(ntfs / "d.vhdx").codes
    storage = open_for_writing(str(ntfs / "d.vhdx"))
    assert storage.has_refused_holes() is not None
    storage.close()
