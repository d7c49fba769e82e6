"""7-Zip reads what we make; where it does not, is stated here."""

from pathlib import Path

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import MIB, PARTIALLY_PRESENT, UNDEFINED, UNMAPPED, ZERO
from tests.support.logs import Data, LogBuilder
from tests.support.parts import Block, Header, RegionTable
from tests.support.patterns import pattern

from .chains import CHAINS, Chain
from .images import LARGE_SECTORS, ODD_SECTORS, SMALL, Made
from .programs import SEVEN_ZIP, by_seven_zip, run

pytestmark = [SEVEN_ZIP]


@pytest.mark.parametrize("made", [*SMALL, *LARGE_SECTORS], ids=str)
def test_reads_what_we_convert(tmp_path: Path, made: Made) -> None:
    assert by_seven_zip(made.write(tmp_path)) == made.content()


@pytest.mark.parametrize("made", SMALL[:3], ids=str)
def test_finds_nothing_wrong(tmp_path: Path, made: Made) -> None:
    said = run("7zz", "t", "-tvhdx", made.write(tmp_path))
    assert "Everything is Ok" in said
    assert "Warning" not in said


@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_reads_chains(tmp_path: Path, chain: Chain) -> None:
    leaf, *_ = chain.write(tmp_path)
    assert by_seven_zip(leaf) == chain.content()


# where it differs, so that docs/supported.md can say so -------------------------------------------


@pytest.mark.parametrize("made", ODD_SECTORS, ids=str)
def test_it_refuses_disks_of_an_odd_number_of_sectors(tmp_path: Path, made: Made) -> None:
    assert "Cannot open the file" in run("7zz", "t", "-tvhdx", made.write(tmp_path), code=2)


@pytest.mark.parametrize(
    "image",
    [
        ImageBuilder(4 * MIB, headers={1: Header(checksum=0)}),
        ImageBuilder(4 * MIB, headers={2: Header(checksum=0)}),
        ImageBuilder(4 * MIB, region_tables={1: RegionTable(checksum=0)}),
    ],
    ids=["first header damaged", "second header damaged", "first region table damaged"],
)
def test_it_refuses_what_one_good_copy_is_enough_for(tmp_path: Path, image: ImageBuilder) -> None:
    path = image.write(tmp_path / "a.vhdx")
    assert "Cannot open the file" in run("7zz", "t", "-tvhdx", path, code=2)
    with vhdx.open(path) as disk:
        assert disk.pread(disk.size, 0) == bytes(4 * MIB)


def test_it_does_not_replay_the_log_and_says_so(tmp_path: Path) -> None:
    log = LogBuilder()
    log.add(Data(3 * MIB, (ZERO).to_bytes(8, "little") * 512))
    path = ImageBuilder(4 * MIB, blocks={0: Block(pattern(0, MIB))}, log=log).write(tmp_path / "a.vhdx")
    assert "non-empty LOG was not replayed" in run("7zz", "t", "-tvhdx", path, code=2)
    with vhdx.open(path) as disk:
        assert disk.pread(MIB, 0) == bytes(MIB)


def test_it_refuses_a_parent_of_another_size(tmp_path: Path) -> None:
    parent = ImageBuilder(2 * MIB, blocks={0: Block(pattern(0, MIB))})
    parent.write(tmp_path / "parent.vhdx")
    child = parent.child()
    child.disk_size = 4 * MIB
    assert "Unexpected end of data" in run("7zz", "t", "-tvhdx", child.write(tmp_path / "child.vhdx"), code=2)


def test_states(tmp_path: Path) -> None:
    """It agrees on every state, in images with and without a parent."""
    blocks = {
        state: Block(pattern(state, MIB), state, anchored=True) for state in (UNDEFINED, ZERO, UNMAPPED)
    }
    image = ImageBuilder(6 * MIB, blocks={**blocks, 5: Block(pattern(5, MIB))})
    assert by_seven_zip(image.write(tmp_path / "parent.vhdx")) == image.content()
    child = ImageBuilder(6 * MIB, default_state=6, disk_type="fixed").child()
    assert child.disk_type == "differencing"
    child = image.child()
    child.blocks = {**blocks, 5: Block(b"x" * 1024, PARTIALLY_PRESENT, present={1})}
    assert by_seven_zip(child.write(tmp_path / "child.vhdx")) == child.content(image.content())
