"""Serving behind the caller's back: what is told when that fails."""

import os
import signal
from typing import Any

import pytest

from vhdx.mount import background


def _split_with_a_killed_child() -> None:
    if isinstance(background.split(), background.Child):
        signal.raise_signal(signal.SIGKILL)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this host has no fork")
def test_a_killed_child_is_told_and_its_number_gets_no_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it was waited for, its number may be another process's."""
    signalled: list[Any] = []
    monkeypatch.setattr(os, "kill", lambda *arguments: signalled.append(arguments))
    with pytest.raises(OSError, match="was killed by signal 9"):
        _split_with_a_killed_child()
    assert signalled == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this host has no fork")
def test_the_code_of_a_child_that_fails_is_passed_on() -> None:
    side = background.split()
    if isinstance(side, background.Child):
        os._exit(3)
    assert side == background.Parent(3)
