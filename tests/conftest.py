"""What holds for all tests: property tests have no deadline (no timed tests) and are the same in each run.

On Windows some tests are not run: `tests/support/windows.py` says which, and why.
"""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support import windows

settings.register_profile(
    "vhdx",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("vhdx")

collect_ignore = [] if sys.platform == "win32" else ["storage/test_windows.py"]

if sys.platform == "win32":

    def pytest_ignore_collect(collection_path: Path) -> bool | None:
        return True if windows.ignored(collection_path) else None

    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        windows.mark(items)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(call: pytest.CallInfo[Any]) -> Iterator[Any]:
        windows.skip_for_want_of_posix(call)
        return (yield)


@pytest.fixture(autouse=True, scope="session")
def _programs_hear_signals() -> Iterator[None]:
    """What this process ignores, started by nohup or in the background, its programs do not ignore.

    A handler that does nothing is as good for the tests themselves, and is lost in what they start.
    """
    numbers = [getattr(signal, name) for name in ("SIGHUP", "SIGINT", "SIGTERM") if hasattr(signal, name)]
    ignored = [number for number in numbers if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *_: None)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
