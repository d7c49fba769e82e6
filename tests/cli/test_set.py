"""``vhdx set`` and ``vhdx metadata`` as people type them."""

import json
import subprocess
from pathlib import Path

from .running import COMMAND, USAGE, run, succeed

ID = "12345678-9abc-def0-1234-56789abcdef0"


def test_set_says_what_the_image_is_and_warns_of_children(tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    succeed("create", path, "8M")
    done = run("set", path, "--disk-id", ID, "--physical-sector-size", "512")
    assert done.code == 0
    assert f"dynamic, 512 bytes in a physical sector, disk id {ID}" in done.out
    assert "vhdx rebase CHILD --parent IMAGE --ignore-identity" in done.err
    again = run("set", path, "--disk-id", ID)
    assert again.out.endswith("nothing changed\n")
    assert again.err == ""
    found = json.loads(succeed("set", path, "--type", "fixed", "--json"))
    assert found["changed"] == ["disk_type"]
    assert found["new_identity"] is False


def test_set_wants_to_know_what(tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    succeed("create", path, "8M")
    assert run("set", path).code == USAGE
    assert run("set", path, "--disk-id", "none").code == USAGE
    assert run("set", path, "--physical-sector-size", "1024").code == USAGE
    assert run("set", path, "--type", "differencing").code == USAGE


def test_items_from_files_and_streams(tmp_path: Path) -> None:
    path, value, out = tmp_path / "a.vhdx", tmp_path / "value", tmp_path / "out"
    succeed("create", path, "8M")
    value.write_bytes(bytes(range(256)) * 100)
    done = run("metadata", "set", path, ID, value, "--disk")
    assert done.code == 0
    assert "rebase CHILD" in done.err
    assert run("metadata", "get", path, ID, "--output", out).code == 0
    assert out.read_bytes() == value.read_bytes()
    assert run("metadata", "get", path, ID, "--output", out).code == 1
    command = [*COMMAND, "metadata", "set", str(path), ID]
    subprocess.run(command, input=b"\x00\xff piped", check=True, capture_output=True)
    got = subprocess.run([*COMMAND, "metadata", "get", str(path), ID], check=True, capture_output=True)
    assert got.stdout == b"\x00\xff piped"
    assert succeed("metadata", "list", path) == f"{ID}  8 bytes  disk\n"
    assert json.loads(succeed("metadata", "list", path, "--json"))["items"][0]["item_id"] == ID
    assert run("metadata", "delete", path, ID).code == 0
    assert succeed("metadata", "list", path) == ""
    assert run("metadata", "delete", path, ID).code == USAGE


def test_more_than_a_mebibyte_is_refused(tmp_path: Path) -> None:
    path, value = tmp_path / "a.vhdx", tmp_path / "value"
    succeed("create", path, "8M")
    value.write_bytes(bytes((1 << 20) + 1))
    assert "at most 1 MiB" in run("metadata", "set", path, ID, value).sentence
