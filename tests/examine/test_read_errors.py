"""A host that cannot read one structure of an image: what each verb makes of it.

What stands twice is read from its other copy by every verb. Of what stands once the plain verbs say where it
is and what goes on; salvage takes it for zeros, and what depends on it is doubtful.
"""

import errno
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import run
from tests.examine.losing import BLOCKS, KINDS, Subject, read_wholly, subject
from tests.examine.test_losses import wrong_pages
from tests.examine.test_payload import put
from tests.nbd.client import READ, Client
from tests.nbd.serving import served
from tests.support.layout import MIB
from tests.support.reading import whole
from tests.support.shell import words_of
from tests.support.sparse import PAGE
from tests.support.unreadable import UnreadableHost
from vhdx.disk.open import open_any, open_disk
from vhdx.ops.dump import contents, dump
from vhdx.ops.info import info
from vhdx.ops.log import open_log

TWICE = ["header 1", "header 2", "region table 1", "region table 2"]
ONCE = ["identifier", "metadata table", "metadata items", "BAT"]


def _read(path: Path) -> None:
    with vhdx.open(path) as disk:
        read_wholly(disk)


def _write(path: Path) -> None:
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(b"new", (BLOCKS - 1) * MIB)
        disk.flush()


def _log(path: Path) -> None:
    with open_log(path):
        pass


def _dump(path: Path) -> None:
    for name in ("identifier", "headers", "regions", "metadata", "bat"):
        list(dump(path, name))
    list(contents(path))


VERBS: dict[str, Callable[[Path], object]] = {
    "read": _read,
    "write": _write,
    "check": vhdx.check,
    "info": info,
    "dump": _dump,
    "log": _log,
    "measure": vhdx.measure,
    "convert": lambda path: vhdx.convert(path, path.with_name("target.raw"), overwrite=True),
    "compact": vhdx.compact,
    "compact --dry-run": lambda path: vhdx.compact(path, dry_run=True),
    "resize": lambda path: vhdx.resize(path, "+64M"),
    "set": lambda path: vhdx.set_properties(path, disk_id="new"),
    "set --type": lambda path: vhdx.set_properties(path, disk_type="fixed"),
    "metadata": lambda path: vhdx.set_user_item(path, "12345678-9abc-def0-1234-56789abcdef0", b"x"),
}


def unreadable(
    patch: pytest.MonkeyPatch, image: Subject, name: str, folder: Path
) -> tuple[Path, UnreadableHost]:
    """The image with a first sector of a structure that the host cannot read."""
    patch.setattr(os, "fdatasync", lambda _: None)
    path = put(image.content, folder / "image.vhdx")
    start = image.places[name][0]
    return path, UnreadableHost(patch, path, [(start, start + 512)])


@pytest.mark.parametrize(("name", "is_dirty"), list(zip(TWICE, (False, True, True, False), strict=True)))
def test_every_verb_reads_the_other_copy(name: str, is_dirty: bool, tmp_path: Path) -> None:
    for verb in VERBS.values():
        with pytest.MonkeyPatch.context() as patch:
            path, _ = unreadable(patch, subject("dynamic", 512, is_dirty), name, tmp_path)
            verb(path)


@pytest.mark.parametrize("name", ONCE)
def test_plain_verbs_say_where_and_what_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = subject("dynamic", 512, False)
    path, host = unreadable(monkeypatch, image, name, tmp_path)
    for verb in (_read, _write, VERBS["convert"], VERBS["compact"]):
        host.reads.clear()
        with pytest.raises(OSError, match="copy the file with ddrescue") as caught:
            verb(path)
        assert caught.value.errno == errno.EIO
        assert "file offset" in str(caught.value)
        assert f"vhdx convert --salvage {path} SALVAGED.vhdx" in str(caught.value)
        assert sum(failed for _, _, failed in host.reads) <= 3, "nothing is tried again and again"
    codes = vhdx.check(path).codes
    assert codes["host.read_error"] == 1
    repaired = vhdx.repair(path, rebuild=True, accept_data_loss=True)
    assert not repaired.done
    assert "copy it with ddrescue" in (repaired.refused or "")
    _dump(path)


@pytest.mark.parametrize("is_dirty", [False, True], ids=["clean", "dirty"])
@pytest.mark.parametrize("kind", KINDS)
def test_salvage_reads_around_every_structure(kind: str, is_dirty: bool, tmp_path: Path) -> None:
    image = subject(kind, 512, is_dirty)
    for name in image.places:
        with pytest.MonkeyPatch.context() as patch:
            path, _ = unreadable(patch, image, name, tmp_path)
            try:
                disk = vhdx.open(path, salvage=True)
            except vhdx.CorruptImageError as error:
                assert name == "metadata items"
                assert "--virtual-size" in str(error)  # noqa: PT017
                continue
            with disk:
                assert wrong_pages(image, read_wholly(disk)) == [], name


def test_a_client_gets_zeros_and_the_ranges_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Served with --salvage; served without it, the client gets an error there, and nowhere else."""
    image = subject("dynamic", 512, False)
    path = put(image.content, tmp_path / "image.vhdx")
    place = image.image.plan().blocks[4]
    host = UnreadableHost(monkeypatch, path, [(place + 512, place + 1024)])
    expected = bytearray(image.disk[4 * MIB // PAGE])
    with open_any(str(path), salvage=True) as disk, served(tmp_path, disk) as running:
        with Client.opened(running.address) as client:
            expected[512:1024] = bytes(512)
            assert client.read(4 * MIB, PAGE) == expected
            tries = sum(failed for _, _, failed in host.reads)
            assert client.read(4 * MIB, PAGE) == expected
        assert sum(failed for _, _, failed in host.reads) == tries
        assert [(doubt.offset, doubt.length) for doubt in disk.doubts] == [(4 * MIB + 512, 512)]
    with (
        open_any(str(path)) as plain,
        served(tmp_path, plain) as running,
        Client.opened(running.address) as client,
    ):
        assert client.ask(READ, 4 * MIB, PAGE).error == errno.EIO
        assert client.ask(READ, 4 * MIB + 512, 512).error == errno.EIO
        assert client.read(4 * MIB + 1024, PAGE - 1024) == expected[1024:]
        assert client.read(4 * MIB, 512) == expected[:512]


@pytest.mark.parametrize("bad", [1, 3, 20])
def test_reads_become_small_only_around_what_fails(
    bad: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call for each piece of the conversion; about twenty more for each place that fails; none twice."""
    image = subject("fixed", 512, False)
    path = put(image.content, tmp_path / "image.vhdx")
    with open(path, "r+b") as file:  # without holes, so that everything is read
        file.seek(image.image.plan().blocks_offset)
        file.write(b"x" * BLOCKS * MIB)
    places = [image.image.plan().blocks[number] + 5 * PAGE for number in range(0, 4 * bad, 4)]
    host = UnreadableHost(monkeypatch, path, [(at, at + 512) for at in places])
    with vhdx.open(path, salvage=True) as disk:
        host.reads.clear()
        whole(disk)
        assert len(list(disk.doubts)) == bad
    data = [read for read in host.reads if read[0] >= image.image.plan().blocks_offset]
    assert len(data) <= BLOCKS + 24 * bad
    done = sorted((offset, offset + length) for offset, length, failed in data if not failed)
    assert all(end <= start for (_, end), (start, _) in pairwise(done)), "nothing is read twice"
    assert sum(failed and length == 512 for _, length, failed in data) == bad, "no sector is tried twice"


@pytest.mark.parametrize("structure", ["metadata", "BAT", "block"])
def test_the_advice_saves_the_disk_that_was_read_and_not_a_layer_of_it(
    structure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parent elsewhere: what is printed is run as it stands, and gives what the leaf shows."""
    folder = tmp_path / "the parents"
    folder.mkdir()
    parent, child = folder / "base.vhdx", tmp_path / "leaf.vhdx"
    vhdx.create(parent, 64 * MIB, block_size=MIB)
    with vhdx.open(parent, "r+") as disk:
        disk.pwrite(b"parent" * 700, 0)
    vhdx.create(child, parent=parent)
    with vhdx.open(child, "r+") as disk:
        disk.pwrite(b"child", 50 * MIB)
    with open_disk(child, parents=vhdx.ParentPolicy(directories=(str(folder),))) as disk:
        layer = disk.layers[1]
        block = layer.reader.locate(0, 512)
        regions = layer.regions
        start = {"metadata": regions.metadata.file_offset, "BAT": regions.bat.file_offset, "block": block}[
            structure
        ]
    UnreadableHost(monkeypatch, parent, [(start, start + 512)])
    with (
        pytest.raises(OSError, match="copy the file with ddrescue") as caught,
        vhdx.open(child, parents=vhdx.ParentPolicy(directories=(str(folder),))) as disk,
    ):
        whole(disk)
    words = words_of(str(caught.value.strerror).rpartition("save everything else: ")[2])
    assert words == ["vhdx", "convert", "--salvage", str(child), "SALVAGED.vhdx", "--parent-dir", str(folder)]
    assert run(*words[1:], cwd=tmp_path).code == 0  # in a process of its own the host can read everything
    with vhdx.open(tmp_path / "SALVAGED.vhdx") as disk:
        assert disk.pread(5, 50 * MIB) == b"child"
        assert disk.pread(6, 0) == b"parent"
