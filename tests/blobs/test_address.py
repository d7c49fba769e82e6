"""Which blob an address names, whose secret is used for it, and that no secret is shown."""

import shlex
import subprocess
from typing import Any

import pytest

from vhdx.ops.blobs.advice import after_upload, disk_name, room_for
from vhdx.storage.blob_address import blob_address, without_secrets

AZURE = "https://mine.blob.core.windows.net/disks/a.vhd"
MANAGED = "https://md-impexp-abc.z27.blob.storage.azure.net/xyz/abcd"
MINE = {"AZURE_STORAGE_ACCOUNT": "mine", "AZURE_STORAGE_KEY": "a2V5"}


@pytest.mark.parametrize(
    ("place", "environment", "url", "secrets"),
    [
        (AZURE, {}, AZURE, (None, None)),
        (f"{AZURE}?sv=1&sig=x", MINE, AZURE, ("sv=1&sig=x", None)),
        (AZURE, MINE, AZURE, (None, "a2V5")),
        (AZURE, {**MINE, "AZURE_STORAGE_ACCOUNT": "other"}, AZURE, (None, None)),
        (AZURE, {"AZURE_STORAGE_SAS_TOKEN": "?sv=1&sig=x"}, AZURE, ("sv=1&sig=x", None)),
        (MANAGED, {**MINE, "AZURE_STORAGE_SAS_TOKEN": "?sv=1&sig=x"}, MANAGED, ("sv=1&sig=x", None)),
        (MANAGED, MINE, MANAGED, (None, None)),
        (AZURE, {"AZURE_STORAGE_ACCOUNT": "other", "AZURE_STORAGE_SAS_TOKEN": "sig=x"}, AZURE, (None, None)),
        (
            "https://mine.example/disks/a.vhd",
            {**MINE, "AZURE_STORAGE_SAS_TOKEN": "sig=x"},
            None,
            (None, None),
        ),
        ("https://mine.example/disks/a.vhd", MINE, None, (None, None)),
        (
            "https://mine.own.example/disks/a.vhd",
            {
                "AZURE_STORAGE_CONNECTION_STRING": "AccountName=mine;BlobEndpoint=https://mine.own.example/;AccountKey=a2V5"
            },
            None,
            (None, "a2V5"),
        ),
        ("https://example.com/disks/a.vhd", {"AZURE_STORAGE_SAS_TOKEN": "sig=x"}, None, (None, None)),
        ("az://disks/a.vhd", MINE, AZURE, (None, "a2V5")),
        ("az://disks/a.vhd", {**MINE, "AZURE_STORAGE_SAS_TOKEN": "sig=x"}, AZURE, ("sig=x", None)),
        (
            "az://disks/d/a b.vhd",
            {"AZURE_STORAGE_CONNECTION_STRING": "AccountName=mine;AccountKey=a2V5==;EndpointSuffix=x.cn"},
            "https://mine.blob.x.cn/disks/d/a%20b.vhd",
            (None, "a2V5=="),
        ),
        (
            "az://disks/a.vhd",
            {
                "AZURE_STORAGE_CONNECTION_STRING": "BlobEndpoint=https://mine.blob.core.windows.net/;"
                "SharedAccessSignature=sv=1&sig=x%3D"
            },
            AZURE,
            ("sv=1&sig=x%3D", None),
        ),
    ],
)
def test_what_an_address_stands_for(
    place: str, environment: dict[str, str], url: str | None, secrets: tuple[str | None, str | None]
) -> None:
    address = blob_address(place, environment)
    assert address.url == (url or place)
    assert (address.sas, address.key) == secrets
    for secret in filter(None, secrets):
        assert secret not in repr(address)
        assert secret not in address.name


@pytest.mark.parametrize(
    "place",
    [
        *(
            "a.vhd",
            "s3://bucket/a.vhd",
            "az://disks",
            "az:///a.vhd",
            "az://disks/",
            "az://disks/a.vhd?sig=hunter2",
        ),
        *(f"{AZURE.rpartition('/')[0]}?sig=hunter2", "https://host/?sig=hunter2", "https://host"),
        *(
            "https://user:hunter2@host/disks/a.vhd",
            "http://mine.blob.core.windows.net/disks/a.vhd?sig=hunter2",
        ),
        *(f"{AZURE}#1.vhd?sig=hunter2", f"{AZURE}?sig=hunter2#", "https://user:hunter2\u2100@host/a/b"),
        *("https://[host/disks/a.vhd?sig=hunter2", "s3://me:hunter2@disks/a.vhd", "az://me:hunter2@disks"),
    ],
)
def test_what_is_no_address(place: str) -> None:
    with pytest.raises(ValueError, match=r"say|not used") as failed:
        blob_address(place, MINE)
    assert "hunter2" not in str(failed.value)
    assert "hunter2" not in without_secrets(place)


def test_whose_container_it_is_must_be_said() -> None:
    with pytest.raises(ValueError, match="AZURE_STORAGE_ACCOUNT"):
        blob_address("az://disks/a.vhd", {})


@pytest.mark.parametrize(
    ("place", "allows"),
    [
        (AZURE, True),
        (f"{AZURE}?sp=rw&sig=x", False),
        (f"{AZURE}?sp=rcw&sig=x", True),
        (f"{AZURE}?si=policy&sig=x", False),
        (MANAGED, False),
        (f"{MANAGED}?sp=rcw&sig=x", False),
    ],
)
def test_whether_a_blob_may_be_made(place: str, allows: bool) -> None:
    assert blob_address(place, {}).allows_creation is allows


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (AZURE, ["disk", "create", "--name", "a", "--source", AZURE]),
        (f"{AZURE[:-5]}it's%20%26.vhd?sig=hunter2", ["disk", "create", "--name", "it-s"]),
        (f"{MANAGED}?sig=hunter2", ["disk", "revoke-access", "--name", "my disk"]),
    ],
)
def test_what_comes_next_can_be_pasted(place: str, words: list[str]) -> None:
    """A shell makes one word of each that is meant to be one; the names are those that it is told."""
    line = after_upload(blob_address(place, {}))
    script = f'az() {{ printf "%s\\n" "$@"; }}; RESOURCE_GROUP="my group" DISK="my disk"; {line}'
    got = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [word for word in got if word in words] == words
    assert got[got.index("--resource-group") + 1] == "my group"
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("blob", "name"),
    [
        ("a.vhd", "a"),
        ("d/e/My Disk (1).VHD", "My-Disk-1"),
        ("...vhd", "disk"),
        ("x" * 200, "x" * 80),
        ("é", "disk"),
    ],
)
def test_names_of_disks_are_those_that_azure_takes(blob: str, name: str) -> None:
    assert disk_name(blob) == name


def test_room_for_an_upload() -> None:
    words: list[Any] = shlex.split(room_for(1024**3 + 512))
    assert words[-2:] == ["--upload-size-bytes", "1073742336"]
