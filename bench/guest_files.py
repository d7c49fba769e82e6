"""Files of guests: one that is large, read from front to back, and the names of very many."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from bench.harness import OURS, Aim, Row, command, have, limit_row, our_command, rows_of, take_turns
from bench.looking import median_cost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.harness import Contestant

MIB = 1 << 20
SIZE = 1024 * MIB
FILES, IN_ONE = 100_000, 1000
MOST_MEBIBYTES = 256
LEVEL = "at least level"
READ_BY_TSK = """
import sys, pytsk3
file = pytsk3.FS_Info(pytsk3.Img_Info(sys.argv[1])).open("/big")
for offset in range(0, file.info.meta.size, 1 << 20):
    file.read_random(offset, min(1 << 20, file.info.meta.size - offset))
"""
WALKED_BY_TSK = """
import sys, pytsk3
waiting = [pytsk3.FS_Info(pytsk3.Img_Info(sys.argv[1])).open_dir("/")]
while waiting:
    for entry in waiting.pop():
        if entry.info.name.name in (b".", b"..") or entry.info.meta is None:
            continue
        print(entry.info.name.name)
        if entry.info.meta.type == pytsk3.TSK_FS_META_TYPE_DIR and entry.info.name.name != b"$OrphanFiles":
            waiting.append(entry.as_directory())
"""
LISTED_BY_TSK = """
import stat, sys, time, pytsk3
waiting = [("", pytsk3.FS_Info(pytsk3.Img_Info(sys.argv[1])).open_dir("/"))]
while waiting:
    above, directory = waiting.pop()
    for entry in directory:
        name, meta = entry.info.name.name.decode(), entry.info.meta
        if name in (".", "..") or meta is None:
            continue
        path = f"{above}/{name}"
        is_directory = meta.type == pytsk3.TSK_FS_META_TYPE_DIR
        mode = int(meta.mode) | (stat.S_IFDIR if is_directory else stat.S_IFREG)
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(meta.mtime))
        print(stat.filemode(mode), meta.nlink, meta.uid, meta.gid, meta.size, when, path)
        if is_directory and name != "$OrphanFiles":
            waiting.append((path, entry.as_directory()))
"""
"""With what `ls -l` tells."""


def measure(folder: Path) -> Iterator[Row]:
    """Reading and listing, as processes of their own, everything in the host's cache."""
    big = folder / "big"
    with open(big, "wb") as file:
        file.writelines(os.urandom(MIB) for _ in range(SIZE // MIB))
    for kind, image in (("ext4", _ext4(folder, big)), ("NTFS", _ntfs(folder, big))):
        if image is not None:
            with _mounted(image) as point:
                found = take_turns(_readers(kind, image, point))
                piped = take_turns(_piped(image, point))
            yield from rows_of(f"{SIZE // MIB} MiB file out of {kind}", found, _AIMS)
            yield from rows_of(f"{SIZE // MIB} MiB file out of {kind} into a pipe", piped, _AIMS)
            image.unlink()
    big.unlink()
    yield from _listing(folder)


_AIMS = {
    name: Aim(f"{LEVEL} with {name}", lambda ours, theirs: ours <= theirs) for name in ("pytsk3", "7-Zip")
}


def _ext4(folder: Path, big: Path) -> Path | None:
    if not have("mkfs.ext4", "debugfs"):
        return None
    image = _raw(folder / "ext4.raw", SIZE * 5 // 4)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    subprocess.run(["debugfs", "-w", "-R", f"write {big} big", image], check=True, capture_output=True)
    return image


def _ntfs(folder: Path, big: Path) -> Path | None:
    if not have("mkntfs", "ntfscp"):
        return None
    image = _raw(folder / "ntfs.raw", SIZE * 5 // 4)
    subprocess.run(["mkntfs", "-F", "-q", "-Q", image], check=True, capture_output=True)
    subprocess.run(["ntfscp", image, big, "big"], check=True, capture_output=True)
    return image


def _raw(path: Path, size: int) -> Path:
    with open(path, "wb") as file:
        file.truncate(size)
    return path


def _readers(kind: str, image: Path, point: Path | None) -> dict[str, Contestant]:
    readers = {OURS: command(*our_command(), "cat", f"{image}:/big")}
    if point is not None:
        readers["loop mount"] = command("cat", point / "big")
    if have("7zz"):
        readers["7-Zip"] = command("7zz", "e", "-so", image, "big")
    if kind == "ext4":
        readers["debugfs"] = command("debugfs", "-R", "dump big /dev/null", image)
    if importlib.util.find_spec("pytsk3"):
        readers["pytsk3"] = command(sys.executable, "-c", READ_BY_TSK, image)
    return readers


def _piped(image: Path, point: Path | None) -> dict[str, Contestant]:
    """Those that write to standard output."""
    readers = {OURS: _into_a_pipe(*our_command(), "cat", f"{image}:/big")}
    if point is not None:
        readers["loop mount"] = _into_a_pipe("cat", point / "big")
    if have("7zz"):
        readers["7-Zip"] = _into_a_pipe("7zz", "e", "-so", image, "big")
    return readers


def _into_a_pipe(*words: str | Path) -> Contestant:
    """A program that must succeed, its output read by another."""
    return command("bash", "-o", "pipefail", "-c", f"{shlex.join(map(str, words))} | cat")


@contextlib.contextmanager
def _mounted(image: Path) -> Iterator[Path | None]:
    """Where the kernel has mounted it; None where it does not, or we are not root."""
    point = image.with_suffix(".mounted")
    point.mkdir()
    words: list[str | Path] = ["mount", "-o", "loop,ro", image, point]
    is_there = os.geteuid() == 0 and subprocess.run(words, check=False, capture_output=True).returncode == 0
    try:
        yield point if is_there else None
    finally:
        if is_there:
            subprocess.run(["umount", point], check=True)


def _listing(folder: Path) -> Iterator[Row]:
    tree = folder / "tree"
    for number in range(FILES // IN_ONE):
        directory = tree / f"directory {number}"
        directory.mkdir(parents=True)
        for name in range(IN_ONE):
            (directory / f"file {name}").touch()
    for kind, image in (("ext4", _ext4_of(folder, tree)), ("NTFS", _ntfs_of(folder, tree))):
        if image is not None:
            yield from _listed(kind, image)


def _ext4_of(folder: Path, tree: Path) -> Path | None:
    if not have("mkfs.ext4"):
        return None
    image = _raw(folder / "many ext4.raw", 256 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-N", str(FILES * 2), "-d", tree, image], check=True)
    return image


def _ntfs_of(folder: Path, tree: Path) -> Path | None:
    if os.geteuid() or not have("mkntfs", "ntfs-3g"):
        return None
    image, point = _raw(folder / "many ntfs.raw", 256 * MIB), folder / "filled"
    point.mkdir()
    subprocess.run(["mkntfs", "-F", "-q", "-Q", image], check=True, capture_output=True)
    subprocess.run(["ntfs-3g", image, point], check=True)
    try:
        shutil.copytree(tree, point, dirs_exist_ok=True)
    finally:
        subprocess.run(["umount", point], check=True)
    return image


def _listed(kind: str, image: Path) -> Iterator[Row]:
    names: list[str | Path] = [*our_command(), "ls", "-R", image]
    with _mounted(image) as point:
        listers = {OURS: command(*names)}
        long = {OURS: command(*names, "-l")}
        if point is not None:
            listers["ls -R of a loop mount"] = command("ls", "-R", point)
            long["ls -l -R of a loop mount"] = command("ls", "-l", "-R", point)
        if have("7zz"):
            listers["7-Zip"] = command("7zz", "l", image)
            long["7-Zip"] = command("7zz", "l", "-slt", image)
        if importlib.util.find_spec("pytsk3"):
            listers["pytsk3"] = command(sys.executable, "-c", WALKED_BY_TSK, image)
            long["pytsk3"] = command(sys.executable, "-c", LISTED_BY_TSK, image)
        found = take_turns(listers)
        found_long = take_turns(long)
    yield from rows_of(f"ls -R of {FILES} files, {kind}", found, _AIMS)
    yield from rows_of(f"ls -l -R of {FILES} files, {kind}", found_long, _AIMS)
    resident = median_cost([*names, "-l"]).mebibytes
    yield limit_row(
        f"ls -l -R of {FILES} files, {kind}: resident", resident, MOST_MEBIBYTES, "MiB", "256 MiB at most"
    )
