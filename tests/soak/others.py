"""QEMU and 7-Zip, where they understand such an image."""

import hashlib
import shutil
import subprocess

from tests.support.layout import MIB

from .scene import SMALL, Scene


def ask_others(scene: Scene) -> None:
    """Both know only some kinds of images, and QEMU alone replays a log."""
    if scene.size > SMALL or scene.sector_size != 512:
        return
    if len(scene.layers) == 1:
        _ask_qemu(scene)
    elif scene.size % 1024 == 0 and _no_parent_is_shorter(scene) and not is_dirty(scene):
        _ask_seven_zip(scene)


def is_dirty(scene: Scene) -> bool:
    """Whether any log of the chain waits for its replay."""
    return any(scene.as_json("info", layer.path)["log"]["state"] != "clean" for layer in scene.layers)


def _ask_qemu(scene: Scene) -> None:
    """QEMU finds nothing wrong and reads the same; of a dirty image a copy, whose log it replays."""
    if shutil.which("qemu-img") is None:
        return
    image, reference = scene.leaf.path, scene.leaf.reference.path
    if is_dirty(scene):
        image = scene.new_name()
        _other(scene, "cp", "--sparse=always", scene.leaf.path, image)
        _other(scene, "qemu-img", "check", "-r", "all", "-f", "vhdx", image)
        scene.report.count("logs replayed by QEMU")
    _other(scene, "qemu-img", "check", "-f", "vhdx", image)
    _other(scene, "qemu-img", "compare", "-f", "raw", "-F", "vhdx", reference, image)
    scene.report.count("images compared by QEMU")


def _ask_seven_zip(scene: Scene) -> None:
    if shutil.which("7zz") is None:
        return
    told = hashlib.sha256(_other(scene, "7zz", "x", "-tvhdx", "-so", scene.leaf.path))
    wanted, reference = hashlib.sha256(), scene.leaf.reference
    for offset in range(0, reference.size, MIB):
        wanted.update(reference.read(min(MIB, reference.size - offset), offset))
    assert told.digest() == wanted.digest(), "7-Zip reads something else"
    scene.report.count("chains read by 7-Zip")


def _no_parent_is_shorter(scene: Scene) -> bool:
    sizes = [layer.reference.size for layer in scene.layers]
    return sizes == sorted(sizes, reverse=True)


def _other(scene: Scene, *command: object) -> bytes:
    words = [str(word) for word in command]
    scene.report.say(" ".join(words))
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace") + done.stderr.decode()
    return done.stdout
