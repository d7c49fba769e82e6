"""Several threads on one volume: whatever reads it, its library or we, waits for its turn."""

import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.files.trees import at_work, made, volume_in
from tests.write.tasks import Task
from vhdx.files.base import Entry, Kind
from vhdx.files.open import open_tree
from vhdx.files.resolve import Resolver

PLENTY = 2_000_000
"""Bytes of a file of which NTFS is asked for the places."""


def test_nothing_of_the_volume_is_read_beside_whoever_has_the_lock(tmp_path: Path) -> None:
    """What is kept of it is put in order with each read, which two at once would not survive."""
    image, data = made("NTFS", tmp_path), os.urandom(PLENTY)
    with at_work(image, "NTFS") as root:
        (root / "large").write_bytes(data)
    with volume_in(image) as volume:
        tree: Any = volume.tree
        read, beside = tree.source.pread, []

        def watched(length: int, offset: int) -> bytes:
            if not tree.lock._is_owned():
                beside.append((length, offset))
            found: bytes = read(length, offset)
            return found

        tree.source.pread = watched
        entry = volume.find("/large").entry
        assert tree.content(entry).pread(PLENTY, 0) == data
        assert list(tree.content(entry).data_ranges()) == [(0, PLENTY)]
        assert not list(tree.attributes(entry))
        assert not beside


class _Slow:
    """A tree of one directory; lists it only for one at a time, and for whoever asks meanwhile, too."""

    is_windows = False
    root = Entry("", Kind.DIRECTORY, 0, 1)

    def __init__(self) -> None:
        self.listed = self.at_once = self.most = 0
        self.others: list[Task[Any]] = []
        self.ask: Callable[[], Any] = lambda: None

    def entries(self, directory: Entry) -> Iterator[Entry]:
        self.listed, self.at_once = self.listed + 1, self.at_once + 1
        self.most = max(self.most, self.at_once)
        if not self.others:
            self.others.append(Task(self.ask))
            self.others[0].ends_within(0.1)
        yield Entry("found", Kind.FILE, 0, directory.identity + 1)
        self.at_once -= 1


def test_a_directory_is_listed_once_for_all_who_ask() -> None:
    tree = _Slow()
    resolver = Resolver(tree)  # type: ignore[arg-type]
    tree.ask = partial(resolver.find, "/found")
    assert resolver.find("/found") == tree.others[0].result()
    assert (tree.listed, tree.most) == (1, 1)


def test_a_volume_is_opened_once_for_all_who_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two trees would have two locks, and an entry of one would be read under that of the other."""
    asked = threading.Event()
    with volume_in(made("ext2", tmp_path)) as volume:
        others: list[Task[Any]] = []

        def slow(*arguments: Any) -> Any:
            if not asked.is_set():
                asked.set()
                others.append(Task(lambda: (volume.tree, volume.resolver)))
                others[0].ends_within(0.1)
            return open_tree(*arguments)

        monkeypatch.setattr("vhdx.files.volume.open_tree", slow)
        mine = volume.tree, volume.resolver
        assert others[0].result() == mine
