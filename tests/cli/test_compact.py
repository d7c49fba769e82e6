"""``vhdx compact`` as people type it."""

import json
from pathlib import Path

from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.patterns import pattern

from .running import USAGE, run, succeed


def made(path: Path) -> Path:
    blocks = {0: Block(b"a"), 1: Block(), 2: Block(b"c")}
    return ImageBuilder(8 * MIB, gap=2 * MIB, blocks=blocks).write(path)


def test_it_says_what_it_gained(tmp_path: Path) -> None:
    path = made(tmp_path / "a.vhdx")
    size = path.stat().st_size
    foreseen = succeed("compact", path, "--scan-zeros", "--dry-run")
    assert path.stat().st_size == size
    assert foreseen == (
        f"{path}: {size // MIB} MiB → {size // MIB - 3} MiB (\u221233 %); 1 block given back; 2 MiB moved; "
        "nothing was changed, this is what would be\n"
    )
    said = succeed("compact", path, "--scan-zeros")
    assert path.stat().st_size == size - 3 * MIB
    assert foreseen == said.replace("moved", "moved; nothing was changed, this is what would be")


def test_exact_numbers(tmp_path: Path) -> None:
    path = made(tmp_path / "a.vhdx")
    size = path.stat().st_size
    said = succeed("compact", "-v", path, "--scan-zeros")
    assert f"file before:       {size // MIB} MiB ({size} bytes)" in said
    assert f"file after:        {size // MIB - 3} MiB ({size - 3 * MIB} bytes)" in said
    assert "blocks given back: 1\n" in said
    assert said.splitlines()[-1].startswith(f"{path}: {size // MIB} MiB ({size} bytes) → ")


def test_why_nothing_was_gained(tmp_path: Path) -> None:
    path = ImageBuilder(4 * MIB, blocks={0: Block(b"a")}).write(tmp_path / "a.vhdx")
    done = run("compact", path)
    assert done.out == f"{path}: 5 MiB as before\n"
    assert "every block of the file is in use; --discard-free " in done.err
    assert "--scan-zeros finds" in done.err
    assert "--scan-zeros finds" not in run("compact", path, "--scan-zeros").err
    assert run("compact", made(path)).err == ""


def test_what_was_tried_is_not_advised_again(tmp_path: Path) -> None:
    path = ImageBuilder(4 * MIB, blocks={0: Block(pattern(1, MIB))}).write(tmp_path / "a.vhdx")
    tried: list[str] = []
    for option in ("--discard-free", "--scan-zeros", "--punch"):
        tried.append(option)
        done = run("compact", path, *tried)
        assert "every block of the file is in use" in done.err
        assert not any(each in done.err for each in tried)


def test_json_has_every_number(tmp_path: Path) -> None:
    path = made(tmp_path / "a.vhdx")
    found = json.loads(succeed("compact", path, "--json"))
    assert found["file_size_before"] - found["file_size_after"] == 2 * MIB
    assert found["moved_size"] == found["moved_blocks"] * MIB
    assert found["dry_run"] is False


def test_a_fixed_image_hears_of_punch(tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    succeed("create", path, "8M", "--type", "fixed")
    done = run("compact", path)
    assert done.code == 0
    assert "--punch" in done.err
    assert run("compact", path, "--punch").err == ""


def test_wrong_usage_and_failures(tmp_path: Path) -> None:
    assert run("compact").code == USAGE
    assert run("compact", tmp_path / "none.vhdx").code == 1
    child = ImageBuilder(8 * MIB).child()
    path = child.write(tmp_path / "child.vhdx")
    assert run("compact", path, "--scan-zeros").code == 1
    assert run("compact", path).code == 0
