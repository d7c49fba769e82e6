"""The store of the tests about object stores."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from vhdx.storage import multipart, object_stores

from .store import Moto, Store, bucket_behind, running


@pytest.fixture(name="moto", scope="session")
def _moto() -> Iterator[Moto]:
    with running() as moto:
        yield moto


@pytest.fixture(name="store")
def _store(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A bucket; what is asked again is asked at once."""
    monkeypatch.setitem(object_stores.RETRY, "max_retries", 3)
    monkeypatch.setitem(object_stores.RETRY, "backoff", {"init_backoff": timedelta(milliseconds=1)})
    monkeypatch.setattr(multipart, "sleep", lambda _seconds: None)
    with bucket_behind(moto, monkeypatch) as store:
        yield store
