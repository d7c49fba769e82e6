"""The plan of moves, pure, against a file drawn as a string of MiB."""

from itertools import groupby

import hypothesis.strategies as st
from hypothesis import given, settings

from vhdx.reshape.packing import Gap, Move, Piece, Room, lowest_end, moves

FIXED, FREE, GONE = "#", ".", "-"


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

    def behind(end: int) -> list[Piece]:
        return [piece for piece in pieces if piece.start + piece.length > end]

    def before(end: int) -> list[Gap]:
        return [Gap(start, min(length, end - start)) for start, length in gaps if start < end]

    def needed(end: int) -> Room:
        lengths = [piece.length for piece in behind(end)]
        return Room(lengths.count(block_length), sum(lengths))

    def free(end: int) -> Room:
        lengths = [gap.length for gap in before(end)]
        return Room(sum(length // block_length for length in lengths), sum(lengths))

    end = lowest_end(file.rfind(FIXED) + 1, len(file.rstrip(FREE)), needed, free)
    return list(moves(behind(end), lambda: before(end), needed(end).blocks, block_length))


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


def test_a_bitmap_does_not_go_high_where_no_block_fits_if_a_low_gap_ends_the_file_sooner() -> None:
    assert played("##......aa....bb.x", 2) == "##bbaax"


def test_nothing_moves_in_front_of_what_never_moves() -> None:
    assert plan("##..aa##", 2) == []
    assert played("##..aa##bb", 2) == "##bbaa##"


@st.composite
def pictures(draw: st.DrawFn, most: int = 24) -> tuple[str, int]:
    block_length = draw(st.sampled_from([1, 2, 4]))
    parts = draw(st.lists(st.sampled_from(["block", "bitmap", "free", "fixed"]), max_size=most))
    letters = iter(map(chr, range(0x100, 0x200)))
    make = {
        "block": lambda: next(letters) * block_length,
        "bitmap": lambda: next(letters),
        "free": lambda: FREE * draw(st.integers(1, 6)),
        "fixed": lambda: FIXED,
    }
    return FIXED + "".join(make[part]() for part in parts), block_length


@given(pictures())
def test_one_run_gives_what_any_number_of_runs_gives(drawing: tuple[str, int]) -> None:
    file, block_length = drawing
    after = played(file, block_length)
    assert sorted(after.replace(FREE, "")) == sorted(file.replace(FREE, ""))
    assert len(after) <= len(file.rstrip(FREE))
    assert plan(after, block_length) == []


@settings(max_examples=60)
@given(pictures(most=6))
def test_no_other_way_of_moving_things_makes_the_file_shorter(drawing: tuple[str, int]) -> None:
    """Every way in which each thing moves once at most, into what was free before, from the last one on."""
    file, block_length = drawing
    assert len(played(file, block_length)) == shortest(file, drawn(file, block_length)[0])


def shortest(file: str, pieces: list[Piece]) -> int:
    best = len(file.rstrip(FREE))
    for number, (start, length, _) in enumerate(pieces):
        for target in range(start - length + 1):
            if set(file[target : target + length]) == {FREE}:
                gone = file[:start] + GONE * length + file[start + length :]
                moved = gone[:target] + FIXED * length + gone[target + length :]
                best = min(best, shortest(moved, pieces[number + 1 :]))
    return min(best, len(file.rstrip(FREE + GONE)))
