"""One Azurite for all tests of a process, behind one proxy that holds every request to Azure's limits."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from vhdx.storage import blob as blob_requests

from .azurite import CONTAINER, Service, environment, running
from .proxy import Proxy, standing
from .sources import Made, small


@pytest.fixture(scope="session", name="service")
def _service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("azurite")) as service:
        yield service


@pytest.fixture(scope="session", name="one_proxy")
def _one_proxy(service: Service) -> Iterator[Proxy]:
    with standing(service.port) as proxy:
        yield proxy


@pytest.fixture(name="proxy")
def _proxy(one_proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Nothing goes wrong unless a test says so; no limit may be broken."""
    monkeypatch.setattr(blob_requests, "_FIRST_DELAY", 0.001)
    for name, value in environment(one_proxy.port).items():
        monkeypatch.setenv(name, value)
    one_proxy.begin()
    yield one_proxy
    assert one_proxy.broken == []


@pytest.fixture(name="name")
def _name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A name that no other test has."""
    return f"{tmp_path.name}{abs(hash(request.node.nodeid)):x}.vhd"


@pytest.fixture(name="target")
def _target(name: str) -> str:
    """The address of a blob that is not there yet."""
    return f"az://{CONTAINER}/{name}"


@pytest.fixture(name="made")
def _made(tmp_path: Path) -> Made:
    return small(tmp_path)


@pytest.fixture(name="journal")
def _journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"
