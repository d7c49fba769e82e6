"""The figures that `bench.salvage` shows: what is counted as lost, and how rows come of it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bench import history, salvage
from bench.__main__ import SUBJECTS
from bench.harness import OURS, show

import vhdx
from tests.support.layout import MIB
from tests.support.patterns import pattern


@pytest.fixture(name="sample")
def _sample(tmp_path: Path) -> salvage.Sample:
    path = tmp_path / "image.vhdx"
    vhdx.create(path, 8 * MIB, block_size=MIB)
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(1, 4 * salvage.PAGE), 3 * MIB)
    return salvage.sample(path)


def test_a_sample_is_what_stands_on_the_disk(sample: salvage.Sample) -> None:
    assert sorted(sample.pages) == [3 * MIB + number * salvage.PAGE for number in range(4)]
    assert sample.known == vhdx.KnownDisk(8 * MIB, MIB, 512, "dynamic")
    assert [length for _, length in sample.blocks] == [MIB]


def test_what_is_counted_as_lost(sample: salvage.Sample) -> None:
    def none_of_it(_length: int, _offset: int) -> bytes:
        raise OSError("nothing can be read")

    with vhdx.open(sample.path) as disk:
        assert salvage.lost_of(sample, disk.pread) == 0
    assert salvage.lost_of(sample, none_of_it) == 1
    start = 3 * MIB + salvage.PAGE
    known = {offset: page for offset, page in sample.pages.items() if offset != start}
    assert salvage.lost_of(sample, lambda _, offset: known.get(offset, b"")) == 1 / 4


@pytest.mark.parametrize("what", salvage.DAMAGES)
def test_damage_is_the_same_each_time_and_leaves_the_sound_image_alone(
    what: str, sample: salvage.Sample, tmp_path: Path
) -> None:
    sound, one, other = sample.path.read_bytes(), tmp_path / "one", tmp_path / "other"
    salvage.damaged(sample, what, 1, one)
    salvage.damaged(sample, what, 1, other)
    assert one.read_bytes() == other.read_bytes()
    assert sample.path.read_bytes() == sound
    assert (one.read_bytes() == sound) == (what == "no damage")


def test_rows(sample: salvage.Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def nobody(_path: Path, _told: salvage.Told) -> Iterator[Callable[[int, int], bytes]]:
        yield lambda _length, _offset: b""

    both = {OURS: salvage.contestants()[OURS], "nobody": nobody}
    monkeypatch.setattr(salvage, "contestants", lambda **_: both)
    lost = salvage.lost_shares("both headers gone", [sample], tmp_path)
    assert lost == {OURS: 0, "nobody": 100}
    (row,) = salvage.rows("both headers gone", lost)
    assert (row.ours, row.against, row.theirs, row.unit, row.met) == (0, "nobody", 100, "%", True)
    assert "both headers gone" in show([row])
    (worse,) = salvage.rows("both headers gone", {OURS: 2.0, "nobody": 1.0})
    assert worse.met is False
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".raw")]


def test_a_chain_that_is_not_damaged_comes_out_whole(tmp_path: Path) -> None:
    chain = salvage.a_chain(tmp_path)
    assert len(chain.blocks) < len({offset // MIB for offset in chain.pages}), "the parent holds some"
    lost = salvage.lost_shares("no damage", [chain], tmp_path)
    assert {name: share for name, share in lost.items() if name != salvage.NO_CHAINS} == dict.fromkeys(
        lost.keys() - {salvage.NO_CHAINS}, 0
    )
    assert lost.get(salvage.NO_CHAINS, 100) > 0


def test_it_is_a_subject() -> None:
    assert "salvage" in SUBJECTS


# The picture of ratios over time --------------------------------------------------------------


def run_of(when: str, **ratios: float) -> dict[str, object]:
    return {
        "when": when,
        "revision": "x",
        "ratios": {f"{name} / them": ratio for name, ratio in ratios.items()},
    }


def test_a_course_is_a_row_in_several_runs_that_is_still_measured() -> None:
    runs = [run_of("1", a=2, b=1, gone=9), run_of("2", a=3, b=0.5, once=1, gone=9), run_of("3", a=4, b=0.25)]
    assert list(history.courses([*runs, run_of("4", a=5)])) == [
        ("b / them", ((0, 1), (1, 0.5), (2, 0.25))),
        ("a / them", ((0, 2), (1, 3), (2, 4), (3, 5))),
    ]


def test_limits_are_no_others() -> None:
    assert not list(history.courses([{"when": "1", "ratios": {"a / limit": 2}}] * 2))


def test_the_picture_in_the_documentation_is_that_of_the_results() -> None:
    runs = max((history.runs_in(path.read_text()) for path in history.RESULTS.glob("*.jsonl")), key=len)
    assert history.PICTURE.read_text() == history.picture(runs), "python -m bench.history draws it anew"
