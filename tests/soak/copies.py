"""Conversions, there and back: raw, VHD, VHDX."""

import subprocess
from pathlib import Path

import vhdx
from tests.cli.running import COMMAND
from tests.support.layout import MIB
from vhdx.disk.open import open_disk

from .begin import BLOCK_SIZES, LOG_SIZES
from .history import SECTOR
from .reference import PIECE, Reference
from .scene import SMALL, Layer, Scene, Word

_UNITS = {".raw": SECTOR, ".vhd": MIB, ".vhdx": SECTOR}


def convert(scene: Scene) -> None:
    """Copy the disk into another format, compare, and sometimes go on with what comes back from there."""
    if scene.size > SMALL:
        return
    suffix = scene.chance.choice(list(_UNITS))
    target = scene.new_name(suffix)
    options = _options(scene) if suffix == ".vhdx" else []
    words: list[Word] = ["convert", scene.leaf.path, target, *options]
    if scene.chance.random() < 0.3:
        done = scene.break_off(*words)
        assert target.exists() or not done
    if not target.exists():
        scene.succeed(*words)
    if scene.chance.random() < 0.5:
        measured = scene.as_json("measure", "--scan-zeros", "-O", suffix[1:], *options, scene.leaf.path)
        assert measured["required_size"] == target.stat().st_size, measured
        scene.report.count("conversions measured")
    size = -(-scene.size // _UNITS[suffix]) * _UNITS[suffix]
    if suffix == ".raw":
        _assert_file(target, scene.leaf.reference)
    elif size == scene.size:
        scene.succeed("compare", scene.leaf.path, target)
    if scene.chance.random() < 0.4:
        _go_on_with(scene, target, size)
    target.unlink(missing_ok=True)


def _options(scene: Scene) -> list[str]:
    block_size = scene.chance.choice([size for size in BLOCK_SIZES if size <= 32])
    words = ["--block-size", f"{block_size}M", "--log-size", f"{scene.chance.choice(LOG_SIZES)}M"]
    return [*words, "--type", scene.chance.choice(("fixed", "dynamic", "dynamic"))]


def _assert_file(path: Path, reference: Reference) -> None:
    assert path.stat().st_size == reference.size
    with open(path, "rb") as file:
        for offset in range(0, reference.size, PIECE):
            wanted = reference.read(min(PIECE, reference.size - offset), offset)
            assert file.read(PIECE) == wanted, f"{path} differs in the MiB at {offset}"


def _convert_from_a_pipe(scene: Scene, copied: Path, path: Path, words: list[str]) -> None:
    """The size comes last, so the table stands behind the blocks."""
    scene.report.say(f"cat {copied} | vhdx convert - {path} {' '.join(words)}")
    with subprocess.Popen(["cat", copied], stdout=subprocess.PIPE) as cat:
        done = subprocess.run(
            [*COMMAND, "convert", "-f", "raw", "-", path, *words],
            stdin=cat.stdout,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    scene.report.count("conversions from a pipe")


def _go_on_with(scene: Scene, copied: Path, size: int) -> None:
    """The copy, or what is made of it, is the only image from now on."""
    path = copied
    if copied.suffix != ".vhdx":
        path = scene.new_name()
        words = _options(scene)
        if copied.suffix == ".raw":
            words += ["--logical-sector-size", str(scene.sector_size)]
        if copied.suffix == ".raw" and scene.chance.random() < 0.5:
            _convert_from_a_pipe(scene, copied, path, words)
        else:
            scene.succeed("convert", copied, path, *words)
    reference = scene.leaf.reference.copied(scene.new_name(".raw"))
    reference.resize(size)
    with open_disk(path) as disk:
        assert disk.size == size, f"{disk.size} bytes instead of {size}"
        block_size = disk.block_size
    scene.drop(list(scene.layers))
    kept = path.rename(scene.new_name())
    scene.layers.append(Layer(kept, reference, block_size))
    scene.items = {item.item_id: vhdx.get_user_item(kept, item.item_id) for item in vhdx.user_items(kept)}
    scene.report.count(f"went on with a copy by way of {copied.suffix[1:]}")
