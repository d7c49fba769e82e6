"""The harness finds mistakes: with any of them in the library, a scenario fails that holds without it."""

import random

import pytest

from .explore import CrashError, Density, Explorer
from .mistakes import MISTAKES
from .promises import watch
from .promises.scene import BrokenPromiseError
from .scenarios import ALL

SCENARIOS = {scenario.name: scenario for scenario in ALL}

IN_A_STATE = {
    "no flush before the log entry": "blocks allocated in gaps full of junk",
    "a flush that does nothing after writes in place": "writes in place",
    "space given away before the commit": "space given up and used again in one session",
    "headers before the first entry": "first write of a session",
    "the first entry not flushed": "first write of a session",
    "the file cut before the log is emptied": "the file cut at its end",
    "the log emptied before its pages are in place": "blocks allocated, a flush for each",
    "the log guid cleared before the replay": "the log of another writer",
    "the replay not flushed": "the log of another writer",
    "an old tail": "a ring that fills several times",
}
"""What leaves a file that is wrong, and a scenario in which it does."""

BY_ITS_ORDER = {
    "no flush before the log entry": (11, "many writes and no flush"),
    "no flush behind the log entry": (8, "blocks allocated, a flush for each"),
    "space given away before the commit": (10, "space given up and used again in one session"),
    "space punched before the commit": (10, "whole blocks trimmed"),
    "headers before the first entry": (11, "first write of a session"),
    "the file cut before the log is emptied": (8, "the file cut at its end"),
    "the log emptied before its pages are in place": (11, "the file cut at its end"),
    "both headers in one flush": (8, "first write of a session"),
    "the header in force overwritten": (8, "first write of a session"),
    "tables written without the log": (8, "first write of a session"),
    "the log guid cleared before the replay": (11, "the log of another writer"),
    "the replay not flushed": (11, "the log of another writer"),
    "a ring that begins again at its start under the same guid": (11, "a ring that fills several times"),
    "an old tail": (10, "a ring that fills several times"),
    "no new file write guid": (9, "first write of a session"),
    "no new data write guid": (9, "first write of a session"),
}
"""What breaks the order of a promise, whether or not a file can be wrong by it, and where that shows."""


def test_every_mistake_is_looked_for() -> None:
    assert {*IN_A_STATE, *BY_ITS_ORDER} == {*MISTAKES}


SLOW = {"an old tail"}
"""What takes tens of seconds to be found by chance; its watcher sees it at once."""


@pytest.mark.parametrize(
    ("mistake", "where"),
    [pytest.param(*case, marks=pytest.mark.slow) if case[0] in SLOW else case for case in IN_A_STATE.items()],
)
def test_a_crash_shows(mistake: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = SCENARIOS[where]
    MISTAKES[mistake](monkeypatch)
    density = Density(scenario.samples, one_in=scenario.one_in)
    with pytest.raises(CrashError):
        Explorer(random.Random(0), density, scenario.warnings).explore(scenario.recorded())


@pytest.mark.parametrize(("mistake", "promise", "where"), [(m, p, w) for m, (p, w) in BY_ITS_ORDER.items()])
def test_a_watcher_sees(mistake: str, promise: int, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MISTAKES[mistake](monkeypatch)
    session = SCENARIOS[where].recorded()
    with pytest.raises(BrokenPromiseError):
        watch(session.record, session.story, promise)
