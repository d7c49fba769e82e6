"""What is done to one image: writing without a server, compacting, resizing, repairing, saying otherwise."""

import contextlib
from uuid import UUID

import vhdx
from tests.support.layout import MIB
from vhdx.cli.show_check import EXIT_WARNINGS

from .history import NEVER, Change, History, stamped
from .judge import verify
from .others import is_dirty
from .requests import Wishes
from .scene import SMALL, Scene, Word
from .writers import CLOCK, DiskWriter

LONGEST_ITEM = 300_000


class Sabotage(Exception):  # noqa: N818  it is no error
    """Leaves a ``with`` in the way that nobody planned for."""


def write_with_the_library(scene: Scene) -> None:
    """Threads share one disk; at the end it is closed, flushed, or left by an exception."""
    history, count = History(), scene.chance.randint(1, 3)
    scene.report.say(f"{count} threads write with the library")
    fails = scene.chance.random() < 0.2
    with contextlib.suppress(Sabotage), vhdx.open(scene.leaf.path, "r+") as disk:
        writers = [
            DiskWriter(
                history,
                Wishes(scene, scene.chance.getrandbits(32), (number, count)),
                scene.chance.randint(3, 25),
                disk,
            )
            for number in range(count)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
            if writer.failure is not None:
                raise AssertionError("a thread failed") from writer.failure
        if fails:
            raise Sabotage
    history.assert_looks(scene.leaf.reference)
    with vhdx.open(scene.leaf.path) as disk:
        history.settle(scene.leaf.reference, disk.pread, crashed=False)
    assert not is_dirty(scene.leaf)
    scene.report.count("bytes written with the library", history.bytes_written)
    scene.report.count("changes judged", len(history.changes))
    scene.report.count("reads judged", len(history.looks))


def change_with_a_verb(scene: Scene) -> None:
    """``vhdx write``, ``zero`` or ``trim``, perhaps broken off."""
    verb = scene.chance.choice(("write", "zero", "trim"))
    offset, length = scene.range(4 * MIB)
    number = scene.next_change()
    data = stamped(number, offset, length) if verb == "write" else None
    words: list[Word] = [verb, scene.leaf.path, offset, *([length] if data is None else [])]
    done = True
    if scene.chance.random() < 0.4:
        done = scene.break_off(*words, source=data or b"")
    else:
        scene.succeed(*words, source=data or b"")
    history = History()
    history.changes.append(
        Change(
            number,
            next(CLOCK),
            next(CLOCK) if done else NEVER,
            offset,
            length,
            data,
            sure=verb != "trim",
            forced=True,
        )
    )
    with vhdx.open(scene.leaf.path) as disk:
        history.settle(scene.leaf.reference, disk.pread, crashed=not done)


def compact(scene: Scene) -> None:
    """Any layer, perhaps broken off several times; no read tells."""
    layer = scene.chance.choice((scene.leaf, scene.chance.choice(scene.layers)))
    words = [word for word in ("--scan-zeros", "--punch") if scene.chance.random() < 0.5]
    if scene.chance.random() < 0.1:
        before = layer.path.read_bytes() if layer.path.stat().st_size < SMALL else b""
        scene.succeed("compact", "--dry-run", *words, layer.path)
        assert not before or before == layer.path.read_bytes(), "a dry run changed the file"
    while scene.chance.random() < 0.5 and not scene.break_off("compact", *words, layer.path):
        verify(scene)
    scene.succeed("compact", *words, layer.path)


def resize(scene: Scene) -> None:
    """Longer or shorter. A crash leaves the old size or the new one; without --shrink only zeros are cut."""
    old = scene.size
    new = _new_size(scene)
    shrink = ["--shrink"] if scene.chance.random() < 0.6 else []
    words: list[Word] = ["resize", *shrink, scene.leaf.path, new]
    may_refuse = not shrink and new < old
    if not may_refuse and scene.chance.random() < 0.45 and not scene.break_off(*words):
        _take_size(scene, (old, new))
        verify(scene)
    done = scene.run(*words)
    if done.code == 1 and may_refuse:
        assert "nothing but zeros" in done.err, done.err
        scene.report.count("refused to cut data")
        return
    assert done.code == 0, done.err
    _take_size(scene, (new,), may_cut=bool(shrink))


def _new_size(scene: Scene) -> int:
    chance, sector_size = scene.chance, scene.sector_size
    if scene.size > SMALL:
        size = scene.size + chance.choice((-1, 1)) * chance.randrange(scene.size // 2)
    else:
        size = chance.choice(
            (chance.randrange(1, SMALL * 3 // 4), scene.size + chance.randrange(2 * MIB), scene.size - MIB)
        )
    return max(sector_size, size - size % sector_size)


def _take_size(scene: Scene, allowed: tuple[int, ...], *, may_cut: bool = True) -> None:
    """Let the reference have the size that the disk has."""
    reference = scene.leaf.reference
    with vhdx.open(scene.leaf.path) as disk:
        assert disk.size in allowed, f"{disk.size} bytes, neither of {allowed}"
        if disk.size < reference.size and not may_cut:
            for start, length in reference.data_ranges():
                for offset in range(max(start, disk.size), start + length, MIB):
                    assert not any(reference.read(min(MIB, start + length - offset), offset)), "data was cut"
        reference.resize(disk.size)


def repair(scene: Scene) -> None:
    """A repair of what is sound replays a log at most."""
    if scene.chance.random() < 0.3:
        scene.break_off("repair", scene.leaf.path)
    replay(scene)
    assert not is_dirty(scene.leaf)


def replay(scene: Scene) -> None:
    """Let the leaf have no dirty log; warnings are about space that a crash leaked."""
    done = scene.run("repair", scene.leaf.path)
    assert done.code in (0, EXIT_WARNINGS), done


def change_properties(scene: Scene) -> None:
    """Disk id, physical sectors; fixed or dynamic where the image has no parent and is not too large."""
    choices = [("--disk-id", "new"), ("--physical-sector-size", str(scene.chance.choice((512, 4096))))]
    if len(scene.layers) == 1 and scene.size <= SMALL and scene.leaf.block_size <= 32 * MIB:
        choices += [("--type", "fixed"), ("--type", "dynamic")] * 2
    words: list[Word] = ["set", *scene.chance.choice(choices), scene.leaf.path]
    if scene.chance.random() < 0.4:
        if scene.break_off(*words):
            return
        verify(scene)
    scene.succeed(*words)


def change_items(scene: Scene) -> None:
    """Put or delete a user item; broken off, it has its old value or the new one."""
    known = sorted(scene.items)
    if known and scene.chance.random() < 0.4:
        _delete_item(scene, scene.chance.choice(known))
        return
    item_id = scene.chance.choice(known) if known and scene.chance.random() < 0.5 else _new_id(scene)
    value = scene.chance.randbytes(
        scene.chance.choice((1, 100, 5000, scene.chance.randrange(1, LONGEST_ITEM)))
    )
    source = scene.new_name(".item")
    source.write_bytes(value)
    words: list[Word] = ["metadata", "set", scene.leaf.path, str(item_id), source]
    if item_id not in scene.items:
        words.append(scene.chance.choice(("--disk", "--file")))
    if scene.chance.random() < 0.4:
        scene.break_off(*words)
        _assert_item(scene, item_id, (scene.items.get(item_id), value))
    scene.succeed(*words)
    scene.items[item_id] = value
    source.unlink()


def _delete_item(scene: Scene, item_id: UUID) -> None:
    words = ("metadata", "delete", scene.leaf.path, str(item_id))
    if scene.chance.random() < 0.4:
        scene.break_off(*words)
        if _assert_item(scene, item_id, (scene.items[item_id], None)) is None:
            del scene.items[item_id]
            return
    scene.succeed(*words)
    del scene.items[item_id]


def _assert_item(scene: Scene, item_id: UUID, allowed: tuple[bytes | None, ...]) -> bytes | None:
    there = any(item.item_id == item_id for item in vhdx.user_items(scene.leaf.path))
    value = vhdx.get_user_item(scene.leaf.path, item_id) if there else None
    assert value in allowed, f"item {item_id} has a value that nobody gave it"
    return value


def _new_id(scene: Scene) -> UUID:
    return UUID(int=scene.chance.getrandbits(128), version=4)
