"""What is done on macOS, with calls that only record what they are asked: nobody ran it on one."""

import errno
import fcntl
import os
import sys
from pathlib import Path

import pytest

from vhdx.storage import host


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOTTY, errno.EINVAL, None])
def test_where_the_drive_is_not_asked_on_macos_its_cache_is_left_alone(
    number: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network shares and some drives know nothing of F_FULLFSYNC. Names are as durable as contents."""
    requests: list[int] = []
    synchronized: list[int] = []

    def ask(descriptor: int, request: int) -> None:
        requests.append(request)
        if number is not None:
            raise OSError(number, "unsupported")

    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        patch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
        patch.setattr(fcntl, "fcntl", ask)
        patch.setattr(os, "fsync", synchronized.append)
        host.synchronize(7)
        host.synchronize_directory(str(tmp_path))
    assert requests == [51, 51]
    assert len(synchronized) == (2 if number else 0)


def test_a_flush_that_fails_on_macos_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: int) -> None:
        raise OSError(errno.EIO, "the disk is on fire")

    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        patch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
        patch.setattr(fcntl, "fcntl", ask)
        with pytest.raises(OSError, match="on fire"):
            host.synchronize(7)
