"""Several threads that read one disk for the first time."""

import threading
from pathlib import Path

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.parts import Block
from vhdx.geometry import Geometry
from vhdx.image import read
from vhdx.image.bat import Bat
from vhdx.image.claims import doubly_claimed


def test_the_first_look_at_the_table_waits_for_nobody_who_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the soak: one thread asks for extents while another looks for the place of a block."""
    looking, other_came = threading.Event(), threading.Event()

    def slow(bat: Bat, geometry: Geometry) -> dict[int, str]:
        looking.set()
        other_came.wait(1)  # until the other holds the lock of the pages, or waits for us
        return doubly_claimed(bat, geometry)

    monkeypatch.setattr(read, "doubly_claimed", slow)
    path = ImageBuilder(4 * MIB, blocks={0: Block(data=b"x" * MIB)}).write(tmp_path / "a.vhdx")
    with vhdx.open(path) as disk:
        found: list[object] = []

        def locate() -> None:
            looking.wait(10)
            found.append(disk.pread(1, 0))

        threads = [
            threading.Thread(target=lambda: found.append(len(list(disk.extents()))), daemon=True),
            threading.Thread(target=locate, daemon=True),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in threads)
    assert sorted(map(str, found)) == ["2", "b'x'"]
