"""What must hold whenever nobody writes: the check finds no errors, the disk reads as its reference."""

from collections.abc import Iterator

import vhdx
from vhdx.cli.show_check import EXIT_WARNINGS

from .reference import PIECE, Reference
from .scene import SMALL, Layer, Scene

SAMPLES = 20
_ONE_IN = 4
"""So often the command checks, and parents and extents are looked at, too."""


def verify(scene: Scene) -> None:
    """The whole chain is sound and holds what it has to."""
    check(scene)
    assert_reads(scene, scene.leaf)
    assert_items(scene)
    if scene.chance.random() < 1 / _ONE_IN:
        assert_reads(scene, scene.chance.choice(scene.layers))
        assert_told(scene)
    scene.report.count("states verified")


def check(scene: Scene) -> None:
    """``vhdx check --chain`` has no errors; warnings are counted. Mostly in this process, which is faster."""
    if scene.chance.random() < 1 / _ONE_IN:
        done = scene.run("check", "--chain", scene.leaf.path)
        assert done.code in (0, EXIT_WARNINGS), done.out + done.err
    found = vhdx.check(scene.leaf.path, chain=True)
    for result in (found, *found.parents):
        assert not result.errors, str(result)
        for finding in result.findings:
            if finding.severity == "warning":
                scene.report.count(f"warning {finding.code}")


def assert_reads(scene: Scene, layer: Layer) -> None:
    """A disk that ends at this layer reads as its reference, everywhere that it was ever written to."""
    reference = layer.reference
    with vhdx.open(layer.path) as disk:
        assert disk.size == reference.size, f"{layer.path}: {disk.size} bytes instead of {reference.size}"
        for offset in _pieces(scene, disk, reference):
            length = min(PIECE, disk.size - offset)
            found, wanted = disk.pread(length, offset), reference.read(length, offset)
            if found != wanted:
                at = next(at for at in range(length) if found[at] != wanted[at])
                number = sum(one != other for one, other in zip(found, wanted, strict=True))
                raise AssertionError(
                    f"{layer.path}, disk offset {offset + at}: {found[at : at + 48]!r} instead of "
                    f"{wanted[at : at + 48]!r} ({number} bytes differ up to {offset + length})"
                )


def _pieces(scene: Scene, disk: vhdx.Disk, reference: Reference) -> Iterator[int]:
    """Offsets of pieces to look at: everything, or data of either side and samples of the rest."""
    if disk.size <= SMALL:
        yield from range(0, disk.size, PIECE)
        return
    numbers = {scene.chance.randrange(-(-disk.size // PIECE)) for _ in range(SAMPLES)}
    for start, length in (*disk.data_ranges(), *reference.data_ranges()):
        numbers.update(range(start // PIECE, -(-(start + length) // PIECE)))
    for number in sorted(numbers):
        yield number * PIECE


def assert_items(scene: Scene) -> None:
    """The user items of the leaf are those that were put there."""
    found = vhdx.user_items(scene.leaf.path)
    assert {item.item_id for item in found} == set(scene.items), f"items {found}, not {set(scene.items)}"
    for item_id, value in scene.items.items():
        assert vhdx.get_user_item(scene.leaf.path, item_id) == value, f"item {item_id}"


def assert_told(scene: Scene) -> None:
    """Extents without data are zeros, and what a child does not say that it changed is as in its parent."""
    wanted = scene.leaf.reference
    with vhdx.open(scene.leaf.path) as disk:
        zeros = [extent for extent in disk.extents() if extent.kind is not vhdx.ExtentKind.DATA]
        changed = list(disk.changed_extents()) if len(scene.layers) > 1 else []
    for extent in zeros:
        for offset, length in _data_within(wanted, extent.offset, extent.end):
            assert not any(wanted.read(length, offset)), f"{extent} hides data at {offset}"
    if len(scene.layers) > 1:
        _assert_unchanged(wanted, scene.layers[-2].reference, changed)


def _assert_unchanged(wanted: Reference, below: Reference, changed: list[vhdx.Extent]) -> None:
    borders = [0, *(border for extent in changed for border in (extent.offset, extent.end)), wanted.size]
    for start, end in zip(borders[::2], borders[1::2], strict=True):
        for either in (wanted, below):
            for offset, length in _data_within(either, start, end):
                there = max(0, min(length, below.size - offset))
                old = (below.read(there, offset) if there else b"").ljust(length, b"\0")
                assert wanted.read(length, offset) == old, f"a change at {offset} is not told"


def _data_within(reference: Reference, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of short pieces of a range that are no holes of the reference's file."""
    for data, length in reference.data_ranges(start, end):
        for offset in range(data, data + length, PIECE):
            yield offset, min(PIECE, data + length - offset)
