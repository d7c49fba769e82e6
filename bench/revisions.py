"""Two revisions of the library against each other, whole commands, in paired runs."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import vhdx
from bench.conversion import fill
from bench.harness import OURS, rows_of, take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.harness import Row

ROOT = Path(__file__).parents[1]
MIB = 1 << 20
_FIRST_WRITE = (
    "import vhdx\nwith vhdx.open('{0}/huge.vhdx', 'r+') as disk:\n    disk.pwrite(b'x' * 512, 1 << 44)"
)
_READS = (
    "import random, vhdx\nchance = random.Random(1)\nwith vhdx.open('{0}/full.vhdx') as disk:\n"
    "    for _ in range(20000):\n        disk.pread(4096, chance.randrange({1}) * 4096)"
)
COMMANDS = {
    "info": ("-m", "vhdx", "info", "{0}/full.vhdx"),
    "check": ("-m", "vhdx", "check", "{0}/full.vhdx"),
    "--version": ("-m", "vhdx", "--version"),
    "--help": ("-m", "vhdx", "--help"),
    "convert raw to VHDX": ("-m", "vhdx", "convert", "--force", "{0}/full.raw", "{0}/made.vhdx"),
    "convert VHDX to raw": ("-m", "vhdx", "convert", "--force", "{0}/full.vhdx", "{0}/made.raw"),
    "convert 1 % of raw to VHDX": ("-m", "vhdx", "convert", "--force", "{0}/sparse.raw", "{0}/made.vhdx"),
    "convert 1 % of VHDX to raw": ("-m", "vhdx", "convert", "--force", "{0}/sparse.vhdx", "{0}/made.raw"),
    "compact": ("-m", "vhdx", "compact", "{0}/image.vhdx"),
    "merge": ("-m", "vhdx", "merge", "{0}/over.avhdx"),
    "compare": ("-m", "vhdx", "compare", "{0}/full.raw", "{0}/full.vhdx"),
    "diff of a child": ("-m", "vhdx", "diff", "{0}/child.avhdx"),
    "first write to 64 TiB": ("-c", _FIRST_WRITE),
    "20000 reads of 4 KiB": ("-c", _READS),
}
"""Words behind the interpreter; {0} is the folder, {1} how many pages the full disk has."""
RESTORED = {"compact": ("image.vhdx",), "merge": ("under.vhdx", "over.avhdx")}
"""Files that a command changes: before each round they are what they were."""
SIZE = 128 * MIB
SPARSE_SIZE = 4096 * MIB


def measure(folder: Path, base: str) -> Iterator[Row]:
    """Every command by the code that stands here and by that of the revision ``base``."""
    _prepare(folder)
    with checked_out(base, folder / "base") as source:
        sources = {OURS: ROOT / "src", base: source / "src"}
        for what, words in COMMANDS.items():
            filled = [word.format(folder, SIZE // 4096) for word in words]
            runs = {name: partial(_run, filled, path) for name, path in sources.items()}
            fresh = partial(_restore, folder, RESTORED.get(what, ()))
            yield from rows_of(what, take_turns(runs, before=fresh))


@contextlib.contextmanager
def checked_out(revision: str, folder: Path) -> Iterator[Path]:
    """The files of a revision, in a folder of their own."""
    git = ("git", "-C", str(ROOT), "worktree")
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), revision], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def _prepare(folder: Path) -> None:
    chance = random.Random(4)
    with open(folder / "full.raw", "wb") as file:
        file.writelines(chance.randbytes(MIB) for _ in range(SIZE // MIB))
    vhdx.convert(folder / "full.raw", folder / "full.vhdx")
    vhdx.create(folder / "child.avhdx", parent=folder / "full.vhdx", block_size="1M")
    with vhdx.open(folder / "child.avhdx", "r+") as disk:
        for offset in range(0, SIZE, 3 * MIB):
            disk.pwrite(b"x" * 4096, offset)
    vhdx.create(folder / "huge.vhdx", "64T", block_size="1M")
    fill(folder / "sparse.raw", SPARSE_SIZE, 0.01)
    vhdx.convert(folder / "sparse.raw", folder / "sparse.vhdx")
    kept = folder / "kept"
    kept.mkdir()
    vhdx.convert(folder / "full.raw", kept / "image.vhdx", options=vhdx.ImageOptions(block_size=MIB))
    with vhdx.open(kept / "image.vhdx", "r+") as disk:
        disk.zero(length=SIZE // 2, offset=0)
    vhdx.create(kept / "under.vhdx", SIZE)
    vhdx.create(kept / "over.avhdx", parent=kept / "under.vhdx")
    with vhdx.open(kept / "over.avhdx", "r+") as disk:
        for offset in range(0, SIZE, MIB):
            disk.pwrite(chance.randbytes(MIB), offset)


def _restore(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        shutil.copyfile(folder / "kept" / name, folder / name)
    os.sync()


def _run(words: list[str], source: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(source)}
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, env=environment)
