"""Programs of others: a test that needs one is skipped with a reason, and fails where `CI` is set.

Windows has none of them, and nothing installs them there: such a test is skipped there with `CI` too.
"""

import os
import shutil
import sys

import pytest


def needs(*programs: str) -> pytest.MarkDecorator:
    """The mark of a test that runs these programs."""
    missing = [program for program in programs if shutil.which(program) is None]
    required = bool(os.environ.get("CI")) and sys.platform != "win32"
    skip = bool(missing) and not required
    return pytest.mark.skipif(skip, reason=f"not installed: {', '.join(missing)}")
