"""The store of the tests about object stores."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.cli.running import Ran
from vhdx.cli.main import exit_code_of
from vhdx.storage import object_stores, s3_uploads

from .store import Moto, RunHere, Store, bucket_behind, running


@pytest.fixture(name="moto", scope="session")
def _moto() -> Iterator[Moto]:
    with running() as moto:
        yield moto


@pytest.fixture(name="run_here")
def _run_here(capfd: pytest.CaptureFixture[str]) -> RunHere:
    """The command in this process, which has the packages of the clouds already."""

    def run(*words: str | Path) -> Ran:
        capfd.readouterr()
        code = exit_code_of([str(word) for word in words])
        return Ran(code, *capfd.readouterr())

    return run


@pytest.fixture(name="store")
def _store(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A bucket; what is asked again is asked at once."""
    monkeypatch.setitem(object_stores.RETRY, "max_retries", 3)
    monkeypatch.setitem(object_stores.RETRY, "backoff", {"init_backoff": timedelta(milliseconds=1)})
    monkeypatch.setattr(s3_uploads, "delays", lambda: iter([0.0] * 3))
    with bucket_behind(moto, monkeypatch) as store:
        yield store
