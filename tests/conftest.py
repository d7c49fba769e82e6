"""What holds for all tests: property tests have no deadline (no timed tests) and are the same in each run.

A runner that was started in the background (`&`, `nohup`) ignores SIGINT and SIGHUP, and so would programs
that tests start: both are given back what they mean.

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

collect_ignore = (
    []
    if sys.platform == "win32"
    else ["cli/test_windows.py", "ops/files/test_copy_windows.py", "storage/test_windows.py"]
)

if sys.platform == "win32":

    def pytest_ignore_collect(collection_path: Path) -> bool | None:
        return True if windows.ignored(collection_path) else None

    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        windows.mark(items)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(call: pytest.CallInfo[Any]) -> Iterator[Any]:
        windows.skip_for_want_of_posix(call)
        return (yield)

else:
    MEANT: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    for number, handler in MEANT.items():
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)
