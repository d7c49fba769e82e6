"""Programs of others: a test that needs one is skipped with a reason, and fails where `CI` is set."""

import os
import shutil

import pytest


def needs(*programs: str) -> pytest.MarkDecorator:
    """The mark of a test that runs these programs."""
    missing = [program for program in programs if shutil.which(program) is None]
    skip = bool(missing) and not os.environ.get("CI")
    return pytest.mark.skipif(skip, reason=f"not installed: {', '.join(missing)}")
