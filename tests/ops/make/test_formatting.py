"""New disks with a file system: tables and checkers of others find nothing wrong, files are there."""

import errno
import subprocess
from pathlib import Path

import pytest

import vhdx
from tests.filesystems.inserting import check, hashes, host_hashes, plant
from tests.filesystems.making import KIB, MIB, need, run
from vhdx.filesystems.fat_making import shape
from vhdx.ops.make import host_mkfs
from vhdx.ops.make.formatting import FileSystemKind, Formatting, TableKind

pytest.importorskip("pyfsfat", reason="needs the extra vhdx[files]")
GIB, TIB = 1 << 30, 1 << 40
CHECKERS = {
    "ext2": ["e2fsck", "-fn"],
    "ext3": ["e2fsck", "-fn"],
    "ext4": ["e2fsck", "-fn"],
    "ntfs": ["ntfsfix", "-n"],
    "xfs": ["xfs_repair", "-n", "-f"],
}


def raw_of(image: Path, partition: int | None = None) -> Path:
    raw = image.with_suffix(f".{partition or 0}.raw")
    vhdx.convert(image, raw, partition=partition)
    return raw


@pytest.mark.parametrize(
    ("kind", "size", "sector", "table"),
    [
        ("fat12", 3 * MIB, 512, None),
        ("fat16", 40 * MIB, 512, "mbr"),
        ("fat32", 64 * MIB, 512, "gpt"),
        ("fat32", 300 * MIB, 4096, "gpt"),
        ("fat16", 40 * MIB, 4096, None),
    ],
)
def test_fat(kind: FileSystemKind, size: int, sector: int, table: TableKind | None, tmp_path: Path) -> None:
    need("fsck.fat", "sgdisk", "mlabel")
    image, tree = tmp_path / "a.vhdx", tmp_path / "tree"
    plant(tree) if kind != "fat12" else (tree / "d").mkdir(parents=True)
    (tree / "single").write_bytes(b"1" * 600)
    asked = Formatting(kind, table, "cidata", str(tree))
    made = vhdx.create(image, size, logical_sector_size=sector, formatting=asked)
    assert made.remarks == ()
    partition = None if table is None else 1
    raw = raw_of(image, partition)
    check(raw)
    assert "CIDATA" in run("mlabel", "-s", "-i", raw, "::")
    with vhdx.open(image) as disk:
        assert hashes(disk) == host_hashes(tree)
        (found,) = vhdx.file_systems(image)
        assert (found.kind, found.label, found.state) == (kind.upper(), "CIDATA", "clean")
        if table is not None:
            assert [(part.offset, part.type_name) for part in disk.partitions()] == [
                (MIB, "Microsoft basic data" if table == "gpt" else kind.upper())
            ]
    if table == "gpt" and sector == 512:
        assert "No problems found" in run("sgdisk", "-v", raw_of(image))
    if table == "mbr" and sector == 512:
        need("sfdisk")
        run("sfdisk", "--verify", raw_of(image))


@pytest.mark.parametrize("kind", ["ext2", "ext4", "exfat", "ntfs", "xfs"])
@pytest.mark.parametrize("table", [None, "gpt"])
def test_by_the_host(kind: FileSystemKind, table: TableKind | None, tmp_path: Path) -> None:
    need(f"mkfs.{kind}")
    image = tmp_path / "a.vhdx"
    contents = None if kind in ("ntfs", "xfs") else str(plant(tmp_path / "tree"))
    size = 320 * MIB if kind == "xfs" else 64 * MIB
    vhdx.create(image, size, formatting=Formatting(kind, table, "name", contents))
    raw = raw_of(image, None if table is None else 1)
    if kind == "exfat":
        check(raw)
    else:
        need(CHECKERS[kind][0])
        run(*CHECKERS[kind], raw)
    with vhdx.open(image) as disk:
        (volume,) = disk.volumes()
        assert (volume.summary.label, volume.summary.state) == ("name", "clean")
        if contents is not None and kind != "exfat":
            found = {path.strip("/") for path in volume.glob("/**")} - {"", "lost+found"}
            assert found == host_hashes(tmp_path / "tree").keys()
    assert not list(tmp_path.glob("vhdx-*")), "the raw file is gone"


def test_an_efi_system_partition(tmp_path: Path) -> None:
    for table, name in (("gpt", "EFI system"), ("mbr", "EFI system")):
        image = tmp_path / f"{table}.vhdx"
        vhdx.create(image, "64MiB", formatting=Formatting("fat32", table, efi=True))  # type: ignore[arg-type]
        with vhdx.open(image) as disk:
            assert [part.type_name for part in disk.partitions()] == [name]


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("kind", ["fat12", "fat16", "fat32"])
def test_shapes_at_all_sizes(kind: str, sector: int) -> None:
    """Every size has a shape that is one of its kind, or is refused; never one of another kind."""
    limits = {"fat12": (1, 4084), "fat16": (4085, 65524), "fat32": (65525, 0x0FFFFFF5)}
    bits = {"fat12": 12, "fat16": 16, "fat32": 32}[kind]
    possible = 0
    for size in sorted({b + d * sector for e in range(16, 45) for b in (1 << e, 3 << e) for d in (-1, 0, 1)}):
        try:
            found = shape(kind, size, sector)
        except ValueError:
            continue
        possible += 1
        least, most = limits[kind]
        assert least <= found.clusters <= most
        assert found.fat_sectors * sector * 8 >= (found.clusters + 2) * bits
        end = found.reserved + 2 * found.fat_sectors + found.root_sectors + found.clusters * found.per_cluster
        assert end <= size // sector < end + found.per_cluster + found.fat_sectors
        assert (found.reserved + 2 * found.fat_sectors + found.root_sectors) * sector % 4096 == 0
        assert found.per_cluster * sector <= 32 * KIB
    assert possible > 20


def test_what_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "a.vhdx"
    wrong = [
        ("16MiB", Formatting("fat32"), "cannot be a FAT32"),
        ("1MiB", Formatting("fat12", "gpt"), "no room for a partition"),
        ("64MiB", Formatting("fat32", label="this is too long"), "no label for a FAT"),
        ("64MiB", Formatting("fat32", label="é"), "no label for a FAT"),
        ("64MiB", Formatting("fat32", efi=True), "is a partition with a FAT"),
        ("64MiB", Formatting("zfs"), "must be one of"),  # type: ignore[arg-type]
        ("64MiB", Formatting("xfs", contents=str(tmp_path)), "nothing here puts files"),
        ("3TiB", Formatting("fat32", "mbr"), "take a GPT"),
    ]
    for size, asked, said in wrong:
        if asked.kind in host_mkfs.PROGRAMS:
            need(f"mkfs.{asked.kind}")
        with pytest.raises(ValueError, match=said):
            vhdx.create(image, size, formatting=asked)
    with pytest.raises(NotADirectoryError):
        vhdx.create(image, "64MiB", formatting=Formatting("fat32", contents=str(image)))
    need("mkfs.xfs")
    with pytest.raises(OSError, match=r"mkfs\.xfs: "):
        vhdx.create(image, "2MiB", formatting=Formatting("xfs"))
    monkeypatch.setattr(host_mkfs, "_ADMINISTRATORS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="apt-get install e2fsprogs") as caught:
        vhdx.create(image, "64MiB", formatting=Formatting("ext4"))
    assert caught.value.errno == errno.ENOSYS
    assert not list(tmp_path.iterdir())


def test_a_large_fat32_costs_little(tmp_path: Path) -> None:
    """Nothing is written but what is not zeros: a disk of 2 TiB is a small file."""
    image = tmp_path / "a.vhdx"
    made = vhdx.create(image, 2 * TIB - 512, formatting=Formatting("fat32", "gpt", "large"))
    assert made.file_size < 200 * MIB
    assert subprocess.run(["du", "-k", image], capture_output=True, check=True).stdout.split()[0].isdigit()
    (found,) = vhdx.file_systems(image, quick=True)
    assert (found.kind, found.size > 1.9 * TIB) == ("FAT32", True)
