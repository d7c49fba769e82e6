"""QEMU and 7-Zip, where they understand such an image."""

import hashlib
import shutil
import subprocess

from tests.support.layout import MIB
from vhdx.ops.info import info

from .scene import SMALL, Layer, Scene


def ask_others(scene: Scene) -> None:
    """Both know only some kinds of images, and QEMU alone replays a log."""
    if scene.size > SMALL or scene.sector_size != 512:
        return
    if len(scene.layers) == 1:
        _ask_qemu(scene)
    elif _has_sizes_for_seven_zip(scene) and not any(map(is_dirty, scene.layers)):
        _ask_seven_zip(scene)


def is_dirty(layer: Layer) -> bool:
    """Whether the log of an image waits for its replay."""
    return info(layer.path).log.state != "clean"


def _ask_qemu(scene: Scene) -> None:
    """QEMU finds nothing wrong and reads the same; of a dirty image a copy, whose log it replays."""
    if shutil.which("qemu-img") is None:
        return
    image, reference = scene.leaf.path, scene.leaf.reference.path
    if is_dirty(scene.leaf):
        image = scene.new_name()
        run_other(scene, "cp", "--sparse=always", scene.leaf.path, image)
        run_other(scene, "qemu-img", "check", "-r", "all", "-f", "vhdx", image)
        scene.report.count("logs replayed by QEMU")
    run_other(scene, "qemu-img", "check", "-f", "vhdx", image)
    run_other(scene, "qemu-img", "compare", "-f", "raw", "-F", "vhdx", reference, image)
    scene.report.count("images compared by QEMU")


def _ask_seven_zip(scene: Scene) -> None:
    if shutil.which("7zz") is None:
        return
    told = hashlib.sha256(run_other(scene, "7zz", "x", "-tvhdx", "-so", scene.leaf.path))
    wanted, reference = hashlib.sha256(), scene.leaf.reference
    for offset in range(0, reference.size, MIB):
        wanted.update(reference.read(min(MIB, reference.size - offset), offset))
    assert told.digest() == wanted.digest(), "7-Zip reads something else"
    scene.report.count("chains read by 7-Zip")


def _has_sizes_for_seven_zip(scene: Scene) -> bool:
    """It refuses odd numbers of sectors, and parents that are shorter than their children."""
    sizes = [layer.reference.size for layer in scene.layers]
    return sizes == sorted(sizes, reverse=True) and not any(size % 1024 for size in sizes)


def run_other(scene: Scene, *command: object) -> bytes:
    """The output of a program of others, which succeeds."""
    words = [str(word) for word in command]
    scene.report.say(" ".join(words))
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace") + done.stderr.decode()
    return done.stdout
