"""Disks that are written to S3: what others get there is right, and it is there whole or not at all."""

import hashlib
import json
import re
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

import vhdx
from tests.cli.running import COMMAND, USAGE
from tests.support.layout import MIB
from tests.support.naive import naive_content
from tests.support.patterns import pattern
from tests.support.tools import needs
from vhdx.cli.exit_codes import EXIT_INTERRUPTED
from vhdx.cli.main import exit_code_of
from vhdx.storage import multipart, s3_uploads
from vhdx.storage.uploading import UploadingStorage

from .store import KEY_ID, SECRET, Asked, Fault, RunHere, Store

SIZE = 6 * MIB + 4096
QEMU = {"vhd": "vpc", "vhdx": "vhdx", "raw": "raw"}
TARGETS: list[tuple[str, dict[str, Any]]] = [
    ("a.raw", {}),
    ("a.vhd", {}),
    ("dynamic.vhd", {"disk_type": "dynamic"}),
    ("a.vhdx", {}),
    ("small.vhdx", {"block_size": MIB}),
    ("fixed.vhdx", {"disk_type": "fixed", "log_size": 3 * MIB}),
    ("4k.vhdx", {"block_size": MIB, "logical_sector_size": 4096}),
]
GONE_ON_WITH = [TARGETS[0], TARGETS[2], TARGETS[4]]


def content() -> bytes:
    """Blocks of data, of zeros, and of nothing; an end that is no whole MiB."""
    data = bytearray(SIZE)
    for block in (0, 1, 4):
        data[block * MIB + 512 : block * MIB + 700_000] = pattern(block, 700_000 - 512)
    data[-100:] = pattern(99, 100)
    return bytes(data)


CONTENT = content()


@pytest.fixture(name="raw")
def _raw(tmp_path: Path) -> Path:
    """The disk as a file with holes."""
    path = tmp_path / "source.raw"
    with path.open("wb") as file:
        for start in range(0, SIZE, 4096):
            piece = CONTENT[start : start + 4096]
            if piece.strip(b"\0"):
                file.seek(start)
                file.write(piece)
        file.truncate(SIZE)
    return path


@pytest.fixture(name="small_parts", autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects of some MiB have several parts."""
    monkeypatch.setattr(multipart, "SMALLEST_PART", MIB)


def as_others_read(image: Path, image_format: str) -> bytes:
    """The disk as QEMU has it; of sectors of 4096 bytes, which it does not know, as the naive reader does."""
    if image.name.startswith("4k"):
        return naive_content(image, 0, SIZE)
    out = image.with_name("out")
    line = ["qemu-img", "convert", "-f", QEMU[image_format], "-O", "raw", str(image), str(out)]
    subprocess.run(line, check=True)
    return out.read_bytes()


def nothing_is_left(store: Store) -> bool:
    return not store.keys() and not store.uploads()


@needs("qemu-img")
@pytest.mark.parametrize(("name", "options"), TARGETS, ids=[name for name, _ in TARGETS])
def test_what_others_get_is_the_disk(
    store: Store, raw: Path, tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    made = vhdx.convert(raw, store.url(name), options=vhdx.ImageOptions(**options))
    data = store.get(name)
    (tmp_path / name).write_bytes(data)
    assert made.file_size == len(data)
    assert not store.uploads()
    found = as_others_read(tmp_path / name, made.target_format)
    assert found.startswith(CONTENT)
    assert not found[SIZE:].strip(b"\0")
    with vhdx.open(store.url(name), parents=()) as disk:
        assert disk.pread(SIZE, 0) == CONTENT
    if name != "a.raw":
        assert vhdx.check(tmp_path / name).is_clean
    # Part one goes last, on its own; the others are all there by then.
    assert sent(store)[-1] == 1
    assert sorted(sent(store)) == list(range(1, -(-len(data) // MIB) + 1))


def test_from_an_object_into_another(store: Store, raw: Path) -> None:
    vhdx.convert(raw, store.url("a.vhdx"), options=vhdx.ImageOptions(block_size=MIB))
    made = vhdx.convert(store.url("a.vhdx"), store.url("b.raw"))
    assert (made.source_format, store.get("b.raw")) == ("vhdx", CONTENT)
    with pytest.raises(ValueError, match="is the source or one of its parents"):
        vhdx.convert(store.url("a.vhdx"), store.url("a.vhdx"), overwrite=True)


def test_a_chain_and_a_pipe(store: Store, raw: Path, tmp_path: Path) -> None:
    vhdx.convert(raw, tmp_path / "base.vhdx")
    vhdx.create(tmp_path / "child.avhdx", parent=tmp_path / "base.vhdx")
    with vhdx.open(tmp_path / "child.avhdx", "r+") as disk:
        disk.pwrite(b"new", 3 * MIB)
    vhdx.convert(tmp_path / "child.avhdx", store.url("chain.raw"))
    assert store.get("chain.raw") == CONTENT[: 3 * MIB] + b"new" + CONTENT[3 * MIB + 3 :]
    with raw.open("rb") as source:
        line = ["cat", str(raw)]
        with subprocess.Popen(line, stdin=source, stdout=subprocess.PIPE) as cat:
            done = subprocess.run(
                [*COMMAND, "convert", "-O", "vhdx", "-", store.url("piped.vhdx")],
                stdin=cat.stdout,
                capture_output=True,
                check=False,
            )
    assert done.returncode == 0, done.stderr
    with vhdx.open(store.url("piped.vhdx")) as disk:
        assert disk.pread(SIZE, 0) == CONTENT


def test_an_object_that_is_there_stays_or_is_replaced(run_here: RunHere, store: Store, raw: Path) -> None:
    store.put("a.raw", b"old")
    done = run_here("convert", raw, store.url("a.raw"))
    assert (done.code, done.sentence) == (1, f"{store.url('a.raw')} exists already; --force replaces it")
    assert store.get("a.raw") == b"old"
    assert store.proxy.told("POST") == []
    done = run_here("convert", raw, store.url("a.raw"), "--force")
    assert (done.code, store.get("a.raw")) == (0, CONTENT)


def test_an_object_that_comes_meanwhile_stays(store: Store, raw: Path) -> None:
    def put(asked: Asked) -> None:
        if asked.method == "POST" and "uploadId" in asked.path:
            store.put("a.raw", b"somebody's")

    store.proxy.fault = put
    with pytest.raises(FileExistsError):
        vhdx.convert(raw, store.url("a.raw"))
    assert (store.get("a.raw"), store.uploads()) == (b"somebody's", [])


def test_places_that_do_not_go_together(run_here: RunHere, store: Store, raw: Path, tmp_path: Path) -> None:
    for line, words in (
        (["convert", raw, store.url("a.vhdx"), "--clone", "always"], "share"),
        (["convert", raw, store.url("a.vhdx"), "--verify"], "are read back (--verify)"),
        (
            ["convert", raw, tmp_path / "a.vhdx", "--resume", tmp_path / "j"],
            "only what is written to an object store",
        ),
        (["convert", raw, store.url("a")], "suffix"),
        (["convert", raw, "s3://bucket//a.vhdx"], "no empty parts"),
        (["create", store.url("a.vhdx"), "1M"], "only files of this host"),
    ):
        done = run_here(*line)
        assert (done.code, words in done.err) == (USAGE, True), done.err
    assert nothing_is_left(store)


# What goes wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(0), id="cut", marks=pytest.mark.slow),
        pytest.param(Fault(0, passed=True), id="cut behind"),
        pytest.param(Fault(429), id="429"),
        pytest.param(Fault(500), id="500", marks=pytest.mark.slow),
        pytest.param(Fault(503), id="503", marks=pytest.mark.slow),
        pytest.param(Fault(400, code="RequestTimeout"), id="slow"),
    ],
)
def test_each_request_that_fails_once_is_sent_again(store: Store, raw: Path, fault: Fault) -> None:
    """In front of the store and behind it: what was done twice is there once."""
    failed: set[tuple[str, str]] = set()
    lock = threading.Lock()

    def once(asked: Asked) -> Fault | None:
        request = (asked.method, re.sub("uploadId=[^&]*", "", asked.path))
        with lock:
            if request in failed:
                return None
            failed.add(request)
        return fault if fault.status != 400 or asked.part else None  # a code stands in a body

    store.proxy.fault = once
    made = vhdx.convert(raw, store.url("a.raw"))
    assert len(failed) >= -(-made.file_size // MIB) + 3  # looked for, begun, each part, completed
    assert store.get("a.raw") == CONTENT
    assert len(store.uploads()) == fault.passed  # begun, and the answer lost: nobody knows its name


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(0), id="cut"),
        pytest.param(Fault(503), id="503", marks=pytest.mark.slow),
        pytest.param(Fault(403, code="ExpiredToken"), id="expired"),
        pytest.param(Fault(400, code="InvalidPart"), id="refused", marks=pytest.mark.slow),
    ],
)
def test_what_fails_for_good_leaves_nothing(store: Store, raw: Path, fault: Fault) -> None:
    """At each request of an upload, from then on; but for those by which it is aborted."""
    vhdx.convert(raw, store.url("counted.raw"))
    store.client.delete_object(Bucket=store.bucket, Key="counted.raw")
    count = len(store.proxy.asked)
    for first in (2, count // 2, count):
        start = len(store.proxy.asked)

        def from_then_on(asked: Asked, start: int = start, first: int = first) -> Fault | None:
            is_abort = asked.method == "DELETE"
            return fault if asked.number >= start + first and not is_abort else None

        store.proxy.fault = from_then_on
        with pytest.raises(OSError, match="store") as caught:
            vhdx.convert(raw, store.url("a.raw"))
        assert SECRET not in str(caught.value)
        assert KEY_ID not in str(caught.value)
        assert nothing_is_left(store), first


def test_an_upload_that_cannot_be_aborted_is_named(store: Store, raw: Path) -> None:
    store.proxy.fault = lambda asked: Fault(0) if asked.number > 4 else None
    with pytest.raises(OSError, match="nor could the upload be aborted") as caught:
        vhdx.convert(raw, store.url("a.raw"))
    (left,) = store.uploads()
    assert left in str(caught.value)
    assert not store.keys()


class Interrupted:
    """Ctrl-C before a write to the object of this number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = self.moment = 0
        write = UploadingStorage.write_at

        def counted(*arguments: Any) -> None:
            self.count += 1
            if self.count == self.moment:
                raise KeyboardInterrupt
            write(*arguments)

        monkeypatch.setattr(UploadingStorage, "write_at", counted)

    def run(self, moment: int, *line: str | Path) -> int:
        self.count, self.moment = 0, moment
        return exit_code_of(list(map(str, line)))


def test_ctrl_c_leaves_nothing_or_what_is_gone_on_with(
    store: Store,
    raw: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    interrupted, url = Interrupted(monkeypatch), store.url("a.vhdx")
    assert interrupted.run(0, "convert", raw, store.url("counted.vhdx")) == 0
    store.client.delete_object(Bucket=store.bucket, Key="counted.vhdx")
    last = interrupted.count
    for moment in (1, last // 2, last):
        capfd.readouterr()
        assert interrupted.run(moment, "convert", raw, url) == EXIT_INTERRUPTED
        assert (
            "is as it was, or whole if all had been sent; no other part of it is seen"
            in capfd.readouterr().err
        )
        assert nothing_is_left(store)
    line: list[str | Path] = ["convert", raw, url, "--resume", tmp_path / "journal"]
    assert interrupted.run(last, *line) == EXIT_INTERRUPTED
    assert "the same command goes on from" in capfd.readouterr().err
    assert (store.keys(), len(store.uploads())) == ([], 1)
    assert interrupted.run(0, *line) == 0
    with vhdx.open(url) as disk:
        assert disk.pread(SIZE, 0) == CONTENT


@pytest.mark.parametrize("resumes", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_killed_upload_is_no_object(
    run_here: RunHere, store: Store, tmp_path: Path, resumes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts are held back until it was killed; what had arrived does not go again."""
    part = 8 * MIB
    monkeypatch.setattr(multipart, "SMALLEST_PART", part)  # as it is in the process that is killed
    raw, journal = tmp_path / "large.raw", tmp_path / "journal"
    raw.write_bytes(b"".join(pattern(number, 4096).ljust(part, b"\0") for number in range(6)))
    held, arrived = threading.Event(), threading.Event()

    def hold(asked: Asked) -> None:
        if asked.part > 3:
            arrived.set()
            held.wait(60)

    store.proxy.fault = hold
    line: list[str | Path] = ["convert", raw, store.url("a.raw"), *(("--resume", journal) if resumes else ())]
    with subprocess.Popen([*COMMAND, *map(str, line)]) as process:
        assert arrived.wait(60)
        while resumes and journal.read_bytes().count(b"\n") < 3:
            assert process.poll() is None
        process.kill()
    store.proxy.fault = lambda _asked: None
    held.set()
    assert (store.keys(), len(store.uploads())) == ([], 1)
    store.proxy.asked.clear()
    done = run_here(*line)
    assert (done.code, store.get("a.raw")) == (0, raw.read_bytes())
    assert len(store.uploads()) == (0 if resumes else 1)
    if resumes:
        assert not {2, 3} & set(sent(store))
        assert "the store had" in done.err


# Going on ----------------------------------------------------------------------------------------


def sent(store: Store) -> list[int]:
    """The numbers of the parts that arrived, in order."""
    return [asked.part for asked in store.proxy.asked if asked.part]


@pytest.mark.parametrize(("name", "options"), GONE_ON_WITH, ids=[name for name, _ in GONE_ON_WITH])
def test_an_upload_goes_on_where_it_was_broken_off(
    store: Store, raw: Path, tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    journal = tmp_path / "journal"
    chosen = vhdx.ImageOptions(**options)
    store.proxy.fault = lambda asked: Fault(403) if asked.part == 4 else None
    with pytest.raises(PermissionError, match=r"the same command goes on from .*journal"):
        vhdx.convert(raw, store.url(name), options=chosen, resume=journal)
    assert (store.keys(), len(store.uploads()), journal.exists()) == ([], 1, True)
    noted = {json.loads(line)[0] for line in journal.read_bytes().splitlines()[1:]}
    store.proxy.fault = lambda _asked: None
    store.proxy.asked.clear()
    made = vhdx.convert(raw, store.url(name), options=chosen, resume=journal)
    again = noted & set(sent(store))
    # What holds a new identity or date goes again: the metadata of a VHDX, the footer of a VHD.
    assert again <= ({3} if made.target_format == "vhdx" else {-(-made.file_size // MIB)})
    assert (store.uploads(), journal.exists()) == ([], False)
    with vhdx.open(store.url(name)) as disk:
        assert disk.pread(SIZE, 0) == CONTENT
    if made.target_format != "raw":
        assert vhdx.check(store.url(name)).is_clean
    assert any("parts already" in remark for remark in made.remarks) == bool(noted)


def test_what_differs_is_not_gone_on_with(store: Store, raw: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    store.proxy.fault = lambda asked: Fault(403) if asked.part == 4 else None
    with pytest.raises(PermissionError):
        vhdx.convert(raw, store.url("a.raw"), resume=journal)
    store.proxy.fault = lambda _asked: None
    for key, options, words in (
        ("b.raw", None, "another target"),
        ("a.raw", vhdx.ImageOptions(block_size=MIB), "another made"),
    ):
        with pytest.raises(ValueError, match=words):
            vhdx.convert(
                raw,
                store.url(key),
                target_format="raw" if options is None else "vhdx",
                options=options,
                resume=journal,
            )
    with raw.open("r+b") as file:
        file.write(b"changed")
    with pytest.raises(ValueError, match="another source"):
        vhdx.convert(raw, store.url("a.raw"), resume=journal)
    assert not store.keys()


def test_a_journal_of_an_upload_that_is_gone(store: Store, raw: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    store.proxy.fault = lambda asked: Fault(403) if asked.part == 4 else None
    with pytest.raises(PermissionError):
        vhdx.convert(raw, store.url("a.raw"), resume=journal)
    store.proxy.fault = lambda _asked: None
    (upload,) = store.uploads()
    store.client.abort_multipart_upload(Bucket=store.bucket, Key="a.raw", UploadId=upload)
    with pytest.raises(ValueError, match="does not know any more: remove it to begin anew"):
        vhdx.convert(raw, store.url("a.raw"), resume=journal)


@pytest.mark.parametrize(
    "tail",
    [b"[7, 10", b"\0" * 100 + b"\n", b'[2, 1048576, "00", "x"]\n', b'[0, 0, 0, 0]\n{}\n"x"\n[1e400]\n'],
)
def test_a_torn_or_hostile_journal_is_never_believed(
    store: Store, raw: Path, tmp_path: Path, tail: bytes
) -> None:
    """Parts that it tells wrongly of go again: they are compared with what they are to be."""
    journal = tmp_path / "journal"
    store.proxy.fault = lambda asked: Fault(403) if asked.part == 5 else None
    with pytest.raises(PermissionError):
        vhdx.convert(raw, store.url("a.raw"), resume=journal)
    store.proxy.fault = lambda asked: Fault(403) if asked.part == 1 else None
    journal.write_bytes(journal.read_bytes() + tail)
    with pytest.raises(PermissionError):
        vhdx.convert(raw, store.url("a.raw"), resume=journal)
    store.proxy.fault = lambda _asked: None
    vhdx.convert(raw, store.url("a.raw"), resume=journal)
    assert hashlib.sha256(store.get("a.raw")).digest() == hashlib.sha256(CONTENT).digest()


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b"no journal\n", b'{"vhdx-upload": 2}\n', b"[" * 100_000]
)
def test_what_is_no_journal_is_left_as_it_is(store: Store, raw: Path, tmp_path: Path, text: bytes) -> None:
    (tmp_path / "journal").write_bytes(text)
    with pytest.raises(ValueError, match="is no journal of an upload"):
        vhdx.convert(raw, store.url("a.raw"), resume=tmp_path / "journal")
    assert (tmp_path / "journal").read_bytes() == text
    assert nothing_is_left(store)


@pytest.mark.parametrize(
    ("size", "part_size", "at_once"),
    [(1, 8, 8), (78 << 30, 8, 8), (79 << 30, 9, 7), (1 << 40, 105, 1), (5 << 40, 525, 1)],
)
def test_how_objects_are_cut(
    size: int, part_size: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multipart, "SMALLEST_PART", 8 * MIB)
    found = multipart.PartSizes.of(size, s3_uploads.LIMITS)
    assert found == (part_size * MIB, at_once)
    assert found.part_size * 10000 >= size
    with pytest.raises(ValueError, match="at most 10000 parts"):
        multipart.PartSizes.of(50_001 << 30, s3_uploads.LIMITS)


def test_a_failure_does_not_wait_for_what_would_be_asked_again(
    store: Store, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each other part would be sent again for a year: it is given up with the one that failed."""
    both = threading.Barrier(2)

    def fail(asked: Asked) -> Fault | None:
        if asked.part not in (3, 4):
            return None
        both.wait(30)
        return Fault(503 if asked.part == 3 else 403)

    monkeypatch.setattr(s3_uploads, "delays", lambda: iter([86400.0] * 365))
    store.proxy.fault = fail
    with pytest.raises(PermissionError):
        vhdx.convert(raw, store.url("a.raw"))
    assert nothing_is_left(store)


def test_the_journal_has_no_password_of_the_endpoint(
    store: Store, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.proxy.url.replace("://", f"://me:{SECRET}@"))
    store.proxy.fault = lambda asked: Fault(403) if asked.part == 3 else None
    with pytest.raises(PermissionError):
        vhdx.convert(raw, store.url("a.raw"), resume=tmp_path / "journal")
    told = (tmp_path / "journal").read_text()
    assert (store.proxy.url in told, SECRET in told) == (True, False)


@pytest.mark.parametrize("silent", ["create_multipart_upload", "upload_part"])
def test_what_is_no_store_is_an_error(
    store: Store, raw: Path, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers everything, and says nothing of an upload or its parts."""
    asked = s3_uploads.S3Target.asked

    def answered(target: s3_uploads.S3Target, operation: str, **words: Any) -> dict[str, Any]:
        return {} if operation == silent else asked(target, operation, **words)

    monkeypatch.setattr(s3_uploads.S3Target, "asked", answered)
    with pytest.raises(OSError, match="no object store: it tells no"):
        vhdx.convert(raw, store.url("a.raw"))
    assert nothing_is_left(store)
