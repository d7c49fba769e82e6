"""Which volume is meant, paths and patterns in it, and the library's face."""

import importlib.util
import random
import sys
from importlib.resources.abc import Traversable
from pathlib import Path as HostPath

import pytest

import vhdx
import vhdx.files
from tests.files.trees import at_work, made, plant, volume_in
from tests.filesystems.making import MIB, need, raw_file, run
from vhdx.errors import FileSystemError, UnsupportedImageError
from vhdx.files import Path
from vhdx.files.base import Entry, Kind
from vhdx.files.glob import matcher
from vhdx.files.library import joined
from vhdx.files.open import ADAPTERS, open_tree
from vhdx.files.source import VolumeSource
from vhdx.files.volume import chosen
from vhdx.files.walk import walk


def gpt_of(folder: HostPath, *parts: HostPath) -> HostPath:
    """A VHDX with one partition for each of these file systems."""
    need("sfdisk")
    sizes = [part.stat().st_size for part in parts]
    raw = raw_file(folder / "disk.raw", sum(sizes) + 8 * MIB)
    rows = ["label: gpt", *(f"size={size // 512}" for size in sizes)]
    run("sfdisk", "-q", raw, text="\n".join(rows) + "\n")
    start = MIB
    with open(raw, "r+b") as disk:
        for part, size in zip(parts, sizes, strict=True):
            disk.seek(start)
            disk.write(part.read_bytes())
            start += size
    image = folder / "disk.vhdx"
    vhdx.convert(raw, image)
    return image


def ext4_with(folder: HostPath, name: str, label: str, **files: str) -> HostPath:
    tree = folder / f"tree-{name}"
    tree.mkdir()
    for file, text in files.items():
        (tree / file).write_text(text)
    image = raw_file(folder / f"{name}.raw", 16 * MIB)
    need("mkfs.ext4")
    run("mkfs.ext4", "-q", "-L", label, "-d", tree, image)
    return image


def test_which_volume_is_meant(tmp_path: HostPath) -> None:
    one = ext4_with(tmp_path, "one", "system", only_one="1", both="1")
    two = ext4_with(tmp_path, "two", "data", only_two="2", both="2")
    image = gpt_of(tmp_path, one, two)
    with vhdx.open(image) as disk:
        assert repr(disk.volumes()[1]) == f"<partition 2 (ext4, label data) of {disk!r}>"
        assert (
            repr(vhdx.files.volumes(disk)[1].find("/both").entry)
            == "<vhdx.Entry name='both' kind='FILE' size=1>"
        )
        assert [volume.title for volume in disk.volumes()] == [
            "partition 1 (ext4, label system)",
            "partition 2 (ext4, label data)",
        ]
        assert chosen(disk, path="/only_one").summary.partition == 1
        assert chosen(disk, path="/only_two").summary.partition == 2
        uuid = disk.volumes()[1].summary.uuid
        assert uuid is not None
        for name in ("data", "partition 2", uuid.upper()):
            assert chosen(disk, volume=name, path="/both").summary.partition == 2
        assert chosen(disk, partition=1).summary.partition == 1
        with pytest.raises(ValueError, match="several volumes have /both: partition 1"):
            chosen(disk, path="/both")
        with pytest.raises(FileNotFoundError):
            chosen(disk, path="/neither")
        with pytest.raises(
            UnsupportedImageError, match=r"this name or number, only partition 1 .*, partition 2"
        ):
            chosen(disk, volume="nobody")
        with pytest.raises(UnsupportedImageError, match="no volume of this name or number"):
            chosen(disk, partition=3)


def test_the_face(tmp_path: HostPath) -> None:
    image = made("ext4", tmp_path)
    with at_work(image, "ext4") as root:
        plant(root, "ext4")
        (root / "to-a").symlink_to("/a")
        (root / "loop").symlink_to("loop")
        (root / "a" / "up").symlink_to("../../../../a/hello.txt")
        expected = sorted(
            "/" + str(path.relative_to(root)) for path in root.rglob("*") if path.name != "lost+found"
        )
    with volume_in(image) as volume:
        assert volume.open("/a/hello.txt").read() == b"hello\n"
        assert volume.open("/to-a/hello.txt", "r").readline() == "hello\n"
        assert volume.open("/a/up").read() == b"hello\n"
        with volume.open("/a/big.bin") as file:
            assert file.seek(-5, 2) == 2_999_996
            assert len(file.read()) == 5
            assert file.seek(1000) == 1000
            assert file.peek(1)
        walked = [
            f"{path.rstrip('/')}/{name}"
            for path, directories, names in volume.walk()
            for name in directories + names
        ]
        assert sorted(path for path in walked if path != "/lost+found") == expected
        assert list(volume.glob("**/*.txt")) == [path for path in walked if path.endswith(".txt")]
        assert sorted(volume.glob("/a/h*")) == ["/a/hard", "/a/hello.txt"]
        with pytest.raises(OSError, match="too many symbolic links"):
            volume.find("/loop")
        for path, error in (
            ("/a/hello.txt/x", NotADirectoryError),
            ("/nothing", FileNotFoundError),
            ("/a/dead", FileNotFoundError),
            ("/a/hello.txt:stream", FileNotFoundError),
        ):
            with pytest.raises(error):
                volume.find(path)
        with pytest.raises(IsADirectoryError):
            volume.open("/a")
        with pytest.raises(ValueError, match="only read"):
            volume.open("/a/hello.txt", "wb")  # type: ignore[call-overload]


def test_path_is_a_traversable(tmp_path: HostPath) -> None:
    image = ext4_with(tmp_path, "one", "x", hello="text ü\n")
    with volume_in(image) as volume:
        root = Path(volume)
        assert isinstance(root, Traversable)
        assert {path.name for path in root.iterdir()} == {"hello", "lost+found"}
        file = root / "hello"
        assert (str(file), file.name, file.parent == root) == ("/hello", "hello", True)
        assert (file.is_file(), file.is_dir(), root.is_dir(), (root / "no").exists()) == (
            True,
            False,
            True,
            False,
        )
        assert file.read_text() == "text ü\n"
        with file.open() as text, file.open("rb") as raw:
            assert text.read().encode() == raw.read()
        with pytest.raises(NotADirectoryError):
            list(file.iterdir())


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.txt", "a.txt", True),
        ("*.txt", "b/a.txt", False),
        ("**/*.txt", "b/c/a.txt", True),
        ("**/*.txt", "a.txt", True),
        ("/b/**", "b/c/d", True),
        ("b/**/d", "b/d", True),
        ("b/**/d", "b/c/e", False),
        ("A.TXT", "a.txt", False),
        ("**", "x/" * 5000 + "x", True),
    ],
)
def test_patterns(pattern: str, path: str, matches: bool) -> None:
    assert matcher(pattern, is_windows=False)(path.split("/")) is matches


def test_patterns_of_windows() -> None:
    assert matcher(r"users\*\*.TXT", is_windows=True)(["Users", "me", "a.txt"])


def test_runs_are_joined_and_cut() -> None:
    assert list(joined(iter([(0, 5), (5, 5), (20, 4), (24, 100)]), 30)) == [(0, 10), (20, 10)]
    assert list(joined(iter([]), 30)) == []


def test_the_source_reads_as_the_volume() -> None:
    data = random.Random(1).randbytes(300_000)
    source = VolumeSource(lambda length, offset: data[offset : offset + length], len(data))
    rng = random.Random(2)
    for _ in range(3000):
        offset, length = rng.randrange(len(data) + 10), rng.choice([1, 100, 4096, 32768, 32769, 100_000])
        source.seek(offset)
        assert source.read(length) == data[offset : offset + length]
    assert source.seek(-1, 2) == len(data) - 1
    with pytest.raises(ValueError, match="negative"):
        source.seek(-1)


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyfshfs", None)
    with pytest.raises(UnsupportedImageError, match=r"pip install 'vhdx\[files\]'"):
        open_tree("HFS+", lambda length, _: bytes(length), MIB, print)
    with pytest.raises(UnsupportedImageError, match="files of swap are not read"):
        open_tree("swap", lambda length, _: bytes(length), MIB, print)


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
def test_noise_is_refused(kind: str) -> None:
    noise = random.Random(kind).randbytes(MIB)
    with pytest.raises(FileSystemError):
        open_tree(kind, lambda length, offset: noise[offset : offset + length], MIB, print)


def test_errors_of_the_disk_stay_what_they_are() -> None:
    def read(length: int, offset: int) -> bytes:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        open_tree("HFS+", read, MIB, print)


def test_an_interrupt_stays_one() -> None:
    def read(length: int, offset: int) -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_tree("HFS+", read, MIB, print)


class _Loop:
    """A tree whose directory is in itself."""

    root = Entry("", Kind.DIRECTORY, 0, 1)

    def entries(self, directory: Entry) -> list[Entry]:
        return [Entry("again", Kind.DIRECTORY, 0, 1), Entry("below", Kind.DIRECTORY, 0, 2)]


def test_loops_end_and_are_told() -> None:
    told: list[str] = []
    tree = _Loop()
    steps = list(walk(tree, tree.root, told.append))  # type: ignore[arg-type]
    assert [(step.parts, step.left) for step in steps] == [
        ((), False), (("below",), False), (("below",), True), ((), True),
    ]  # fmt: skip
    assert len(told) == 3


def test_libraries_are_not_imported_before_they_are_needed() -> None:
    assert importlib.util.find_spec("pyfsext") is not None
    code = (
        "import sys, vhdx.files, vhdx.files.volume; assert not any(m.startswith('pyfs') for m in sys.modules)"
    )
    run(sys.executable, "-c", code)


def test_dir_shows_what_is_public() -> None:
    assert dir(vhdx.files) == sorted(vhdx.files.__all__)
