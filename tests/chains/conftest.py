"""Nothing here is about what the host's disk has: waiting for it would be most of the time."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def _no_waiting_for_the_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if hasattr(os, "fdatasync"):
            patch.setattr(os, "fdatasync", lambda descriptor: None)
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
