"""Blobs of Azure that are read, block blobs and page blobs, against Azurite."""

from collections.abc import Iterator
from typing import Any

import pytest

import vhdx
from tests.blobs import azurite
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.reading import whole

IMAGE = ImageBuilder(4 * MIB, blocks={number: Block(pattern(number, MIB)) for number in (0, 2)})


@pytest.fixture(name="service", scope="module")
def _service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with azurite.running(tmp_path_factory.mktemp("azurite")) as service:
        yield service


@pytest.fixture(name="url")
def _url(service: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in azurite.environment(service.port).items():
        monkeypatch.setenv(name, value)
    service.blob("a b/c%20.vhdx").upload_blob(IMAGE.build(), overwrite=True)
    return f"az://{azurite.CONTAINER}/a b/c%20.vhdx"


def test_a_block_blob_is_read_as_it_was(service: Any, url: str) -> None:
    with vhdx.open(url) as disk:
        assert whole(disk) == IMAGE.content()
    with vhdx.open(url) as disk:
        service.blob("a b/c%20.vhdx").upload_blob(b"another", overwrite=True)
        with pytest.raises(vhdx.ImageFailedError, match="replaced or removed"):
            disk.pread(4096, 2 * MIB)


def test_a_page_blob_is_read(service: Any, url: str) -> None:
    data = IMAGE.build()
    service.blob("pages.vhdx").upload_blob(data, blob_type="PageBlob", length=len(data))
    with vhdx.open(f"az://{azurite.CONTAINER}/pages.vhdx") as disk:
        assert whole(disk) == IMAGE.content()


def test_a_wrong_key_is_refused_without_being_shown(
    service: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = azurite.environment(service.port)["AZURE_STORAGE_CONNECTION_STRING"]
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", azurite.ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_KEY", "aHVudGVyMg==")
    monkeypatch.setenv("AZURE_ENDPOINT", words.partition("BlobEndpoint=")[2].rstrip(";"))
    with pytest.raises(PermissionError, match="the store refuses it") as caught:
        vhdx.open(url)
    assert "aHVudGVyMg" not in str(caught.value)
