"""What is done to a chain: another layer, layers that go, layers that get another parent."""

import vhdx
from tests.support.layout import MIB

from .begin import LOG_SIZES
from .judge import assert_reads, check
from .scene import Layer, Scene, Word
from .serve import load
from .single import replay

DEEPEST = 4
TRIES = 4


def add_child(scene: Scene) -> None:
    """A child of the leaf is the new leaf, perhaps longer than its parent."""
    block_size = scene.chance.choice((1, 2, 2, 2, 4, 16, 64)) * MIB
    size = scene.size
    if scene.chance.random() < 0.25:
        size += scene.chance.randrange(8 * MIB)
        size -= size % scene.sector_size
    path = scene.new_name()
    replay(scene)  # a dirty parent is refused
    words: list[Word] = ["create", path, size, "--parent", scene.leaf.path, "--block-size", block_size]
    words += ["--log-size", f"{scene.chance.choice(LOG_SIZES)}M"]
    if scene.chance.random() < 0.2:
        scene.break_off(*words)
    if not path.exists():
        scene.succeed(*words)
    reference = scene.leaf.reference.copied(scene.new_name(".raw"))
    reference.resize(size)
    scene.layers.append(Layer(path, reference, block_size))
    _take_items(scene)


def merge(scene: Scene) -> None:
    """Fold a layer into its parent, or several into an ancestor; broken off, the chain reads as before."""
    upper = scene.chance.randrange(1, len(scene.layers))
    lower = scene.chance.randrange(upper) if scene.chance.random() < 0.3 else upper - 1
    child, target, over = scene.layers[upper], scene.layers[lower], scene.layers[upper + 1 :]
    words: list[Word] = ["merge", child.path]
    deletes = scene.chance.random() < 0.6
    words += ["--delete-child"] if deletes else []
    words += ["--into", target.path] if lower < upper - 1 else []
    words += ["--child", over[0].path] if over else []
    longest = max(layer.reference.size for layer in scene.layers[lower:upper])
    words += ["--shrink"] if longest > child.reference.size else []
    if not _break_off_sometimes(scene, words, child):
        scene.succeed(*words)
    assert child.path.exists() != deletes
    if not deletes:
        assert_reads(scene, child)
    _collapse(scene, lower, upper)


def _break_off_sometimes(scene: Scene, words: list[Word], child: Layer) -> bool:
    """Whether the merge was completed by a command that should have been broken off."""
    tries = scene.chance.choice((0, 0, 1, 2, TRIES))
    for _ in range(tries):
        if scene.break_off(*words) or not child.path.exists():
            return True
        check(scene)
        assert_reads(scene, scene.leaf)
        if scene.chance.random() < 0.25:
            scene.report.count("changes between a merge and its completion")
            _use_leaf(scene)
    return False


def _use_leaf(scene: Scene) -> None:
    """Somebody uses the disk although a merge waits for its completion."""
    load(scene)
    check(scene)
    assert_reads(scene, scene.leaf)


def _collapse(scene: Scene, lower: int, upper: int) -> None:
    """The target holds what the child held; the layers between are no part of the chain any more."""
    child, target = scene.layers[upper], scene.layers[lower]
    kept = Layer(target.path, child.reference, target.block_size)
    for layer in scene.layers[lower + 1 : upper + 1]:
        layer.path.unlink(missing_ok=True)
    for layer in scene.layers[lower:upper]:
        layer.reference.remove()
    scene.layers[lower : upper + 1] = [kept]
    _take_items(scene)


def rebase(scene: Scene) -> None:
    """Give a layer an older ancestor for its parent; it reads as before, so what lay between may go."""
    upper = scene.chance.randrange(2, len(scene.layers))
    lower = scene.chance.randrange(upper - 1)
    child, ancestor = scene.layers[upper], scene.layers[lower]
    words = ("rebase", child.path, "--parent", ancestor.path, "--safe")
    while scene.chance.random() < 0.4 and not scene.break_off(*words):
        check(scene)
        assert_reads(scene, scene.leaf)
    scene.succeed(*words)
    scene.drop(scene.layers[lower + 1 : upper])


def rename_parent(scene: Scene) -> None:
    """Move a parent away under another name and tell its child."""
    upper = scene.chance.randrange(1, len(scene.layers))
    parent, child = scene.layers[upper - 1], scene.layers[upper]
    moved = parent._replace(path=scene.new_name())
    parent.path.rename(moved.path)
    scene.report.say(f"{parent.path.name} is renamed to {moved.path.name}")
    scene.layers[upper - 1] = moved
    words = ("rebase", child.path, "--parent", moved.path)
    if scene.chance.random() < 0.4:
        scene.break_off(*words)
        with vhdx.open(scene.leaf.path, parents=[moved.path]) as disk:
            assert disk.size == scene.size
    scene.succeed(*words)


def _take_items(scene: Scene) -> None:
    """A child has its parent's items of the disk, a parent after a merge those of its child."""
    found = vhdx.user_items(scene.leaf.path)
    values = {item.item_id: vhdx.get_user_item(scene.leaf.path, item.item_id) for item in found}
    for item_id, value in values.items():
        assert scene.items.get(item_id, value) == value, f"item {item_id} has another value"
    scene.items = values
