"""Azurite, which answers as Azure's blob service does, and what tests ask of it by Azure's own library."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.tools import needs

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""What everybody knows: the account and the key of every emulator."""
CONTAINER = "disks"
_PROGRAM = Path(sys.prefix, "azurite", "node_modules", "azurite", "dist", "src", "blob", "main.js")
_MEMORY_MB = 1024


def _has_library() -> bool:
    try:
        return importlib.util.find_spec("azure.storage.blob") is not None
    except ModuleNotFoundError:
        return False


needs_library = pytest.mark.skipif(
    not _has_library() and not os.environ.get("CI"), reason="not installed: azure-storage-blob"
)
needs_service = [needs("node"), needs_library]
"""The marks of tests that run Azurite."""


class Service:
    """A running Azurite. ``port`` is where it listens."""

    def __init__(self, port: int) -> None:
        from azure.storage.blob import BlobServiceClient  # noqa: PLC0415  an extra

        self.port = port
        self.url = f"http://127.0.0.1:{port}/{ACCOUNT}"
        self.client: Any = BlobServiceClient(self.url, credential=KEY)
        self.client.create_container(CONTAINER)

    def blob(self, name: str) -> Any:
        """A blob, by Azure's own library."""
        return self.client.get_blob_client(CONTAINER, name)

    def content(self, name: str) -> bytes:
        """All bytes of a blob."""
        data = self.blob(name).download_blob().readall()
        assert isinstance(data, bytes)
        return data

    def stored(self, name: str) -> int:
        """How many bytes of a blob stand in pages that are stored."""
        return sum(found.end - found.start + 1 for found in self.blob(name).list_page_ranges())

    def sas(self, name: str, permission: str, *, expired: bool = False) -> str:
        """The words of a SAS for one blob."""
        from azure.storage.blob import generate_blob_sas  # noqa: PLC0415  an extra

        words = generate_blob_sas(
            ACCOUNT,
            CONTAINER,
            name,
            account_key=KEY,
            permission=permission,
            expiry=datetime.now(UTC) + timedelta(hours=-1 if expired else 1),
            start=datetime.now(UTC) - timedelta(hours=2),
        )
        assert isinstance(words, str)
        return words


def environment(port: int) -> dict[str, str]:
    """What the environment says of the account, which is reached at a port of this host."""
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    words = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint};"
    return {"AZURE_STORAGE_CONNECTION_STRING": words}


def is_installed() -> bool:
    """Whether there is one to run."""
    return _PROGRAM.exists() and shutil.which("node") is not None


@contextmanager
def running(folder: Path, memory_mb: int = _MEMORY_MB) -> Iterator[Service]:
    """Azurite, with everything in memory."""
    if not is_installed():
        if os.environ.get("CI"):
            raise FileNotFoundError(_PROGRAM)
        pytest.skip("not installed: azurite (.ci/azurite fetches it)")
    words = (
        *("node", str(_PROGRAM), "--blobPort", "0", "--inMemoryPersistence", "--disableTelemetry"),
        *("--extentMemoryLimit", str(memory_mb), "--skipApiVersionCheck", "--silent"),
    )
    process = subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    )
    assert process.stdout is not None
    try:
        yield Service(_port(process.stdout))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _port(output: Any) -> int:
    said = []
    for line in output:
        said.append(line)
        found = re.search(r"listens on http://127\.0\.0\.1:(\d+)", line)
        if found:
            threading.Thread(target=output.read, daemon=True).start()  # what nobody reads would stop it
            return int(found[1])
    raise AssertionError("".join(said))
