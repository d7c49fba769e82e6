"""The two verbs as people use them: what they say, and what they never say."""

import json
import os
from pathlib import Path

import pytest

from tests.cli.running import USAGE, run
from tests.docs.schema import PAGE, complaints, read_schema
from tests.support.naive import naive_content

from .azurite import CONTAINER, KEY, Service, needs_service
from .proxy import Proxy
from .sources import nonzero, raw, small

pytestmark = needs_service


SCHEMA = read_schema(PAGE.read_text())


@pytest.fixture(name="address")
def _address(proxy: Proxy, service: Service, name: str) -> str:
    """With a SAS."""
    words = service.sas(name, "rcw")
    return f"http://127.0.0.1:{proxy.port}/devstoreaccount1/{CONTAINER}/{name}?{words}"


def said(*arguments: str | Path, code: int = 0) -> str:
    """All that a run says, which holds no secret."""
    done = run(*arguments, env={**os.environ})
    assert done.code == code, done.err
    everything = done.out + done.err
    assert "sig=" not in everything
    assert KEY not in everything
    return everything


def test_there_and_back(tmp_path: Path, address: str, name: str) -> None:
    made = small(tmp_path)
    plain = address.partition("?")[0]
    text = said("upload", made.path, address)
    assert f"{plain}: vhd, 16 MiB; 100.5 KiB went, 15.9 MiB of zeros did not" in text
    assert (
        f'next: az disk create --resource-group "$RESOURCE_GROUP" --name {name[:-4]} --source {plain}' in text
    )
    text = said("download", address, tmp_path / "b.vhdx")
    assert "b.vhdx: vhdx, 16 MiB, of which" in text
    assert naive_content(tmp_path / "b.vhdx", 0, len(made.content)) == made.content


def test_json(tmp_path: Path, address: str, target: str) -> None:
    made = raw(tmp_path)
    plain = address.partition("?")[0]
    told = json.loads(run("upload", made.path, address, "-f", "raw", "--json").out)
    assert complaints(told, SCHEMA.prints["upload"], SCHEMA) == []
    assert told["path"] == plain
    assert (told["format"], told["source_format"], told["virtual_size"]) == ("vhd", "raw", 5 << 20)
    assert told["sent_size"] == nonzero(made.content, 512) + 512
    assert told["remarks"] == ["virtual size rounded from 4194404 bytes to 5242880 (5 MiB)"]
    told = json.loads(run("download", target, tmp_path / "b.vhdx", "--json").out)
    assert complaints(told, SCHEMA.prints["download"], SCHEMA) == []
    assert (told["path"], told["format"], told["source"]) == (str(tmp_path / "b.vhdx"), "vhdx", plain)
    assert told["next_command"] is None


def test_what_is_there_needs_force(tmp_path: Path, address: str) -> None:
    made = small(tmp_path)
    said("upload", made.path, address)
    assert "exists already; --force replaces it" in said("upload", made.path, address, code=1)
    said("upload", made.path, address, "--force", "--resume", tmp_path / "journal")
    (tmp_path / "b.vhdx").touch()
    assert "exists already; --force replaces it" in said("download", address, tmp_path / "b.vhdx", code=1)


def test_what_is_refused_is_said_without_secrets(
    tmp_path: Path, address: str, name: str, service: Service
) -> None:
    made = small(tmp_path)
    ended = f"{address.partition('?')[0]}?{service.sas(name, 'rcw', expired=True)}"
    assert "get a new one" in said("upload", made.path, ended, code=1)
    assert "get a new one" in said("download", ended, tmp_path / "b.vhdx", "--json", code=1)
    wrong = f"https://user:sig=@host/a/b?{address.partition('?')[2]}"
    assert "not used" in said("upload", made.path, wrong, "--json", code=USAGE)
    assert "names no blob" in said("download", f"https://host/?{ended}", "c.vhdx", code=USAGE)


def test_the_package_that_is_missing_is_named(tmp_path: Path, target: str, proxy: Proxy) -> None:
    made = small(tmp_path)
    (tmp_path / "azure").mkdir()
    (tmp_path / "azure" / "__init__.py").write_text("raise ImportError('not installed')")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
    }
    for words in (("upload", made.path, target), ("download", target, tmp_path / "b.vhdx")):
        done = run(*words, fresh=True, env=environment)
        assert done.code == 1
        assert 'pip install "vhdx[cloud]"' in done.sentence
