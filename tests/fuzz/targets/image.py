"""Open, read and list an image of any kind, dirty ones and children included."""

from tests.fuzz import oracle
from tests.fuzz.images import corpus, image_of, mutated
from tests.fuzz.oracle import (
    Opened,
    Refused,
    answer,
    assert_extents,
    assert_reads,
    opened,
    told_extents,
    twin_of,
)
from tests.support.layout import MIB
from tests.support.sparse import Content
from vhdx.disk.partitions import partition_table
from vhdx.text import printable

__all__ = ["corpus", "mutated", "run"]

_LARGEST_TWIN = 64 * MIB
"""Longer files are not given to the naive reader, which is as slow as it is plain."""


def run(data: bytes) -> None:
    """Open the image that the bytes say, and use it for reading in every way there is."""
    content, seed = image_of(data)
    found = opened(content, seed.parent)
    if isinstance(found, Refused):
        return
    with found.disk as disk:
        parent = seed.parent if disk.disk_type == "differencing" else None
        slowly = oracle.sampled(data) and content.size <= _LARGEST_TWIN
        twin = twin_of(content, parent) if slowly else None
        assert twin is None or twin.size == disk.size
        assert_reads(disk, twin)
        assert_extents(disk, found.layers, twin)
        _look_around(found)
        if slowly:
            _open_again(found, content, parent)


def _look_around(found: Opened) -> None:
    """Whatever else tells something of a disk."""
    leaf = found.layers[0]
    printable(leaf.creator)
    assert all(finding.rule.section is not None for finding in leaf.findings)
    answer(lambda: partition_table(found.disk))


def _open_again(found: Opened, content: Content, parent: Content | None) -> None:
    again = opened(content, parent)
    assert not isinstance(again, Refused), f"opened, and then {again.words}"
    with again.disk as disk:
        assert again.layers[0].findings == found.layers[0].findings
        assert told_extents(disk, 0, disk.size) == told_extents(found.disk, 0, disk.size)
