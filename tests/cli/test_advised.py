"""Every command that a message advises is brought about, taken as it is printed, and run by a shell."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import vhdx
from tests.docs.scenes import chain, damaged, dirty
from tests.support.build import ImageBuilder
from tests.support.damage import flip, overwrite
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.patterns import pattern
from vhdx.text import command, shell_word

from .running import run

SOURCES = Path(vhdx.__file__).parent
BASH = shutil.which("bash")
NAME = "it's 100% -x.vhdx"
"""Of the image in every situation."""

pytestmark = pytest.mark.skipif(BASH is None, reason="there is no bash to paste into")


class Advice(NamedTuple):
    """A situation, the line of the command that brings the advice about, and what the advice must do."""

    scene: Callable[[Path], None]
    line: list[str]
    advised: str
    """What stands in the advice, a pattern; the first group, if any, is replaced by ``given``."""
    code: int = 0
    given: str = ""


def _renamed(scene: Callable[[Path], None], image: str = "vm.vhdx") -> Callable[[Path], None]:
    def made(folder: Path) -> None:
        scene(folder)
        (folder / image).rename(folder / NAME)

    return made


def _no_tables(folder: Path) -> None:
    dirty(folder)
    for place in (192 << 10, 256 << 10):
        flip(folder / "vm.vhdx", place + 100)


def _children(folder: Path, parent_folder: str, parent: str = "parent.vhdx") -> None:
    (folder / "child").mkdir()
    (folder / parent_folder).mkdir(exist_ok=True)
    below = ImageBuilder(4 * MIB, blocks={0: Block(pattern(1, MIB))})
    relative = os.path.relpath(folder / parent_folder / parent, folder / "child").replace("/", "\\")
    below.child(relative).write(folder / "child" / NAME)
    below.write(folder / parent_folder / parent)


def _outside(folder: Path) -> None:
    _children(folder, "other")


def _gone(folder: Path) -> None:
    _children(folder, "other")
    (folder / "other" / "parent.vhdx").rename(folder / "other" / "moved.vhdx")
    child = folder / "child" / NAME
    vhdx.rebase(child, folder / "other" / "moved.vhdx")
    (folder / "other" / "moved.vhdx").rename(folder / "child" / "there.vhdx")
    vhdx.rebase(child, folder / "child" / "there.vhdx")
    (folder / "child" / "there.vhdx").rename(folder / "parent is here.vhdx")


def _stranger(folder: Path) -> None:
    _children(folder, "child")
    (folder / "child" / "parent.vhdx").rename(folder / "parent.vhdx")
    ImageBuilder(4 * MIB, seed=9).write(folder / "child" / "parent.vhdx")


def _leaked(folder: Path) -> None:
    blocks = {0: Block(pattern(1, MIB))}
    ImageBuilder(4 * MIB, gap=5 * MIB, blocks=blocks, patches=[(4 * MIB, b"of nobody")]).write(folder / NAME)


def _lost_entries(folder: Path) -> None:
    image = ImageBuilder(80 * MIB, blocks={number: Block(pattern(1, 4096)) for number in range(70)})
    image.write(folder / NAME)
    overwrite(folder / NAME, image.plan().bat_offset, bytes(512))


def _free(folder: Path) -> None:
    ImageBuilder(4 * MIB, gap=5 * MIB, blocks={0: Block(pattern(1, MIB))}).write(folder / NAME)


def _vhd(folder: Path) -> None:
    (folder / "raw").write_bytes(bytes(MIB))
    assert run("convert", "raw", NAME, "-f", "raw", "-O", "vhd", cwd=folder).code == 0


def _sectors(folder: Path) -> None:
    (folder / "it's.img").write_bytes(bytes(MIB))
    ImageBuilder(4 * MIB).write(folder / "base.vhdx")
    ImageBuilder(4 * MIB, logical_sector_size=4096).write(folder / NAME)


CHILD = f"child/{NAME}"
ADVICE = [
    Advice(_renamed(damaged), ["check", NAME], r"vhdx repair --dry-run .*", 0),
    Advice(_renamed(damaged), ["info", NAME], r"vhdx check .*", 3),
    Advice(_renamed(dirty), ["info", NAME], r"vhdx repair .*"),
    Advice(_renamed(damaged, "worse.vhdx"), ["check", NAME], r"vhdx convert --salvage .* SALVAGED\.vhdx", 3),
    Advice(
        _renamed(damaged, "items.vhdx"),
        ["check", NAME],
        r"vhdx convert --salvage --block-size 1048576 --virtual-size 67108864 --logical-sector-size 512 .*",
    ),
    Advice(
        _renamed(damaged, "items.vhdx"),
        ["check", "--block-size", "1M", NAME],
        r"vhdx repair --dry-run --rebuild --block-size 1048576 --virtual-size 67108864 .*",
    ),
    Advice(_lost_entries, ["check", NAME], r"vhdx convert --salvage --carve PIECES .* SALVAGED\.vhdx", 3),
    Advice(_lost_entries, ["repair", "--rebuild", NAME], r"vhdx convert --salvage --carve PIECES .*", 3),
    Advice(_lost_entries, ["set", "--type", "fixed", NAME], r"vhdx check .*", 2),
    Advice(_renamed(_no_tables), ["check", NAME], r"vhdx repair --dry-run --rebuild .*"),
    Advice(_renamed(_no_tables), ["read", NAME, "0", "512"], r"vhdx check .*", 2),
    Advice(_renamed(dirty), ["create", "c.vhdx", "--parent", NAME], r"vhdx repair .*"),
    Advice(
        _sectors,
        ["create", "c.vhdx", "--parent", "it's.img", "--from", "base.vhdx"],
        r"vhdx convert .* BASE\.vhdx",
    ),
    Advice(
        _sectors,
        ["create", "c.vhdx", "--parent", "base.vhdx", "--from", NAME],
        r"vhdx convert .* OTHER\.vhdx --logical-sector-size 512",
    ),
    Advice(_leaked, ["check", NAME], r"vhdx compact '.*"),
    Advice(_vhd, ["metadata", "list", NAME], r"vhdx convert .* NEW\.vhdx"),
    Advice(_outside, ["read", CHILD, "0", "512"], r"vhdx info .* --chain --any-parent"),
    Advice(_gone, ["read", CHILD, "0", "512"], r"vhdx rebase .* --parent (FILE)", 0, "'parent is here.vhdx'"),
    Advice(_stranger, ["read", CHILD, "0", "512"], r"vhdx info .* --chain --parent-dir (DIR)", 0, "."),
    Advice(_stranger, ["rebase", CHILD, "--parent", "child/parent.vhdx"], r"vhdx rebase .* --safe", 1),
    Advice(
        _stranger,
        ["read", CHILD, "0", "512"],
        r"vhdx rebase .* --parent (FILE) --ignore-identity",
        0,
        "child/parent.vhdx",
    ),
    Advice(_renamed(chain, "tuesday.avhdx"), ["convert", NAME, "it's.qcow2"], r"vhdx serve .*"),
    Advice(
        _renamed(chain, "tuesday.avhdx"), ["convert", NAME, "x", "-O", "vmdk", "-f", "vhdx"], r"vhdx serve .*"
    ),
    Advice(_gone, ["tree", "."], r"vhdx rebase --all \.", 64),  # nobody to ask: tests/chains/test_tree.py
    Advice(_gone, ["check", "--chain", CHILD], r"vhdx check --chain --parent-dir (DIR) .*", 0, "."),
]


def pasted(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line by a shell that finds this library's command."""
    assert BASH is not None
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    tool = tools / "vhdx"
    tool.write_text(f'#!/bin/sh\nexec {shell_word(sys.executable)} -m vhdx "$@"\n')
    tool.chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    return subprocess.run(
        [BASH, "-c", line], capture_output=True, text=True, check=False, cwd=folder, env=environment
    )


def advised(said: str, pattern_: str) -> re.Match[str] | None:
    """The command in what was said."""
    return re.search(pattern_.replace(".*", r"[^\n]*?") + r"(?=$| takes it)", said, re.MULTILINE)


@pytest.mark.parametrize("advice", ADVICE, ids=lambda advice: f"{advice.scene.__name__}-{advice.advised}")
def test_what_is_advised_works_as_printed(advice: Advice, tmp_path: Path) -> None:
    advice.scene(tmp_path)
    done = run(*advice.line, cwd=tmp_path)
    found = advised(done.out + done.err, advice.advised)
    assert found is not None, done
    line = found[0]
    if advice.given:
        line = line.replace(found[1], advice.given)
    ran = pasted(line, tmp_path)
    assert ran.returncode == advice.code, (line, ran)


def test_free_space_says_what_gives_it_back(tmp_path: Path) -> None:
    _free(tmp_path)
    assert "vhdx compact gives" in run("check", NAME, cwd=tmp_path).out
    assert pasted(command("compact {}", NAME), tmp_path).returncode == 0
    assert vhdx.check(tmp_path / NAME).codes == {}


@pytest.mark.parametrize(
    "name", ["-x", "a b", "it's", "ä", "a\nb", "back\\slash\t'", "\udcff\udc80", "$HOME"]
)
def test_any_name_is_one_word_of_a_shell(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    word = shell_word(name)
    assert word.isprintable()
    assert BASH is not None
    ran = subprocess.run(
        [BASH, "-c", f'set -- {word}; ls "$1"; exit $(($# - 1))'],
        check=False,
        cwd=tmp_path,
        capture_output=True,
    )
    assert ran.returncode == 0, ran


def test_no_command_is_put_together_by_hand() -> None:
    """Paths go through `vhdx.text.command`, which quotes them."""
    for path in SOURCES.rglob("*.py"):
        text = path.read_text()
        assert not re.findall(r"f[\"'][^\"'\n]*vhdx [a-z]+ [^\"'\n]*\{(?!command)", text), path
        assert not re.findall(r"next_command=f", text), path


TRIED = {
    "cli/by_qemu.py": 1,  # above
    "cli/cmd_compact.py": 2,  # tests/docs, the page on shrinking
    "cli/cmd_mount.py": 2,  # on Windows: tests/windows serves and converts
    "cli/cmd_repair.py": 1,  # after Ctrl-C: test_interrupted.py
    "cli/cmd_tree.py": 1,  # above
    "cli/cmd_unmount.py": 1,  # tests/mount
    "cli/interrupted.py": 1,  # test_interrupted.py
    "cli/show_check.py": 4,  # above
    "cli/show_info.py": 2,  # above
    "disk/parents.py": 5,  # above, and tests/examine/test_read_errors.py
    "disk/vhd.py": 1,  # tests/disk/test_vhd.py
    "examine/lost_items.py": 1,  # tests/examine/test_lost.py
    "examine/rebuild.py": 1,  # tests/docs, the page on damaged images
    "examine/rebuild_dynamic.py": 1,  # above
    "examine/salvage.py": 1,  # tests/disk/test_salvage.py
    "examine/unexplained.py": 2,  # one of them in tests/examine/test_lost_entries.py
    "image/other_formats.py": 1,  # tests/cli/test_vhd.py
    "image/vhd.py": 1,  # tests/examine/test_vhd.py
    "mount/fuse.py": 1,  # tests/mount
    "ops/check.py": 2,  # tests/cli/test_several.py, and test_hints.py
    "ops/log.py": 1,  # tests/ops/test_log.py
    "ops/make/child.py": 1,  # above
    "ops/make/increment.py": 2,  # above
    "ops/rebase.py": 1,  # above
    "ops/structures.py": 1,  # tests/ops/test_dump.py
    "rules.py": 1,  # above
    "storage/base.py": 1,  # tests/examine/test_read_errors.py
}
"""How many commands each file advises, and what tries them: whoever advises another one tries it, too."""


def test_every_advice_is_tried() -> None:
    advice = re.compile(r"(?<![.\w])command\(\s*f?[\"']|^ +yield \"(?:look|try|see|give) ", re.MULTILINE)
    found = {
        str(path.relative_to(SOURCES)): len(places)
        for path in sorted(SOURCES.rglob("*.py"))
        if (places := advice.findall(path.read_text()))
    }
    assert found == TRIED
