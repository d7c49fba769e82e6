"""Images in object stores that are read: what is read is right, little is fetched, and failures are told."""

import errno
import json
import os
import socket
import subprocess
import sys
import threading
import traceback
import urllib.request
from pathlib import Path

import pytest

import vhdx
import vhdx.remote
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.reading import whole
from vhdx.storage.azure_settings import azure_settings
from vhdx.storage.object_stores import address_from
from vhdx.storage.objects import object_storage

from .server import serving
from .store import KEY_ID, SECRET, Asked, Fault, RunHere, Store

SIZE = 24 * MIB
BIG = ImageBuilder(SIZE, blocks={number: Block(pattern(number, MIB)) for number in range(0, 24, 2)})
PARENT = ImageBuilder(2 * MIB, blocks={0: Block(pattern(0, MIB))}, seed=40)
CHILD = PARENT.child()


@pytest.fixture(name="big")
def _big(store: Store) -> str:
    return store.put("disks/big.vhdx", BIG.build())


def test_little_is_fetched_and_all_of_it_is_right(store: Store, big: str) -> None:
    content = BIG.content()
    with vhdx.open(big) as disk:
        assert disk.read_only
        assert disk.chain == (big,)
        assert disk.pread(4096, 20 * MIB + 1000) == content[20 * MIB + 1000 :][:4096]
        assert store.proxy.sent <= MIB
        before = store.proxy.sent
        assert disk.pread(512, 20 * MIB + 1000) == content[20 * MIB + 1000 :][:512]
        assert store.proxy.sent == before
        assert whole(disk) == content
    assert store.proxy.sent <= 13 * MIB + MIB
    assert store.proxy.told("PUT") == []


def test_each_range_says_which_state_is_wanted_and_a_change_is_noticed(store: Store, big: str) -> None:
    with vhdx.open(big) as disk:
        assert disk.pread(512, 20 * MIB) == pattern(20, 512)
        store.put("disks/big.vhdx", BIG.build() + b"\0")
        with pytest.raises(vhdx.ImageFailedError, match="replaced or removed while it was read") as caught:
            disk.pread(512, 2 * MIB)
        assert caught.value.image == big
        store.put("disks/big.vhdx", BIG.build())
        with pytest.raises(vhdx.ImageFailedError, match="replaced or removed"):
            disk.pread(512, 4 * MIB)  # what was noticed once stays so until it is opened again
    with vhdx.open(big) as disk:
        store.client.delete_object(Bucket=store.bucket, Key="disks/big.vhdx")
        with pytest.raises(vhdx.ImageFailedError, match="replaced or removed"):
            disk.pread(512, 2 * MIB)


def test_a_store_that_heeds_no_conditions_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    """Its answers say themselves that they are of another object."""
    with serving({f"/{store.bucket}/big.vhdx": BIG.build()}) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        with vhdx.open(store.url("big.vhdx")) as disk:
            assert disk.pread(512, 20 * MIB) == pattern(20, 512)
            server.tag = '"2"'
            with pytest.raises(vhdx.ImageFailedError, match="replaced or removed"):
                disk.pread(512, 2 * MIB)


def test_a_parent_is_fetched_only_if_it_is_named(store: Store, tmp_path: Path) -> None:
    child, parent = store.put("child.vhdx", CHILD.build()), store.put("parent.vhdx", PARENT.build())
    with pytest.raises(vhdx.ParentNotFoundError):
        vhdx.open(child)
    assert not [path for path in store.proxy.told() if "parent" in path]
    for named in (parent, str(PARENT.write(tmp_path / "local.vhdx"))):
        with vhdx.open(child, parents=[named]) as disk:
            assert whole(disk) == PARENT.content()


def test_several_threads_read_at_once(big: str) -> None:
    content = BIG.content()

    def pattern_at(block: int) -> bytes:
        return content[block * MIB : (block + 1) * MIB]

    wrong: list[int] = []
    with vhdx.open(big) as disk:

        def read(first: int) -> None:
            found = (disk.pread(MIB, block * MIB) == pattern_at(block) for block in range(first, 24, 4))
            wrong.extend(index for index, right in enumerate(found) if not right)

        threads = [threading.Thread(target=read, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_pieces_of_the_map_are_on_their_way_together(store: Store, big: str, tmp_path: Path) -> None:
    """A conversion asks for the next pieces before it has the first: here none comes before."""
    asked_so_far: list[Asked] = []
    four = threading.Event()

    def wait_for_others(asked: Asked) -> None:
        if asked.length != MIB:
            return
        asked_so_far.append(asked)
        if len(asked_so_far) >= 4:
            four.set()
        assert four.wait(30)

    store.proxy.fault = wait_for_others
    made = vhdx.convert(big, tmp_path / "a.raw")
    assert made.data_size == 12 * MIB
    assert (tmp_path / "a.raw").read_bytes() == BIG.content()


@pytest.mark.parametrize(
    "fault",
    [Fault(0), Fault(429), Fault(500), Fault(503)],
    ids=["cut", "429", "500", "503"],
)
def test_what_passes_is_asked_again(store: Store, big: str, fault: Fault) -> None:
    """Of every request the first attempt fails."""
    failed: set[str] = set()
    lock = threading.Lock()

    def first_time(asked: Asked) -> Fault | None:
        with lock:
            if len(failed) > len(store.proxy.asked) // 2:
                return None
            failed.add(str(asked.number))
            return fault

    store.proxy.fault = first_time
    with vhdx.open(big) as disk:
        assert disk.pread(3 * MIB, 19 * MIB) == BIG.content()[19 * MIB : 22 * MIB]
    assert failed


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (Fault(0), ConnectionAbortedError, "did not answer"),
        (Fault(503), ConnectionAbortedError, "failed, also when it was asked again (503 SlowDown)"),
        (
            Fault(403, code="ExpiredToken"),
            PermissionError,
            "refuses it (403 ExpiredToken); credentials come from",
        ),
        (
            Fault(400, code="ExpiredToken"),
            PermissionError,
            "refuses it (400 ExpiredToken); credentials come from",
        ),
        (Fault(missing=1), ConnectionAbortedError, "delivered 65535 of 65536 bytes at offset"),
        (Fault(301, code="PermanentRedirect"), ConnectionAbortedError, "another region"),
    ],
    ids=["cut", "503", "expired", "expired, 400", "short", "region"],
)
def test_what_does_not_pass_is_an_error_without_secrets(
    store: Store, big: str, fault: Fault, kind: type[OSError], words: str
) -> None:
    with vhdx.open(big) as disk:
        store.proxy.fault = lambda _asked: fault
        with pytest.raises(kind) as caught:
            disk.pread(512, 20 * MIB)
        assert words in str(caught.value)
        assert caught.value.filename == big
        shown = "".join(traceback.format_exception(caught.value))
        assert (SECRET in shown, KEY_ID in shown) == (False, False)
        store.proxy.fault = lambda _asked: None
        assert disk.pread(512, 20 * MIB) == pattern(20, 512)


def test_no_secret_is_shown_when_a_store_answers_with_it(run_here: RunHere, store: Store, big: str) -> None:
    store.proxy.fault = lambda _asked: Fault(403, code="SignatureDoesNotMatch")
    done = run_here("check", big)
    assert (done.code, SECRET in done.err, "SignatureDoesNotMatch" in done.err) == (1, False, False)
    assert "the store refuses it (403)" in done.sentence


@pytest.mark.parametrize(
    "key", ["a b.vhdx", "a%b.vhdx", "a%20b.vhdx", "a#b?c.vhdx", "ä/~*{x}.vhdx", "a:b@c&d=e+f.vhdx"]
)
def test_keys_that_need_care(store: Store, key: str) -> None:
    url = store.put(key, PARENT.build())
    with vhdx.open(url) as disk:
        assert whole(disk) == PARENT.content()


@pytest.mark.parametrize(
    "url", ["s3://b", "s3://b/", "s3:///k", "s3://b//k", "s3://b/a/../k", "s3://b/k/", "s3://u:p@b/k"]
)
def test_what_names_no_object_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"key of an object|BUCKET/KEY") as caught:
        vhdx.open(url)
    assert "p@" not in str(caught.value)


def test_what_is_not_there(run_here: RunHere, store: Store) -> None:
    with pytest.raises(FileNotFoundError, match="no such object"):
        vhdx.open(store.url("none.vhdx"))
    done = run_here("info", store.url("none.vhdx"))
    assert (done.code, done.sentence) == (1, f"{store.url('none.vhdx')}: there is no such object")


def test_an_empty_object_and_reads_behind_the_end(store: Store) -> None:
    storage = object_storage(store.put("empty", b""))
    assert (storage.size(), storage.read(0, 0)) == (0, b"")
    with pytest.raises(OSError, match="ends inside 1 bytes"):
        storage.read(1, 0)
    storage.close()
    with pytest.raises(OSError, match="closed") as caught:
        storage.read(0, 0)
    assert caught.value.errno == errno.EBADF


def test_verbs_take_an_object(run_here: RunHere, store: Store) -> None:
    url = store.put("a.vhdx", PARENT.build())
    assert json.loads(run_here("info", "--json", url).out)["virtual_size"] == 2 * MIB
    assert vhdx.check(url).is_clean
    assert vhdx.content_hash(url).digest == vhdx.content_hash(store.put("a.raw", PARENT.content())).digest
    assert vhdx.compare(url, store.url("a.raw")).identical
    with pytest.raises(ValueError, match="only files of this host are written to"):
        vhdx.open(url, "r+")


def test_anonymous_requests_where_there_are_no_credentials(
    store: Store, big: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.client.put_object_acl(Bucket=store.bucket, Key="disks/big.vhdx", ACL="public-read")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with vhdx.open(big) as disk:
        assert disk.size == SIZE


def test_a_profile_of_the_aws_tools(
    store: Store, big: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(
        f"[profile mine]\nregion = eu-central-1\nendpoint_url = {store.proxy.url}\n"
    )
    (tmp_path / "credentials").write_text(
        f"[mine]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = x\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    with vhdx.open(big) as disk:
        assert disk.size == SIZE
    monkeypatch.setenv("AWS_PROFILE", "none")
    with pytest.raises(PermissionError, match=r"none.* could not be found; credentials come from"):
        vhdx.open(big)


def test_missing_packages_are_told(tmp_path: Path) -> None:
    (tmp_path / "obstore.py").write_text("raise ImportError\n")
    done = subprocess.run(
        [sys.executable, "-m", "vhdx", "info", "s3://b/a.vhdx"],
        env={"PYTHONPATH": f"{tmp_path}:{Path(vhdx.__file__).parents[1]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == 'vhdx: this needs packages that are not installed; try: pip install "vhdx[cloud]"\n'


def _google_at(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Google's store is behind this URL, for whoever it is."""
    account = {"gcs_base_url": url, "disable_oauth": True, "client_email": "", "private_key": ""}
    (folder / "account.json").write_text(json.dumps(account | {"private_key_id": ""}))
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(folder / "account.json"))


def test_google_cloud_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its addresses and ranges, against a server that knows no more of it than that."""
    with serving({"/bucket/disks/big.vhdx": BIG.build()}) as server:
        _google_at(server.url, tmp_path, monkeypatch)
        with vhdx.open("gs://bucket/disks/big.vhdx") as disk:
            assert whole(disk) == BIG.content()
        with pytest.raises(FileNotFoundError):
            vhdx.open("gs://bucket/none.vhdx")


_FAKE_GCS = Path(sys.prefix, "gcs", "fake-gcs-server")


@pytest.mark.slow
@pytest.mark.skipif(not _FAKE_GCS.exists(), reason="not built: fake-gcs-server (.ci/fake-gcs builds it)")
def test_google_cloud_storage_as_a_server_of_others_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "bucket" / "disks").mkdir(parents=True)
    (tmp_path / "data" / "bucket" / "disks" / "big.vhdx").write_bytes(BIG.build())
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = f"127.0.0.1:{free.getsockname()[1]}"
    words = ["-scheme", "http", "-host", "127.0.0.1", "-port", place.partition(":")[2], "-public-host", place]
    words += ["-backend", "memory", "-data", str(tmp_path / "data")]
    account = {
        "gcs_base_url": f"http://{place}",
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
    }
    (tmp_path / "account.json").write_text(json.dumps(account | {"private_key_id": ""}))
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "account.json"))
    upload = f"http://{place}/upload/storage/v1/b/bucket/o?uploadType=media&name=disks/big.vhdx"
    with subprocess.Popen([_FAKE_GCS, *words], stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            assert any("server started" in line for line in server.stderr)
            with vhdx.open("gs://bucket/disks/big.vhdx") as disk:
                assert whole(disk) == BIG.content()
            with pytest.raises(FileNotFoundError):
                vhdx.open("gs://bucket/none.vhdx")
            with vhdx.open("gs://bucket/disks/big.vhdx") as disk:
                with urllib.request.urlopen(urllib.request.Request(upload, data=BIG.build() + b"x")):
                    pass
                with pytest.raises(vhdx.ImageFailedError):
                    whole(disk)
        finally:
            server.kill()


def test_stores_that_are_set_up_in_no_way_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    with pytest.raises(
        PermissionError, match="Account must be specified; credentials come from AZURE_STORAGE"
    ):
        vhdx.open("az://container/a.vhd")
    assert address_from("AZ://container/a/b.vhd") == ("az", "container", "a/b.vhd")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "somebody")
    monkeypatch.setenv("AZURE_STORAGE_KEY", "no base64: hunter2")
    with pytest.raises(PermissionError, match="credentials come from") as caught:
        vhdx.open("az://container/a.vhd")
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_the_variables_of_azures_own_programs() -> None:
    words = "DefaultEndpointsProtocol=http;AccountName=one;AccountKey=a2V5==;BlobEndpoint=http://h/one;"
    assert azure_settings({"AZURE_STORAGE_CONNECTION_STRING": words, "AZURE_STORAGE_ACCOUNT": "two"}) == {
        "account_name": "one",
        "account_key": "a2V5==",
        "endpoint": "http://h/one",
    }
    assert azure_settings({"AZURE_STORAGE_ACCOUNT": "two", "AZURE_STORAGE_SAS_TOKEN": "sv=1&sig=2"}) == {
        "account_name": "two",
        "sas_key": "sv=1&sig=2",
    }


@pytest.mark.parametrize("query", ["sv=1&sig=", "X-Amz-Algorithm=1&X-Amz-Signature=", "x-goog-signature="])
@pytest.mark.parametrize("scheme", ["az", "s3", "gs"])
def test_a_signature_is_no_part_of_a_key(scheme: str, query: str) -> None:
    """It would stand in every message."""
    with pytest.raises(ValueError, match=f"{scheme}://b/a.vhdx: a signature is no part of a key") as caught:
        vhdx.open(f"{scheme}://b/a.vhdx?{query}hunter2")
    assert "hunter2" not in str(caught.value)
    assert address_from(f"{scheme}://b/what?.vhdx").key == "what?.vhdx"
