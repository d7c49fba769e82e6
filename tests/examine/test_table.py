"""Small tables of which it is said, without numpy, that nothing is wrong: the whole check says so, too."""

import contextlib
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.patterns import pattern
from vhdx.examine.check import examine
from vhdx.examine.table import is_faultless
from vhdx.image.unowned import Seen
from vhdx.storage.file import open_for_reading

BLOCKS = 12
PRESENT, ZERO = 6, 2


@pytest.fixture(name="empty", scope="module")
def _empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "empty.vhdx"
    vhdx.create(path, BLOCKS * MIB, block_size=MIB)
    return path


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[int], int]:
    """Entries, and how many MiB stand behind the structures: often sound ones, often nearly so."""
    blocks = draw(st.permutations(range(BLOCKS)))[: draw(st.integers(0, BLOCKS))]
    entries = draw(st.lists(st.sampled_from([0, 0, ZERO]), min_size=BLOCKS + 2, max_size=BLOCKS + 2))
    entries[-2:] = [0, 0]
    end = 4
    for place, block in enumerate(blocks, end):
        entries[block] = place * MIB | PRESENT
    length = len(blocks)
    for _ in range(draw(st.integers(0, 1))):
        slot = draw(st.integers(0, BLOCKS + 1))
        entries[slot] ^= draw(st.sampled_from([1, 2, 4, 6, 7, 8, MIB, 2 * MIB, 5 * MIB | PRESENT, 1 << 60]))
        length += draw(st.sampled_from([-1, 0, 0, 1]))
    return entries, max(0, length)


@given(table=tables(), keeps_length=st.booleans())
def test_what_is_called_faultless_has_no_findings(
    empty: Path, table: tuple[list[int], int], keeps_length: bool
) -> None:
    entries, length = table
    image = empty.with_name("image.vhdx")
    data = bytearray(empty.read_bytes().ljust(4 * MIB, b"\0"))
    data[3 * MIB : 3 * MIB + 8 * len(entries)] = struct.pack(f"<{len(entries)}Q", *entries)
    image.write_bytes(data + bytes(range(1, 17)) * (length * MIB // 16))
    with contextlib.closing(open_for_reading(str(image))) as file:
        examined = examine(file, seen=Seen())
        assert examined.regions is not None
        assert examined.geometry is not None
        assert examined.regions.bat.file_offset == 3 * MIB
        told = is_faultless(file, examined.regions, examined.geometry, keeps_length=keeps_length)
    is_whole = all(entries[:BLOCKS]) or not keeps_length
    nothing = (not examined.report.findings, examined.leaked_size, examined.free_size) == (True, 0, 0)
    assert told == (nothing and is_whole)


@pytest.mark.parametrize("count", [0, 7])
def test_a_small_sound_image_is_checked_without_numpy(tmp_path: Path, count: int) -> None:
    image = ImageBuilder(8 * MIB, blocks={n: Block(pattern(n, MIB)) for n in range(count)})
    path = image.write(tmp_path / "small.vhdx")
    program = (
        "import sys, vhdx\nassert vhdx.check(sys.argv[1]).errors == 0\nassert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
