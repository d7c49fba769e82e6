"""libvhdi reads what we make, and chains of the independent builder; where it does not, is stated here."""

from pathlib import Path

import pytest

import vhdx
from tests.ops.make.making import disk_of
from tests.support.build import ImageBuilder
from tests.support.layout import MIB, ZERO
from tests.support.logs import Data, LogBuilder
from tests.support.parts import Block, RegionTable
from tests.support.patterns import pattern
from tests.support.reading import whole

from .chains import CHAINS, Chain
from .images import CHUNKS, LARGE_SECTORS, ODD_SECTORS, SMALL, Made, expected_of, ranges_of
from .programs import by_pyvhdi, pyvhdi_bytes

RIGHT = [chain for chain in CHAINS if chain.bitmaps]
WRONG = [chain for chain in CHAINS if not chain.bitmaps]


@pytest.mark.parametrize("made", [*SMALL, *ODD_SECTORS, *LARGE_SECTORS], ids=str)
def test_reads_what_we_convert(tmp_path: Path, made: Made) -> None:
    assert pyvhdi_bytes(made.write(tmp_path)) == made.content()


@pytest.mark.parametrize("made", CHUNKS, ids=str)
def test_reads_large_disks(tmp_path: Path, made: Made) -> None:
    file = by_pyvhdi(made.write(tmp_path))
    assert file.get_media_size() == made.size
    assert [file.read_buffer_at_offset(length, at) for at, length in ranges_of(made)] == expected_of(made)


def test_knows_what_we_create(tmp_path: Path) -> None:
    made = vhdx.create(tmp_path / "a.vhdx", "64T", block_size="2M")
    file = by_pyvhdi(tmp_path / "a.vhdx")
    assert file.get_media_size() == 64 << 40
    assert file.get_bytes_per_sector() == 512
    assert str(made.disk_id) == made.disk_id.urn.removeprefix("urn:uuid:")
    assert file.read_buffer_at_offset(512, (64 << 40) - 512) == bytes(512)


@pytest.mark.parametrize("chain", RIGHT, ids=str)
def test_reads_chains_as_we_do(tmp_path: Path, chain: Chain) -> None:
    files = chain.write(tmp_path)
    assert pyvhdi_bytes(*files) == chain.content()
    with vhdx.open(files[0]) as disk:
        assert whole(disk) == chain.content()


# where it differs, so that docs/supported.md can say so -------------------------------------------


@pytest.mark.parametrize("chain", WRONG, ids=str)
def test_it_mixes_up_children_without_bitmaps(tmp_path: Path, chain: Chain) -> None:
    """Blocks that are ZERO, UNMAPPED or UNDEFINED let the parent through, and where a chunk has no bitmap
    block it takes the start of the file for one. The naive reader and we agree.
    """
    files = chain.write(tmp_path)
    assert pyvhdi_bytes(*files) != chain.content()
    assert disk_of(*files) == chain.content()
    with vhdx.open(files[0]) as disk:
        assert whole(disk) == chain.content()


def test_it_does_not_replay_the_log(tmp_path: Path) -> None:
    log = LogBuilder()
    log.add(Data(3 * MIB, (ZERO).to_bytes(8, "little") * 512))
    path = ImageBuilder(4 * MIB, blocks={0: Block(pattern(0, MIB))}, log=log).write(tmp_path / "a.vhdx")
    assert pyvhdi_bytes(path)[:MIB] == pattern(0, MIB)
    with vhdx.open(path) as disk:
        assert disk.pread(MIB, 0) == bytes(MIB)


def test_it_refuses_a_damaged_first_region_table(tmp_path: Path) -> None:
    path = ImageBuilder(4 * MIB, region_tables={1: RegionTable(checksum=0)}).write(tmp_path / "a.vhdx")
    with pytest.raises(OSError, match="mismatch in checksum"):
        by_pyvhdi(path)


def test_it_cannot_read_behind_a_shorter_parent(tmp_path: Path) -> None:
    parent = ImageBuilder(2 * MIB, blocks={0: Block(pattern(0, MIB))})
    files = [parent.write(tmp_path / "parent.vhdx")]
    child = parent.child()
    child.disk_size = 4 * MIB
    files.insert(0, child.write(tmp_path / "child.vhdx"))
    with pytest.raises(OSError, match="unable to read data from parent file"):
        pyvhdi_bytes(*files)
    with vhdx.open(files[0]) as disk:
        assert whole(disk) == parent.content().ljust(4 * MIB, b"\0")
