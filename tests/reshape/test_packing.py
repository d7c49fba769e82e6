"""The plan of moves, pure, against a file drawn as a string of MiB."""

from itertools import groupby

import hypothesis.strategies as st
from hypothesis import given

from vhdx.reshape.packing import Gap, Gaps, Move, Piece, moves

FIXED, FREE = "#", "."


def drawn(file: str, block_length: int) -> tuple[list[Piece], list[Gap]]:
    """Pieces and gaps of a picture: letters are pieces, `#` never moves, `.` is free."""
    pieces, gaps, at = [], [], 0
    for letter, run in groupby(file):
        length = len(list(run))
        if letter == FREE:
            gaps.append(Gap(at, length))
        elif letter != FIXED:
            assert length in (1, block_length)
            pieces.append(Piece(at, length, ord(letter)))
        at += length
    return pieces[::-1], gaps


def plan(file: str, block_length: int) -> list[Move]:
    pieces, gaps = drawn(file, block_length)
    long = [gap for gap in gaps if gap.length >= block_length]
    short = [gap for gap in gaps if gap.length < block_length]
    floor = file.rfind(FIXED) + 1
    return list(moves(pieces, Gaps(long, short, block_length), floor))


def played(file: str, block_length: int) -> str:
    """The picture after the moves; every move goes into what was free before all of them."""
    picture = list(file)
    for (start, length, slot), target in plan(file, block_length):
        assert set(file[target : target + length]) == {FREE}
        assert set(picture[target : target + length]) == {FREE}
        assert target + length <= start
        assert set(picture[start + length :]) <= {FREE}, "what is moved is not the last"
        picture[target : target + length] = chr(slot) * length
        picture[start : start + length] = FREE * length
    return "".join(picture).rstrip(FREE)


def test_the_last_blocks_fill_the_gaps() -> None:
    assert played("##aa..bb..ccdd", 2) == "##aaddbbcc"


def test_a_bitmap_goes_where_no_block_fits() -> None:
    assert played("##aa..bb.ccxdd", 2) == "##aaddbbxcc"


def test_a_bitmap_takes_the_rest_of_a_gap_before_it_breaks_another() -> None:
    assert played("##...aa..bbxcc", 2) == "##ccxaabb"


def test_a_block_is_not_moved_by_less_than_its_length() -> None:
    assert plan("##.aa.bb", 2) == []


def test_nothing_moves_in_front_of_what_never_moves() -> None:
    assert plan("##..aa##", 2) == []
    assert played("##..aa##bb", 2) == "##bbaa##"


@st.composite
def pictures(draw: st.DrawFn) -> tuple[str, int]:
    block_length = draw(st.sampled_from([1, 2, 4]))
    parts = draw(st.lists(st.sampled_from(["block", "bitmap", "free", "fixed"]), max_size=24))
    letters = iter(map(chr, range(0x100, 0x200)))
    make = {
        "block": lambda: next(letters) * block_length,
        "bitmap": lambda: next(letters),
        "free": lambda: FREE * draw(st.integers(1, 6)),
        "fixed": lambda: FIXED,
    }
    return FIXED + "".join(make[part]() for part in parts), block_length


@given(pictures())
def test_in_the_end_no_gap_is_left_for_the_last_piece(drawing: tuple[str, int]) -> None:
    file, block_length = drawing
    after = played(file, block_length)
    assert sorted(after.replace(FREE, "")) == sorted(file.replace(FREE, ""))
    pieces, _ = drawn(after, block_length)
    if pieces and pieces[0].start > after.rfind(FIXED) and not after.endswith(FIXED):
        last = pieces[0]
        # what moves have left is none of the gaps that there were
        untouched = "".join(now if was == FREE else FIXED for was, now in zip(file, after, strict=False))
        assert FREE * last.length not in untouched[: last.start]
