"""Files put into FAT and exFAT: their checkers find nothing, other readers find every byte."""

import datetime as dt
import os
import random
import struct
import subprocess
from pathlib import Path

import pytest

from tests.filesystems.inserting import MAKING, check, hashes, host_hashes, inserter_of, made, plant, put
from tests.filesystems.making import KIB, MIB, mounted, mounts, need, run
from tests.support.fat_twin import Twin
from tests.support.lying import Record
from tests.support.sparse import Content
from vhdx.disk.open import open_any
from vhdx.disk.raw import RawDisk
from vhdx.errors import FileSystemError, VhdxError
from vhdx.files.volume import volumes
from vhdx.filesystems.insert.base import Details
from vhdx.filesystems.insert.inserter import Inserter
from vhdx.ops.files.insert import Inserted, InsertOptions, insert

pytest.importorskip("pyfsfat", reason="needs the extra vhdx[files]")

DETAILS = Details(0, 0)


def twin_hashes(disk: RawDisk) -> dict[str, str]:
    """Every file, or nothing where the twin makes no sense of the volume."""
    try:
        return Twin(disk.pread).hashes()
    except (AssertionError, ValueError, UnicodeError, KeyError, struct.error, ZeroDivisionError):
        return {}


def content_of_bytes(data: bytes | bytearray) -> Content:
    content = Content()
    content.write(bytes(data), 0)
    return content


@pytest.mark.parametrize("kind", MAKING)
def test_a_tree_is_there_afterwards(kind: str, tmp_path: Path) -> None:
    tree = plant(tmp_path / "tree")
    image = made(kind, tmp_path)
    with open_any(str(image), image_format="raw") as disk:
        before = inserter_of(disk)._free.left
    result, told = put(image, [tree], "/", recursive=True)
    assert (result.left_out, told) == (0, [])
    check(image)
    expected = {"tree": "", **{f"tree/{name}": value for name, value in host_hashes(tree).items()}}
    with open_any(str(image), image_format="raw") as disk:
        assert Twin(disk.pread).hashes() == expected
        assert hashes(disk) == expected
        assert result == Inserted(
            "whole disk",
            sum(map(bool, expected.values())),
            6,
            sum(p.stat().st_size for p in tree.rglob("*") if p.is_file()),
            0,
        )
        assert inserter_of(disk)._free.left < before


@pytest.mark.parametrize("kind", ["FAT12", "FAT16", "FAT32"])
def test_mtools_read_it(kind: str, tmp_path: Path) -> None:
    need("mcopy", "mdir")
    tree = plant(tmp_path / "tree")
    image = made(kind, tmp_path)
    put(image, [tree], "/", recursive=True)
    (tmp_path / "out").mkdir()
    environment = {**os.environ, "MTOOLS_SKIP_CHECK": "1", "LC_ALL": "C.UTF-8"}
    subprocess.run(
        ["mcopy", "-s", "-n", "-i", image, "::/tree", tmp_path / "out"], check=True, env=environment
    )
    found, expected = (host_hashes(each) for each in (tmp_path / "out" / "tree", tree))
    wide = {name for name in expected if "🎉" in name}  # mtools knows characters of 16 bits only
    assert {name: found.get(name) for name in expected.keys() - wide} == {
        name: value for name, value in expected.items() if name not in wide
    }


@pytest.mark.parametrize("kind", ["FAT16", "FAT32"])
def test_the_kernel_reads_it(kind: str, tmp_path: Path) -> None:
    image = made(kind, tmp_path)
    if not mounts(image):
        pytest.skip("this machine mounts no FAT")
    tree = plant(tmp_path / "tree")
    put(image, [tree], "/", recursive=True)
    with mounted(image, "ro", "iocharset=utf8", "tz=UTC") as point:
        assert host_hashes(point / "tree") == host_hashes(tree)
        assert (point / "tree" / "ONE.TXT").stat().st_mtime == 1_500_000_000


@pytest.mark.parametrize("kind", ["FAT12", "FAT16", "FAT32", "exFAT", "exFAT-512"])
def test_many_jobs_one_after_the_other(kind: str, tmp_path: Path) -> None:
    """Directories grow, holes are filled, files replaced; each job leaves a sound volume."""
    chance = random.Random(3)
    image = made(kind, tmp_path)
    host = tmp_path / "host"
    (host / "d").mkdir(parents=True)
    put(image, [host / "d"], "/", recursive=True)
    expected = {"d": ""}
    for number in range(12):
        names = [f"{'n' * chance.randrange(1, 90)}{number}-{each}" for each in range(chance.randrange(1, 12))]
        names += [f"fixed{chance.randrange(6)}"]
        for name in names:
            (host / name).write_bytes(chance.randbytes(chance.randrange(3000)))
        directory = chance.choice(("", "d/"))
        put(image, [host / name for name in names], f"/{directory}", force=True)
        hashed = host_hashes(host)
        expected.update({directory + name: hashed[name] for name in names})
        check(image)
    with open_any(str(image), image_format="raw") as disk:
        assert hashes(disk) == expected


@pytest.mark.parametrize("kind", ["FAT12", "FAT32", "exFAT"])
def test_among_files_of_others(kind: str, tmp_path: Path) -> None:
    """A volume in which others deleted every other file: holes in its directories, free space in pieces."""
    image = made(kind, tmp_path)
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(150):
        (tree / f"file of theirs {number}").write_bytes(bytes([number]) * 2000)
    put(image, [tree], "/", recursive=True)
    if kind != "exFAT":
        need("mdel")
        for number in range(0, 60, 2):
            run("mdel", "-i", image, f"::/tree/file of theirs {number}")
            (tree / f"file of theirs {number}").unlink()
    (tree / "new one").write_bytes(random.Random(1).randbytes(40_000))
    (tree / "new two with a name that is longer").write_bytes(b"2" * 5000)
    put(image, [tree / "new one", tree / "new two with a name that is longer"], "/tree")
    check(image)
    with open_any(str(image), image_format="raw") as disk:
        assert hashes(disk) == {"tree": "", **{f"tree/{k}": v for k, v in host_hashes(tree).items()}}


def test_what_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    image = made("FAT12", tmp_path)
    (tmp_path / "large").write_bytes(bytes(3 * MIB))
    (tmp_path / "small").write_bytes(b"small")
    before = image.read_bytes()
    with pytest.raises(OSError, match="no room"):
        put(image, [tmp_path / "small", tmp_path / "large"], "/")
    assert image.read_bytes() == before


def test_a_volume_is_filled_to_its_last_cluster(tmp_path: Path) -> None:
    image = made("FAT12", tmp_path)
    with open_any(str(image), image_format="raw") as disk:
        left = inserter_of(disk)._free.left
    (tmp_path / "all").write_bytes(random.Random(0).randbytes(left * 512))
    put(image, [tmp_path / "all"], "/")
    check(image)
    (tmp_path / "EMPTY").write_bytes(b"")
    put(image, [tmp_path / "EMPTY"], "/")
    with pytest.raises(OSError, match="no room"):
        put(image, [tmp_path / "all"], "/", force=True)
    check(image)


def test_the_root_directory_of_fat16_has_an_end(tmp_path: Path) -> None:
    image = made("FAT16", tmp_path)
    names = [tmp_path / f"F{number}" for number in range(513)]
    for name in names:
        name.write_bytes(b"")
    before = image.read_bytes()
    with pytest.raises(OSError, match="root directory of the volume is full"):
        put(image, names, "/")
    assert image.read_bytes() == before
    put(image, names[:512], "/")
    check(image)


def test_a_file_of_four_gib_is_too_large_for_fat(tmp_path: Path) -> None:
    image = made("FAT32", tmp_path)
    with open_any(str(image), image_format="raw") as disk:
        inserter = inserter_of(disk)
        inserter.add_file(inserter.root, "fits", (1 << 32) - 1, DETAILS)
        with pytest.raises(ValueError, match="has at most 4294967295"):
            inserter.add_file(inserter.root, "too large", 1 << 32, DETAILS)


@pytest.mark.parametrize("kind", ["FAT16", "FAT32", "exFAT"])
def test_a_volume_in_use_is_refused(kind: str, tmp_path: Path) -> None:
    image = made(kind, tmp_path)
    (tmp_path / "file").write_bytes(b"x")
    place = {"FAT16": 0x25, "FAT32": 0x41, "exFAT": 106}[kind]
    data = bytearray(image.read_bytes())
    data[place] |= 2 if kind == "exFAT" else 1
    image.write_bytes(data)
    with pytest.raises(FileSystemError, match="not unmounted cleanly"):
        put(image, [tmp_path / "file"], "/")
    assert image.read_bytes() == data


def test_a_name_for_free_clusters_is_refused(tmp_path: Path) -> None:
    image = made("FAT16", tmp_path)
    (tmp_path / "ONE").write_bytes(b"x" * 600)
    put(image, [tmp_path / "ONE"], "/")
    data = bytearray(image.read_bytes())
    entry = data.index(b"ONE        ")
    for name, cluster, said in (
        (b"T", 900, "which is free"),
        (b"T", 2, "two files of it"),
        (b"O", 2, "one name"),
    ):
        data[entry + 32 : entry + 64] = data[entry : entry + 32]
        data[entry + 32 : entry + 33] = name
        data[entry + 58 : entry + 60] = cluster.to_bytes(2, "little")
        image.write_bytes(data)
        with pytest.raises(FileSystemError, match=said):
            put(image, [tmp_path / "ONE"], "/other")


def test_times_and_attributes(tmp_path: Path) -> None:
    source = tmp_path / "kept"
    source.write_bytes(b"x")
    source.chmod(0o444)
    when = dt.datetime(2024, 2, 29, 23, 59, 59, tzinfo=dt.UTC)
    for kind in ("FAT32", "exFAT"):
        image = made(kind, tmp_path)
        for year, seconds in (("1970", 0), ("9999", 250_000_000_000), ("2024", int(when.timestamp()))):
            os.utime(source, (seconds, seconds))
            put(image, [source], f"/{year}")
        with open_any(str(image), image_format="raw") as disk:
            (volume,) = volumes(disk)
            assert volume.find("/2024").entry.modified == (int(when.timestamp()) - (kind == "FAT32")) * 10**9
            assert volume.find("/1970").entry.modified == 315532800 * 10**9
            last = volume.find("/9999").entry.modified
            assert last is not None
            assert dt.datetime.fromtimestamp(last // 10**9, dt.UTC).year == 2107
            assert volume.find("/2024").entry.mode == 0o444


def test_what_a_fat_cannot_have_is_told(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("good", "a:b", "ends.", "ends ", "tab\t", "question?", "UPPER", "upper"):
        (tree / name).write_bytes(name.encode())
    (tree / os.fsdecode(b"\xff")).write_bytes(b"")
    (tree / "link").symlink_to("good")
    os.mkfifo(tree / "pipe")
    image = made("FAT32", tmp_path)
    result, told = put(image, [tree], "/", recursive=True)
    assert (result.files, result.left_out, len(told)) == (2, 9, 9)
    check(image)
    with open_any(str(image), image_format="raw") as disk:
        assert hashes(disk).keys() == {"tree", "tree/good", "tree/UPPER"}


def test_a_file_that_changes_meanwhile_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shorter, longer, same = (tmp_path / name for name in ("shorter", "longer", "same"))
    for path in (shorter, longer, same):
        path.write_bytes(b"x" * 5000)
    reserve = Inserter.reserve

    def changed_then(inserter: Inserter) -> None:
        reserve(inserter)
        shorter.write_bytes(b"y")
        longer.write_bytes(b"y" * 9000)

    monkeypatch.setattr(Inserter, "reserve", changed_then)
    image = made("exFAT", tmp_path)
    result, told = put(image, [shorter, longer, same], "/")
    assert (result.files, result.left_out) == (1, 2)
    assert all("its size changed while it was read" in each for each in told)
    check(image)
    with open_any(str(image), image_format="raw") as disk:
        assert hashes(disk).keys() == {"same"}


def test_paths_of_windows(tmp_path: Path) -> None:
    image = made("FAT32", tmp_path)
    (tmp_path / "EFI" / "BOOT").mkdir(parents=True)
    put(image, [tmp_path / "EFI"], "/", recursive=True)
    (tmp_path / "boot.efi").write_bytes(b"efi" * KIB)
    put(image, [tmp_path / "boot.efi"], r"C:\efi\boot\BOOTX64.EFI")
    check(image)
    with open_any(str(image), image_format="raw") as disk:
        assert list(hashes(disk)) == ["EFI", "EFI/BOOT", "EFI/BOOT/BOOTX64.EFI"]
    for path, error in (("/nowhere/x", FileNotFoundError), ("/EFI/BOOT/BOOTX64.EFI/x", NotADirectoryError)):
        with pytest.raises(error):
            put(image, [tmp_path / "boot.efi"], path)
    with pytest.raises(IsADirectoryError):
        put(image, [tmp_path / "EFI"], "/")


@pytest.mark.parametrize("kind", ["FAT12", "FAT16", "FAT32"])
def test_7_zip_reads_what_was_put_in(kind: str, tmp_path: Path) -> None:
    need("7zz")
    tree = plant(tmp_path / "tree")
    image = made(kind, tmp_path)
    put(image, [tree], "/", recursive=True)
    run("7zz", "x", "-tfat", f"-o{tmp_path / 'out'}", image)
    assert host_hashes(tmp_path / "out" / "tree") == host_hashes(tree)


def test_a_name_of_the_greatest_length(tmp_path: Path) -> None:
    (tmp_path / ("L" * 255)).write_bytes(b"x")
    for kind in ("FAT32", "exFAT"):
        image = made(kind, tmp_path)
        put(image, [tmp_path / ("L" * 255)], "/")
        check(image)
        with open_any(str(image), image_format="raw") as disk:
            assert hashes(disk).keys() == {"L" * 255}


def test_what_stands_behind_the_end_of_a_directory_stays_hidden(tmp_path: Path) -> None:
    """A set over two atoms shows when the first one, which has the end, is written."""
    image = made("FAT12", tmp_path)
    for number in range(14):
        (tmp_path / f"F{number}").write_bytes(b"")
    put(image, [tmp_path / f"F{number}" for number in range(14)], "/")
    with open_any(str(image), image_format="raw") as disk:
        start = inserter_of(disk).root.places[0][0]
    data = bytearray(image.read_bytes())
    junk = b"JUNK    TXT" + bytes(21)
    data[start + 15 * 32 : start + 30 * 32] = junk * 15
    image.write_bytes(data)
    with open_any(str(image), image_format="raw") as disk:
        inserter = inserter_of(disk)
        inserter.add_file(inserter.root, "a name that takes several entries", 0, DETAILS)
        inserter.reserve()
        steps = list(inserter.steps())
    writes = [step and step.offset for step in steps if step is None or start <= step.offset < start + 1024]
    first, second = start + 14 * 32, start + 512
    assert [each for each in writes if each] == [second, first]
    assert None in writes[writes.index(second) : writes.index(first)]
    for step in steps:
        if step is not None:
            data[step.offset : step.offset + len(step.data)] = step.data
    names = [line[:11] for line in (data[start + at : start + at + 32] for at in range(0, 20 * 32, 32))]
    assert names[17] == b"ANAMET~1   "
    assert names[18][0] == 0
    assert names[19] == b"JUNK    TXT"


@pytest.mark.parametrize("kind", ["FAT12", "exFAT-512"])
def test_damage_at_random_does_nothing_else(kind: str, tmp_path: Path) -> None:
    """What is refused is refused before anything is written; nothing but sentences comes out."""
    image = made(kind, tmp_path)
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    for number in range(20):
        (tree / "d" / f"some file {number}").write_bytes(b"x" * 600)
    put(image, [tree], "/", recursive=True)
    good = image.read_bytes()
    used = [at for at in range(0, len(good), 512) if any(good[at : at + 512])]
    (tmp_path / "new").write_bytes(b"new" * 300)
    refused = 0
    for seed in range(25):
        chance = random.Random(seed)
        data = bytearray(good)
        for _ in range(chance.choice((1, 1, 3))):
            at = chance.choice(used[:8] if chance.random() < 0.8 else used) + chance.randrange(512)
            data[at] = chance.choice((0, 0xFF, data[at] ^ 1 << chance.randrange(8)))
        storage = Record().storage("disk", content_of_bytes(data))
        disk = RawDisk(storage, storage)
        before = twin_hashes(disk)
        options = InsertOptions(force=True)
        try:
            insert(disk, [str(tmp_path / "new")], "/tree/d", tell=lambda _: None, options=options)
        except (VhdxError, OSError, ValueError):
            refused += 1
            assert storage.content.digest == content_of_bytes(data).digest
        else:
            after = twin_hashes(disk)
            assert {name: after.get(name) for name in before} == before
    assert refused
