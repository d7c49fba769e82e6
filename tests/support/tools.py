"""Programs of others: a test that needs one is skipped with a reason, and fails where `CI` is set.

Windows has none of them, and nothing installs them there: such a test is skipped there with `CI` too.
"""

import os
import shutil
import sys

import pytest

REQUIRED = bool(os.environ.get("CI")) and sys.platform != "win32"
"""Whether what is missing is a failure."""
IS_ROOT = sys.platform != "win32" and os.geteuid() == 0


def needs(*programs: str) -> pytest.MarkDecorator:
    """The mark of a test that runs these programs."""
    missing = [program for program in programs if shutil.which(program) is None]
    skip = bool(missing) and not REQUIRED
    return pytest.mark.skipif(skip, reason=f"not installed: {', '.join(missing)}")
