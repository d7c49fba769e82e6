"""Blocks are moved into free space and nowhere else."""

from pathlib import Path

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.reading import footprint
from vhdx.disk.open import open_disk
from vhdx.reshape.packing import Move, Piece
from vhdx.reshape.relocate import Relocator
from vhdx.write.session import Session


def test_a_move_onto_what_is_used_is_refused_also_without_assertions(tmp_path: Path) -> None:
    built = ImageBuilder(4 * MIB, blocks={n: Block(pattern(n, MIB)) for n in range(3)})
    places = built.plan().blocks
    path = built.write(tmp_path / "image.vhdx")
    before = footprint(tmp_path)
    with open_disk(path, "r+") as disk:
        session = disk._writer.session if disk._writer else None
        assert isinstance(session, Session)
        piece = Piece(places[2] // MIB, 1, 2)
        for target in (places[0] // MIB, built.plan().bat_offset // MIB):
            with pytest.raises(vhdx.ImageFailedError, match="are not all free"):
                Relocator(session).move(Move(piece, target))
        assert disk.pread(4 * MIB, 0) == built.content()
    assert footprint(tmp_path) == before
