"""The verbs about files of guests, as people use them, compared with the kernel's view and with GNU tar."""

import json
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import COMMAND, USAGE, run, succeed
from tests.files.test_kinds import attributes
from tests.files.trees import at_work, kernel_hashes, made, plant
from tests.filesystems.making import MIB, need, raw_file
from tests.filesystems.making import run as ran


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A VHDX with a tree in ext4, and the same tree on the host."""
    folder = tmp_path_factory.mktemp("guest")
    raw = made("ext4", folder)
    with at_work(raw, "ext4") as root:
        plant(root, "ext4")
        (root / "a" / "back\\slash").write_bytes(b"b")
        Path(os.fsdecode(bytes(root) + b"/bad\xffname")).write_bytes(b"bad")
        os.rmdir(root / "lost+found")
        ran("cp", "-a", root, folder / "same")
    vhdx.convert(raw, folder / "disk.vhdx")
    return folder / "disk.vhdx", folder / "same"


def statuses(root: Path, *, devices: bool = True) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in root.rglob("*"):
        status = path.lstat()
        is_node = stat.S_ISCHR(status.st_mode) or stat.S_ISFIFO(status.st_mode)
        if is_node and not devices:
            continue
        found[str(path.relative_to(root))] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            0 if stat.S_ISDIR(status.st_mode) else status.st_nlink,
            status.st_mtime_ns,
            os.readlink(path) if path.is_symlink() else None,
            status.st_rdev if is_node else 0,
        )
    return found


def test_ls(guest: tuple[Path, Path]) -> None:
    image, same = guest
    assert succeed("ls", f"{image}:/a").splitlines() == [
        name.replace("\n", "\\n") for name in sorted(os.listdir(same / "a"))
    ]
    assert succeed("ls", f"{image}:/a/hello.txt") == "hello.txt\n"
    long = succeed("ls", "-l", f"{image}:/a").splitlines()
    assert "-rwsr-x---   2     0     0            6 2001-09-09 01:46 hello.txt" in long
    assert any(line.endswith(" link -> hello.txt") for line in long)
    everything = succeed("ls", "-R", image).splitlines()
    assert len(everything) == len(list(same.rglob("*")))
    rows = json.loads(succeed("ls", "-R", "--json", image))["entries"]
    assert {row["path"] for row in rows} == {"/" + str(path.relative_to(same)) for path in same.rglob("*")}
    (link,) = (row for row in rows if row["path"] == "/a/link")
    assert (link["kind"], link["target"]) == ("symlink", "hello.txt")


def test_cat(guest: tuple[Path, Path]) -> None:
    image, same = guest
    for path in ("a/big.bin", "a/sparse", "a/link", "a/b/../hello.txt"):
        done = subprocess.run([*COMMAND, "cat", f"{image}:/{path}"], capture_output=True, check=True)
        assert done.stdout == (same / path).read_bytes()


def test_find_and_du(guest: tuple[Path, Path]) -> None:
    image, same = guest
    found = {"/" + str(path.relative_to(same)) for path in same.rglob("*.txt")}
    assert set(succeed("find", image, "*.txt").splitlines()) == found
    assert set(succeed("find", f"{image}:/a", "/a/**/*.txt").splitlines()) == found
    assert succeed("find", image, "*.nothing") == ""
    rows = json.loads(succeed("du", "--json", image))["entries"]
    whole = rows[-1]
    files = {path.lstat().st_ino: path.lstat() for path in same.rglob("*")}
    sizes = sum(status.st_size for status in files.values() if not stat.S_ISDIR(status.st_mode))
    assert (whole["path"], whole["size"]) == ("/", sizes)
    assert whole["stored"] < 4_000_000 < whole["size"]  # holes do not count
    exported = json.loads(succeed("du", "--ncdu", image))
    assert exported[:2] == [1, 2]
    assert exported[3][0]["name"] == "/"


def test_ncdu_loads_what_is_exported(guest: tuple[Path, Path], tmp_path: Path) -> None:
    """And exports the same names again."""
    image, same = guest
    need("ncdu")
    (tmp_path / "usage.json").write_text(succeed("du", "--ncdu", image))
    loaded = ran("ncdu", "-f", tmp_path / "usage.json", "-o", "-")
    assert all(json.dumps(name, ensure_ascii=False) in loaded for name in os.listdir(same / "a"))


def test_cp_of_a_tree(guest: tuple[Path, Path], tmp_path: Path) -> None:
    image, same = guest
    succeed("cp", "-R", "--xattrs", "--devices", f"{image}:/", tmp_path)
    assert kernel_hashes(tmp_path) == kernel_hashes(same)
    assert statuses(tmp_path) == statuses(same)
    assert attributes(tmp_path) == attributes(same)
    sparse = (tmp_path / "a" / "sparse").stat()
    assert (sparse.st_size, sparse.st_blocks * 512 <= 128 << 10) == (10_000_000, True)
    assert (tmp_path / "a" / "hard").stat().st_ino == (tmp_path / "a" / "hello.txt").stat().st_ino


def test_cp_of_files(guest: tuple[Path, Path], tmp_path: Path) -> None:
    image, same = guest
    succeed("cp", f"{image}:/a/big.bin", tmp_path / "other name")
    assert (tmp_path / "other name").read_bytes() == (same / "a" / "big.bin").read_bytes()
    succeed("cp", f"{image}:/a/hello.txt", f"{image}:/a/empty", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"other name", "hello.txt", "empty"}
    done = run("cp", f"{image}:/a/hello.txt", tmp_path)
    assert (done.code, "exists already" in done.sentence) == (1, True)
    succeed("cp", "--force", f"{image}:/a/hello.txt", tmp_path)
    assert "-R copies it" in run("cp", f"{image}:/a", tmp_path).err
    assert run("cp", str(image), tmp_path).code == USAGE
    done = run("cp", "-R", f"{image}:/a", tmp_path)
    assert (done.code, len(done.err.splitlines())) == (1, 2)  # the device and the FIFO are told


def test_tar(guest: tuple[Path, Path], tmp_path: Path) -> None:
    image, same = guest
    need("tar")
    archive = tmp_path / "files.tar"
    with open(archive, "wb") as output:
        subprocess.run([*COMMAND, "tar", "--devices", str(image)], stdout=output, check=True)
    assert archive.stat().st_size < 5_000_000
    (tmp_path / "gnu").mkdir()
    ran("tar", "-C", tmp_path / "gnu", "--xattrs", "--xattrs-include=*", "-xpf", archive)
    assert kernel_hashes(tmp_path / "gnu") == kernel_hashes(same)
    assert statuses(tmp_path / "gnu") == statuses(same)
    assert attributes(tmp_path / "gnu") == attributes(same)
    (tmp_path / "python").mkdir()
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path / "python", filter="fully_trusted")
        names = opened.getnames()
    assert kernel_hashes(tmp_path / "python") == kernel_hashes(same)
    assert len(names) == len(set(names)) == len(list(same.rglob("*")))
    assert (tmp_path / "python" / "a" / "dead").is_symlink()


def test_attributes_whose_names_are_hard_for_an_archive(tmp_path: Path) -> None:
    """GNU tar reads back what it can have; the rest is told and ends nothing."""
    need("mkfs.ext4", "tar")
    image, archive = raw_file(tmp_path / "e.raw", 16 * MIB), tmp_path / "files.tar"
    ran("mkfs.ext4", "-F", "-q", image)
    with at_work(image, "ext4") as root:
        (root / "file").write_bytes(b"contents")
        for name in (b"user.no \xff", b"user.50%3D=half"):
            os.setxattr(root / "file", name, b"value")
    with open(archive, "wb") as output:
        done = subprocess.run(
            [*COMMAND, "tar", str(image)], stdout=output, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, b"name that no archive can have" in done.stderr) == (1, True)
    (tmp_path / "gnu").mkdir()
    ran("tar", "-C", tmp_path / "gnu", "--xattrs", "--xattrs-include=*", "-xpf", archive)
    assert (tmp_path / "gnu" / "file").read_bytes() == b"contents"
    extracted = tmp_path / "gnu" / "file"
    assert {name: os.getxattr(extracted, name) for name in os.listxattr(extracted)} == {
        "user.50%3D=half": b"value"
    }


def test_what_people_get_wrong(guest: tuple[Path, Path], tmp_path: Path) -> None:
    image, _ = guest
    assert run("cat", f"{image}:/nothing").sentence == "/nothing: No such file or directory"
    assert run("cat", f"{image}:/a").sentence == "/a: Is a directory"
    assert run("ls", f"{image}:/a/hello.txt/x").sentence == "/a/hello.txt/x: Not a directory"
    assert "No such file" in run("ls", tmp_path / "no.vhdx:/x").sentence
    vhdx.create(tmp_path / "empty.vhdx", "10M")
    assert "there is no volume whose files are read" in run("ls", tmp_path / "empty.vhdx").sentence


def test_a_colon_in_the_name(guest: tuple[Path, Path], tmp_path: Path) -> None:
    image, _ = guest
    (tmp_path / "disk:1.vhdx").symlink_to(image)
    assert succeed("cat", f"{tmp_path}/disk:1.vhdx:/a/hello.txt") == "hello\n"
    assert "hello.txt" in succeed("ls", f"{tmp_path}/disk:1.vhdx:/a")


def test_the_image_is_not_written_to(guest: tuple[Path, Path]) -> None:
    image, _ = guest
    before = image.read_bytes()
    succeed("ls", "-lR", image)
    assert image.read_bytes() == before
