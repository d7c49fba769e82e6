"""Every input that fuzzing found worth keeping, replayed without a fuzzer, its memory measured."""

import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from vhdx.wire import Error

from . import limits, oracle
from .replay import CORPUS, corpus_of, run_of, target_names


@pytest.fixture(autouse=True)
def _every_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    """While fuzzing, one input of eight is compared with the naive reader; here all are."""
    monkeypatch.setattr(oracle, "sampled", lambda data: True)


@pytest.mark.parametrize("name", target_names())
def test_the_corpus_of(name: str) -> None:
    run = run_of(name)
    inputs = list(corpus_of(name))
    run(inputs[0])  # what is imported and built once is no input's fault
    peaks = {}
    tracemalloc.start()
    try:
        for data in inputs:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            run(data)
            peaks[tracemalloc.get_traced_memory()[1] - before] = data
    finally:
        tracemalloc.stop()
    limit = limits.PEAK_OF_LONG_FILES if name == "look" else limits.PEAK
    assert max(peaks) <= limit, f"{max(peaks)} bytes for {peaks[max(peaks)].hex()}"


@pytest.mark.parametrize(
    # "look" does all that the command can do to each, and its corpus has such inputs, too
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name == "look" else name for name in target_names()],
)
def test_nonsense_is_an_input_like_others(name: str) -> None:
    run = run_of(name)
    for data in (b"", b"\0", b"\xff" * 100, bytes(range(256)) * 8, b"\xe0\xff\xff\xff" * 50):
        run(data)


def test_the_corpus_stays_small() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(target_names())
    assert sum(path.stat().st_size for path in CORPUS.glob("*/*")) < 1 << 20


class Mistake(NamedTuple):
    """A mistake in the library that the corpus of a target must notice."""

    target: str
    place: str
    replacement: Callable[..., Any]


MISTAKES = [
    Mistake("image", "vhdx.image.read.Reader._run_fault", lambda *_: None),
    Mistake("image", "vhdx.image.metadata._number_fault", lambda *_: None),
    Mistake("log", "vhdx.journal.scan._may_be_target", lambda *_: True),
    Mistake("log", "vhdx.journal.replay.final_size", lambda sequence: 0),
    Mistake("metadata", "vhdx.image.metadata._number_fault", lambda *_: None),
    Mistake("partitions", "vhdx.ops.resize_gpt._take", lambda *_: None),
    Mistake("chain", "vhdx.disk.places.is_below", lambda *_: True),
    Mistake("look", "vhdx.examine.salvage_read.SalvageReader.locate", lambda *_: -2),
    Mistake("vhd", "vhdx.format.vhd._damage", lambda *_: None),
    Mistake("nbd", "vhdx.nbd.transmit.Requests.refusal", lambda *_: Error.NONE),
    Mistake("write", "vhdx.disk.chain.VhdxDisk.zero", lambda *_: None),
    Mistake("repair", "vhdx.storage.staged.StagedChanges.perform", lambda *_: None),
    Mistake("sizes", "tests.fuzz.targets.sizes.format_size", lambda size: ""),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake.target}: {mistake.place}")
def test_a_mistake_is_noticed(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mistake.place, mistake.replacement)
    with pytest.raises(Exception):  # noqa: B017  whatever it is: without the mistake the corpus passes
        _run_all(mistake.target)


def _run_all(name: str) -> None:
    run = run_of(name)
    for data in corpus_of(name):
        run(data)
