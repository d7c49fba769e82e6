"""``vhdx serve`` as a command: what it refuses before it listens."""

from pathlib import Path

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.patterns import pattern
from vhdx.disk.open import open_disk

from .running import USAGE, run

SIZE = 8 * MIB


@pytest.fixture(name="image")
def _image(tmp_path: Path) -> Path:
    path = tmp_path / "a disk.vhdx"
    vhdx.create(path, SIZE, block_size=MIB)
    with open_disk(path, "r+") as disk:
        disk.pwrite(pattern(1, 2 * MIB), MIB)
    return path


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--bind", "0.0.0.0"), "can be reached from other machines"),
        (("--bind", "::"), "can be reached from other machines"),
        (("--socket", "s", "--port", "1"), "--socket is a Unix socket"),
        (("--name", "x", "other.vhdx"), "--name goes with one image"),
        (("--name", "n" * 256), "--name takes up to 255 bytes"),
        (("--name", "\udcff"), "--name takes up to 255 bytes"),
        (("-f", "raw", "--snapshot"), "not with raw disks"),
        (("--write", "--snapshot"), "say one of them"),
        (("--partition", "7"), "7"),
        ((), "Missing argument"),
    ],
)
def test_what_is_refused(words: tuple[str, ...], sentence: str, image: Path) -> None:
    ran = run("serve", *([image] if words else []), *words, cwd=image.parent)
    assert ran.code == USAGE
    assert sentence in ran.err
    assert not ran.out


def test_a_raw_disk_is_written_to_only_where_it_is_said_to_be_raw(tmp_path: Path) -> None:
    """Else a guest could begin it like an image that names files of the host, and have it read as one."""
    raw = tmp_path / "disk.img"
    raw.write_bytes(bytes(MIB))
    done = run("serve", raw, "--write", "--once")
    assert done.code == USAGE
    assert "say -f raw" in done.err


def test_two_images_of_one_name_are_refused(image: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / image.name).write_bytes(image.read_bytes())
    assert "two images are named" in run("serve", image, tmp_path / "b" / image.name).err


def test_two_images_that_clients_are_told_alike_are_refused(image: Path, tmp_path: Path) -> None:
    for name in ("a\x01", "a\\x01"):
        (tmp_path / name).write_bytes(image.read_bytes())
    assert "two images are named" in run("serve", tmp_path / "a\x01", tmp_path / "a\\x01").err


def test_a_certificate_that_is_none(image: Path, tmp_path: Path) -> None:
    assert "ca-cert.pem" in run("serve", image, "--tls", tmp_path).sentence
    (tmp_path / "ca-cert.pem").write_text("no certificate")
    (tmp_path / "server-cert.pem").write_text("no certificate")
    (tmp_path / "server-key.pem").write_text("no certificate")
    assert "no certificate that can be used" in run("serve", image, "--tls", tmp_path).sentence


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--run", "true", "--once"), "leave out --once"),
        (("--run", "true", "--json"), "leave out --json"),
        (("--timeout", "1"), "--timeout goes with --once"),
    ],
)
def test_what_does_not_go_with_run_and_timeout(words: tuple[str, ...], said: str, image: Path) -> None:
    done = run("serve", image, *words)
    assert (done.code, said in done.err) == (USAGE, True)
