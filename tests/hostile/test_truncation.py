"""Promise 17: files that end early: at each border of a structure, at every sector of the first MiBs."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import vhdx
from tests.hostile.images import clean, dirty, family
from tests.support.judge import Answer, WrongAnswerError, judge
from tests.support.layout import HEADER_OFFSETS, KIB, MIB, REGION_TABLE_OFFSETS
from tests.support.metadata import metadata_pieces
from tests.support.structures import locate, structures
from vhdx import VhdxError
from vhdx.ops.dump import contents, dump


def a_clean_image(folder: Path) -> list[Path]:
    return [clean().write(folder / "image.vhdx")]


def a_dirty_image(folder: Path) -> list[Path]:
    return [dirty().write(folder / "image.vhdx")]


def a_child(folder: Path) -> list[Path]:
    return list(family(folder))


IMAGES = [a_clean_image, a_dirty_image, a_child]


def judged(paths: list[Path], lengths: set[int]) -> dict[int, Answer]:
    """The answers for the file cut to each length, longest first; raises with the first ten wrong ones."""
    answers, wrong = {}, []
    for length in sorted(lengths, reverse=True):
        os.truncate(paths[0], length)
        try:
            answers[length] = judge(paths[0], paths[1:])
        except WrongAnswerError as error:
            wrong.append(f"cut to {length}: {error}")
    assert not wrong, f"{len(wrong)} wrong answers:\n" + "\n".join(wrong[:10])
    return answers


@pytest.mark.parametrize("image", IMAGES)
def test_cut_at_the_border_of_each_structure(image: Callable[[Path], list[Path]], tmp_path: Path) -> None:
    paths = image(tmp_path)
    size = paths[0].stat().st_size
    borders = {locate(paths[0], structure, copy) for structure, copy in structures(paths[0])}
    borders |= {*HEADER_OFFSETS.values(), *REGION_TABLE_OFFSETS.values(), 320 * KIB, *range(0, size + 1, MIB)}
    lengths = {border + step for border in borders for step in (-1, 0, 1) if 0 <= border + step <= size}
    answers = judged(paths, lengths)
    assert answers[size] is Answer.READ
    assert set(answers.values()) == set(Answer)
    assert all(answer is Answer.REFUSED for length, answer in answers.items() if length < 4 * MIB)


@pytest.mark.parametrize("image", IMAGES)
def test_cut_at_every_sector(image: Callable[[Path], list[Path]], tmp_path: Path) -> None:
    paths = image(tmp_path)
    size = paths[0].stat().st_size
    lengths = {
        *range(0, 400 * KIB, 512),
        *range(MIB - 64 * KIB, 3 * MIB, 512),
        *range(3 * MIB, size, 64 * KIB + 512),
    }
    answers = judged(paths, lengths)
    assert all(answer is Answer.REFUSED for length, answer in answers.items() if length < 4 * MIB)


def test_what_is_cut_from_the_last_block_behind_the_end_of_the_disk_does_not_matter(tmp_path: Path) -> None:
    image = clean()
    path = image.write(tmp_path / "image.vhdx")
    needed = image.plan().blocks[3] + 5 * 512
    answers = judged([path], {needed + 1, needed, needed - 1, needed - 512})
    assert list(answers.values()) == [Answer.READ, Answer.READ, Answer.PARTLY, Answer.PARTLY]


def test_a_parent_that_is_cut_is_refused_as_an_image_is(tmp_path: Path) -> None:
    child, parent = family(tmp_path)
    for length in (8 * MIB, 6 * MIB, 4 * MIB, 3 * MIB + 512, MIB, 130 * KIB, 512, 0):
        os.truncate(parent, min(length, parent.stat().st_size))
        if length >= 4 * MIB:
            assert judge(child, [parent]) in (Answer.READ, Answer.PARTLY)
        else:
            assert judge(child, [parent]) is Answer.REFUSED


@pytest.mark.parametrize("order", [("log", "metadata", "bat"), ("log", "bat", "metadata")])
@pytest.mark.parametrize(("differencing", "step"), [(False, 1), (True, 13)])
def test_cut_in_each_metadata_item(
    order: tuple[str, ...], differencing: bool, step: int, tmp_path: Path
) -> None:
    """Whatever item the file ends in, everything that looks at damaged files says so in its own words."""
    image = clean().child() if differencing else clean()
    image.placement = order
    path = image.write(tmp_path / "image.vhdx")
    start = image.plan().metadata_offset
    items_end = start + max(at + len(value) for at, value in metadata_pieces(image))
    for length in range(items_end, start + 64 * KIB - 1, -step):
        os.truncate(path, length)
        codes = vhdx.check(path).codes
        assert "region.past_end" in codes
        assert "locator.missing" not in codes
        for look in (
            lambda: vhdx.repair(path, dry_run=True),
            lambda: list(contents(path)),
            lambda: list(dump(path, "metadata")),
            lambda: vhdx.open(path, salvage=True).close(),
        ):
            with contextlib.suppress(VhdxError):
                look()
        with pytest.raises(VhdxError):
            vhdx.open(path)
