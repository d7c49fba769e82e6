"""Promises 4 to 11 and 14 for children and grandchildren: power fails at every instant."""

import random
from collections.abc import Callable

import pytest

from tests.crash.explore import Density
from tests.crash.promises import watch
from tests.support.layout import MIB
from tests.support.sweep import Sweep, swept

from .crash_explore import ChainExplorer
from .crash_order import bitmaps_of, watch_chain
from .crash_scenarios import SCENARIOS, ChainScenario, child, large
from .crash_session import ChainSession


@swept(one_in=3)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_promises_4_to_7_and_10_hold_at_every_instant_of(
    scenario: ChainScenario, sweep: Sweep, record_property: Callable[[str, object], None]
) -> None:
    session = scenario.recorded()
    density = Density(
        -(-scenario.samples // sweep.one_in), recover=30 * sweep.one_in, naive=150, one_in=scenario.one_in
    )
    explorer = ChainExplorer(random.Random(0), density, family=session.family)
    explorer.explore(session)
    record_property("crash states", explorer.distinct)
    assert explorer.distinct >= scenario.least


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_promises_8_to_11_hold_in(scenario: ChainScenario) -> None:
    session = scenario.recorded()
    watch(session.record, session.story, 8, 9, 11)
    watch_chain(session)


@pytest.mark.parametrize("sector", [512, 4096])
def test_what_belongs_together_goes_into_one_entry(sector: int) -> None:
    """The entry of the block, that of its bitmap (in another page of the BAT), and the bits."""

    def script(session: ChainSession) -> None:
        session.write(4 * MIB + sector, sector)
        session.close()

    session = ChainScenario("one", lambda: child(sector, mixed=False), script, 0).recorded()
    entries = watch_chain(session)
    assert len(entries) == 1
    (entry,) = entries
    survey = session.survey
    after = ChainSession(session.storage.content, session.family).survey
    (bitmap,) = bitmaps_of(after)
    from tests.support.layout import BAT_GUID  # noqa: PLC0415

    bat = survey.regions[BAT_GUID][0]
    slot = bat + survey.disk.ratio * 8 // 4096 * 4096
    bits = bitmap + 4 * (MIB // sector // 8) // 4096 * 4096
    assert sorted(target for target, _, _ in entry.writes) == sorted({bat, slot, bits})


@pytest.mark.parametrize("count", [1, 10, 40])
def test_promise_14_a_flush_after_any_number_of_differencing_writes_costs_2(count: int) -> None:
    def script(session: ChainSession) -> None:
        session.write(5 * MIB, 512)
        session.flush()
        for number in range(count):
            session.write((5 - number % 2 * 5) * MIB + number * 8192 + 65_536, 1024)
        before = session.record.count("flush")
        session.flush()
        assert session.record.count("flush") - before == 2
        session.flush()
        assert session.record.count("flush") - before <= 3
        session.write(5 * MIB, 512)
        before = session.record.count("flush")
        session.flush()
        assert session.record.count("flush") - before == 1
        session.close()

    ChainScenario("costs", child, script, 0).recorded()


def test_16_pages_of_bits_go_into_one_entry() -> None:
    def script(session: ChainSession) -> None:
        for page in range(16):
            session.write(page * 16 * MIB, 512)
        session.close()

    entries = watch_chain(ChainScenario("large", large, script, 0).recorded())
    assert [len(entry.writes) for entry in entries] == [17]
