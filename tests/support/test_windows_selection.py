"""What is left out on Windows is there: no pattern outlives the tests that it names."""

from fnmatch import fnmatch
from pathlib import Path

import pytest

from .windows import NOT_HERE, POSIX_ONLY

TESTS = Path(__file__).parents[1]
FILES = sorted(path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py"))


def test_make_windows_runs_all_the_rest() -> None:
    """So every file of tests runs there, or is named with a reason."""
    assert "-p no:cacheprovider tests\n" in (TESTS.parent / ".ci" / "windows").read_text()


@pytest.mark.parametrize("pattern", POSIX_ONLY)
def test_files_that_are_left_out(pattern: str) -> None:
    assert any(fnmatch(file, pattern) for file in FILES)


@pytest.mark.parametrize("pattern", NOT_HERE)
def test_tests_that_are_left_out(pattern: str) -> None:
    """Each pattern names a file, then a class or the beginning of a function of it."""
    where, *rest = pattern.split("::")
    files = [TESTS / file for file in FILES if fnmatch(f"tests/{file}", where)]
    assert files
    for name in rest:
        beginning = name.partition("*")[0].partition("[")[0]
        assert any(beginning in path.read_text() for path in files), beginning
