"""dissect.hypervisor reads what we make, and chains; where it does not, is stated here."""

from pathlib import Path

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import MIB, ZERO
from tests.support.logs import Data, LogBuilder
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.reading import whole

from .chains import CHAINS, Chain, base
from .images import CHUNKS, LARGE_SECTORS, ODD_SECTORS, SMALL, Made, expected_of, ranges_of
from .programs import by_dissect, dissect_bytes


@pytest.mark.parametrize("made", [*SMALL, *ODD_SECTORS, *LARGE_SECTORS], ids=str)
def test_reads_what_we_convert(tmp_path: Path, made: Made) -> None:
    assert dissect_bytes(made.write(tmp_path)) == made.content()


@pytest.mark.parametrize("made", CHUNKS, ids=str)
def test_reads_large_disks(tmp_path: Path, made: Made) -> None:
    found = []
    with by_dissect(made.write(tmp_path)) as disk:
        for at, length in ranges_of(made):
            disk.seek(at)
            found.append(disk.read(length))
    assert found == expected_of(made)


@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_reads_chains_as_we_do(tmp_path: Path, chain: Chain) -> None:
    leaf, *_ = chain.write(tmp_path)
    assert dissect_bytes(leaf) == chain.content()
    with vhdx.open(leaf) as disk:
        assert whole(disk) == chain.content()


# where it differs, so that docs/supported.md can say so -------------------------------------------


def test_it_does_not_replay_the_log(tmp_path: Path) -> None:
    log = LogBuilder()
    log.add(Data(3 * MIB, (ZERO).to_bytes(8, "little") * 512))
    path = ImageBuilder(4 * MIB, blocks={0: Block(pattern(0, MIB))}, log=log).write(tmp_path / "a.vhdx")
    assert dissect_bytes(path)[:MIB] == pattern(0, MIB)
    with vhdx.open(path) as disk:
        assert disk.pread(MIB, 0) == bytes(MIB)


def test_it_takes_any_file_for_the_parent(tmp_path: Path) -> None:
    parent = base()
    child = parent.child("0.vhdx").write(tmp_path / "child.vhdx")
    stranger = ImageBuilder(8 * MIB, seed=99, blocks={0: Block(pattern(0, MIB, 99))})
    stranger.write(tmp_path / "0.vhdx")
    assert dissect_bytes(child) == stranger.content()
    with pytest.raises(vhdx.ParentMismatchError):
        vhdx.open(child)


def test_it_cannot_read_behind_a_shorter_parent(tmp_path: Path) -> None:
    parent = ImageBuilder(2 * MIB, blocks={0: Block(pattern(0, MIB))})
    parent.write(tmp_path / "parent.vhdx")
    child = parent.child()
    child.disk_size = 4 * MIB
    with pytest.raises(ValueError, match="Invalid entry"):
        dissect_bytes(child.write(tmp_path / "child.vhdx"))
