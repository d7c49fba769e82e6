"""Small disks with a file system each; ``python -m tests.fuzz.guests`` makes them anew with foreign tools.

Committed are the sectors that are not zeros, packed, so that fuzzing needs none of these tools.
"""

import lzma
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.filesystems.noise import MIB, empty, loop_device, run
from tests.support.sparse import Content

FOLDER = Path(__file__).parent / "guest_images"
SECTOR = 512


def guest(name: str) -> Content:
    """The disk of this name."""
    data = lzma.decompress((FOLDER / f"{name}.xz").read_bytes())
    content = Content(int.from_bytes(data[:8], "little"))
    for at in range(8, len(data), 4 + SECTOR):
        sector = int.from_bytes(data[at : at + 4], "little")
        content.write(data[at + 4 : at + 4 + SECTOR], sector * SECTOR)
    return content


def names() -> list[str]:
    """All of them."""
    return sorted(path.stem for path in FOLDER.glob("*.xz"))


def packed(image: Path) -> bytes:
    """The form in which a disk is committed."""
    data = image.read_bytes()
    sectors = (
        (at // SECTOR).to_bytes(4, "little") + data[at : at + SECTOR]
        for at in range(0, len(data), SECTOR)
        if any(data[at : at + SECTOR])
    )
    return lzma.compress(len(data).to_bytes(8, "little") + b"".join(sectors), preset=9)


def _made(folder: Path) -> Iterator[Path]:
    """The disks, each with some files of text where its maker can put them in."""
    source = folder / "source"
    source.mkdir()
    for number in range(12):
        (source / f"file{number}").write_bytes(b"%d\n" % number * (number * 300))
    proto = ["x", "0 0", "d--755 0 0", *(f"f{n} ---644 0 0 {source}/file{n}" for n in range(12)), "$", ""]
    (folder / "proto").write_text("\n".join(proto))
    options: tuple[str, ...]
    for name, options in (("xfs", ()), ("xfs4", ("-m", "crc=0"))):
        image = empty(folder / f"{name}.raw", 16 * MIB)
        run("mkfs.xfs", "-q", "-l", "size=6m", *options, "-p", folder / "proto", image)
        yield image
    for name, options in (("btrfs", ("--mixed",)), ("btrfs_small_nodes", ("-n", "4096", "--csum", "sha256"))):
        image = empty(folder / f"{name}.raw", 120 * MIB)
        run("mkfs.btrfs", "-q", *options, "-r", source, image)
        yield image
    image = empty(folder / "ext4.raw", 8 * MIB)
    run("mkfs.ext4", "-q", "-F", "-b", "1024", "-O", "^metadata_csum", "-J", "size=1", "-d", source, image)
    yield image
    image = empty(folder / "ntfs.raw", 2 * MIB)
    run("mkfs.ntfs", "-q", "-F", image)
    yield image
    for name, bits, size in (("fat12", "12", MIB), ("fat16", "16", 9 * MIB), ("fat32", "32", 34 * MIB)):
        image = empty(folder / f"{name}.raw", size)
        run("mkfs.vfat", "-F", bits, "-s", "1", image)
        run("mcopy", "-i", image, *sorted(source.iterdir()), "::")
        yield image
    image = empty(folder / "exfat.raw", 2 * MIB)
    run("mkfs.exfat", "-b", "64K", image)
    yield image
    image = empty(folder / "lvm.raw", 16 * MIB)
    with loop_device(image) as device:
        run("pvcreate", "-y", "--metadatasize", "64k", device)
        run("vgcreate", "-s", "1m", "guests", device)
        text = folder / "group.txt"
        run("vgcfgbackup", "-f", text, "guests")
        head, brace, tail = text.read_text().rpartition("}")
        text.write_text(head + _VOLUME + brace + tail)
        run("vgcfgrestore", "-f", text, "guests")
    yield image
    image = empty(folder / "swap.raw", 64 << 10)
    image.chmod(0o600)
    subprocess.run(["mkswap", image], check=True, capture_output=True)
    yield image


_VOLUME = """logical_volumes {
root {
id = "abcdef-abcd-abcd-abcd-abcd-abcd-abcdef"
status = ["READ", "WRITE", "VISIBLE"]
flags = []
segment_count = 2
segment1 {
start_extent = 0
extent_count = 2
type = "striped"
stripe_count = 1
stripes = ["pv0", 3]
}
segment2 {
start_extent = 2
extent_count = 1
type = "striped"
stripe_count = 1
stripes = ["pv0", 0]
}
}
}
"""


def main() -> None:
    """Make all of them with the tools of this machine."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for image in _made(Path(folder)):
            data = packed(image)
            (FOLDER / f"{image.stem}.xz").write_bytes(data)
            sys.stdout.write(f"{image.stem}: {len(data)} bytes\n")


if __name__ == "__main__":
    main()
