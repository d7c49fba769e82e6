"""An ext4 as nobody makes them: sizes and blocks beyond it, loops, names that cannot be. Nobody is hurt."""

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.cli.running import COMMAND, run
from tests.filesystems.making import MIB, need, raw_file
from tests.filesystems.making import run as ran

pytest.importorskip("pyfsext", reason="needs the extra vhdx[files]")
LONGEST = "n" * 255


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of its files only ``good`` is as it should be."""
    need("mkfs.ext4", "debugfs")
    folder = tmp_path_factory.mktemp("hostile")
    tree = folder / "tree"
    (tree / "d" / "e").mkdir(parents=True)
    for name in ("good", "large", "far", "slashXname", "up0", "nulXname", "new\nline", LONGEST):
        (tree / name).write_text(name)
    (tree / "out").symlink_to("../../../../etc/passwd")
    (tree / "dead").symlink_to("/nowhere")
    raw = raw_file(folder / "h.raw", 16 * MIB)
    ran("mkfs.ext4", "-q", "-O", "^metadata_csum,^has_journal", "-d", tree, raw)
    changes = (
        "sif large size 0x7fffffffff",
        "sif far block[0] 0xfffff0",
        "link d d/e/loop",
        "link d/e d/again",
    )
    ran("debugfs", "-w", "-f", "-", raw, text="\n".join(changes) + "\n")
    data = raw.read_bytes().replace(b"slashXname", b"slash/name").replace(b"\3\1up0", b"\2\1..0")
    data = data.replace(b"nulXname", b"nul\0name")
    raw.write_bytes(data)
    return raw


def test_it_is_listed_copied_and_archived(image: Path, tmp_path: Path) -> None:
    done = run("ls", "-R", "--json", image)
    assert done.code == 1
    paths = {row["path"] for row in json.loads(done.out)["entries"]}
    assert {"/good", "/slash/name", "/d/e", "/nul\0name", "/new\nline", f"/{LONGEST}"} <= paths
    lines = run("ls", "-R", image).out.splitlines()
    assert {"/nul\\x00name", "/new\\nline"} <= set(lines)
    assert "this directory is in another place, too" in done.err
    target = tmp_path / "a" / "b" / "target"
    target.mkdir(parents=True)
    assert run("cp", "-R", f"{image}:/", target).code == 1
    names = {path.name for path in tmp_path.rglob("*")}
    assert names <= {
        "a",
        "b",
        "target",
        "d",
        "e",
        "good",
        "large",
        "lost+found",
        "nul%00name",
        "new\nline",
        LONGEST,
        "dead",
        "out",
        "slash%2Fname",
        "%2E%2E",
    }
    assert (target / "good").read_text() == "good"
    assert (target / "nul%00name").read_text() == "nul\0name"
    assert os.readlink(target / "dead") == "/nowhere"
    assert (target / "large").stat().st_blocks <= 16
    archive = tmp_path / "a.tar"
    with archive.open("wb") as file:
        code = subprocess.run([*COMMAND, "tar", image], stdout=file, stderr=subprocess.DEVNULL, check=False)
    assert code.returncode == 1
    with tarfile.open(archive) as found:
        assert not [name for name in found.getnames() if name.startswith(("/", "../")) or "/../" in name]
        members = found.getnames()
        assert {"slash%2Fname", "nul%00name", "new\nline", LONGEST} <= set(members)
        assert not [name for name in members if "\0" in name]
