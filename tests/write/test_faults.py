"""Each system call of each operation fails once, in every way in which the host lets it fail.

Afterwards the object goes on as if nothing had been asked of it, or refuses everything; in both cases the
file as it stands opens, is sound, and each of its sectors is old or new (promises 7, 13 and 21). In
`make slow` each call fails in every way; in `make test` each fails in one at least, each kind of call in all.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.faults import (
    Call,
    Fault,
    Host,
    does_half,
    failing_host,
    fails_after_half,
    fails_with,
    raises_after,
    raises_before,
)
from tests.support.sweep import Sweep, swept

from .scenarios import SCENARIOS
from .trials import Trial

ERRORS = (errno.ENOSPC, errno.EIO, errno.EINTR)
FAULTS: dict[str, Callable[[int], Fault]] = {
    "error": lambda at: fails_with(ERRORS[at % 3]),
    "half": lambda at: does_half,
    "half, then error": lambda at: fails_after_half,
    "exception before": lambda at: raises_before((KeyboardInterrupt, MemoryError)[at % 2]),
    "exception after": lambda at: raises_after((MemoryError, KeyboardInterrupt)[at % 2]),
}


@contextmanager
def failing(path: Path, at: int | None, fault: Fault | None, hosts: list[Host]) -> Iterator[None]:
    """One call on a file fails; what happened is appended to ``hosts``."""
    with failing_host(path) as host:
        hosts.append(host)
        host.at, host.fault = at, fault
        yield


def calls_of(trial: Trial) -> list[Call]:
    """The calls of the step on a sound host."""
    hosts: list[Host] = []
    assert trial.run(failing(trial.image, None, None, hosts)) == (False, False)
    return hosts[0].calls


def _telling(calls: list[Call]) -> Iterator[int]:
    """Numbers of calls; of many in a row that do the same (pages put in their places) a few are enough."""
    for at in range(len(calls)):
        row = [call.name for call in calls[max(0, at - 3) : at + 4]]
        if row != ["pwrite"] * 7 or not at % 8:
            yield at


@swept(one_in=len(FAULTS))
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_promises_7_13_and_21_a_call_that_fails(name: str, fault: str, sweep: Sweep, tmp_path: Path) -> None:
    trial = Trial(SCENARIOS[name], tmp_path)
    calls = calls_of(trial)
    assert {"pwrite", "fdatasync"} <= {call.name for call in calls}
    hosts: list[Host] = []
    for at in sweep.of(_telling(calls), lambda at: calls[at].name, start=list(FAULTS).index(fault)):
        raised, failed = trial.run(failing(trial.image, at, FAULTS[fault](at), hosts))
        struck = hosts[-1].struck
        assert struck is not None
        is_read_error = struck.name.startswith("pread") and fault == "error" and ERRORS[at % 3] == errno.EIO
        # space that nobody owns and that the host cannot read is kept like one that holds data
        assert raised != (fault == "half") or is_read_error
        if raised and struck.name == "fdatasync" and not name.startswith("close"):
            assert failed, "a flush that failed was taken as if it had worked"
