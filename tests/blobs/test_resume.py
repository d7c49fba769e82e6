"""Uploads that are broken off and gone on with: by failures, Ctrl-C and SIGKILL at any request."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import COMMAND
from tests.support.layout import MIB
from tests.support.sweep import Sweep, swept
from vhdx.storage import blob as blob_requests

from .azurite import CONTAINER, Service, environment, needs_service
from .proxy import Fault, Kind, Proxy
from .sources import Made, nonzero, small

pytestmark = needs_service

JOBS = 4
LONGEST = 4 * MIB


@swept(one_in=5)
def test_it_goes_on_after_a_failure_at_any_request(  # noqa: PLR0917  fixtures
    sweep: Sweep,
    made: Made,
    journal: Path,
    name: str,
    service: Service,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blob_requests, "_ATTEMPTS", 1)
    vhdx.upload(made.path, f"az://{CONTAINER}/{name}", resume=journal, jobs=JOBS)
    assert not journal.exists()
    for point in sweep.of(range(proxy.count), start=4):
        for fault in ("unheard", "unanswered"):
            blob = f"{point}{fault}{name}"
            proxy.begin(lambda number, _kind: fault if number >= point else None)  # noqa: B023
            with pytest.raises(OSError, match="the service"):
                vhdx.upload(made.path, f"az://{CONTAINER}/{blob}", resume=journal, jobs=JOBS)
            first = proxy.written
            assert service.blob(blob).exists() <= (point > 0)
            proxy.begin()
            done = vhdx.upload(made.path, f"az://{CONTAINER}/{blob}", resume=journal, jobs=JOBS)
            assert service.content(blob)[:-512] == made.content, (point, fault)
            assert first + proxy.written <= nonzero(made.content) + 2 * 512 + JOBS * LONGEST
            assert done.resumed_size + done.sent_size == nonzero(made.content) + 512
            assert not journal.exists()


def killed_at(
    point: int, with_signal: signal.Signals, line: list[str], proxy: Proxy, *, heard: bool
) -> subprocess.CompletedProcess[str]:
    """The command, which gets a signal while its n-th request is at the service."""
    words = [*COMMAND, *line, "--jobs", str(JOBS)]
    child = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment(proxy.port)},
    )

    def judge(number: int, _kind: Kind) -> Fault | None:
        if number < point:
            return None
        if number == point:
            child.send_signal(with_signal)
        return "unanswered" if heard else "unheard"

    proxy.begin(judge)
    out, err = child.communicate()
    return subprocess.CompletedProcess(words, child.returncode, out, err)


@swept(one_in=4)
def test_after_a_kill_at_any_request_at_most_a_piece_a_worker_goes_again(  # noqa: PLR0917  fixtures
    sweep: Sweep, made: Made, journal: Path, name: str, service: Service, proxy: Proxy
) -> None:
    for point in sweep.of(range(2, 9), start=3):
        blob = f"{point}{name}"
        line = ["upload", str(made.path), f"az://{CONTAINER}/{blob}", "--resume", str(journal)]
        killed = killed_at(point, signal.SIGKILL, line, proxy, heard=point % 2 == 0)
        assert killed.returncode == -signal.SIGKILL
        proxy.judge = lambda _number, _kind: None
        vhdx.upload(made.path, f"az://{CONTAINER}/{blob}", resume=journal, jobs=JOBS)
        assert service.content(blob)[:-512] == made.content
        pieces = (each for each in proxy.of("write") if each.start < len(made.content))  # of both
        writes = [(each.start, each.length) for each in pieces]
        assert len(writes) <= len(set(writes)) + JOBS
        assert max(writes.count(each) for each in writes) <= 2


def test_ctrl_c_says_what_to_do(made: Made, journal: Path, name: str, service: Service, proxy: Proxy) -> None:
    line = ["upload", str(made.path), f"az://{CONTAINER}/{name}", "--resume", str(journal)]
    stopped = killed_at(5, signal.SIGINT, line, proxy, heard=True)
    assert stopped.returncode == 130
    assert "is not whole yet: the same command goes on from" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    proxy.begin()
    vhdx.upload(made.path, f"az://{CONTAINER}/{name}", resume=journal)
    assert service.content(name)[:-512] == made.content


def test_a_download_that_is_interrupted_leaves_nothing(
    made: Made, tmp_path: Path, target: str, proxy: Proxy
) -> None:
    vhdx.upload(made.path, target)
    stopped = killed_at(8, signal.SIGINT, ["download", target, str(tmp_path / "b.vhdx")], proxy, heard=True)
    assert stopped.returncode == 130
    assert "b.vhdx was not made, nothing else was changed" in stopped.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.vhdx"]


def broken_off(made: Made, journal: Path, name: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload of which some is done."""
    with monkeypatch.context() as patched:
        patched.setattr(blob_requests, "_ATTEMPTS", 1)
        proxy.begin(lambda number, _kind: "unheard" if number > 5 else None)
        with pytest.raises(OSError, match="the service"):
            vhdx.upload(made.path, f"az://{CONTAINER}/{name}", resume=journal, jobs=1)
    proxy.begin()


def test_a_journal_belongs_to_one_source_as_it_was_and_to_one_blob(  # noqa: PLR0917  fixtures
    made: Made, journal: Path, name: str, service: Service, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_off(made, journal, name, proxy, monkeypatch)
    before = journal.read_bytes()
    target = f"az://{CONTAINER}/{name}"
    service.blob(f"o{name}").create_page_blob(16 * MIB + 512)

    def refused(why: str, address: str = target) -> None:
        with pytest.raises(ValueError, match=why):
            vhdx.upload(made.path, address, resume=journal, overwrite=True)
        assert journal.read_bytes() == before
        assert not proxy.of("write")

    refused("another target", f"az://{CONTAINER}/o{name}")
    refused("another target", f"az://{CONTAINER}/nothing{name}")
    service.blob(name).clear_page(0, 16 * MIB + 512)
    refused("written over")
    service.blob(name).delete_blob()
    refused("removed or written over")
    for size in (16 * MIB + 512, MIB):
        service.blob(name).create_page_blob(size)
        refused("removed or written over")
    status = made.path.stat()
    os.utime(made.path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    refused("the source was changed")
    os.utime(made.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    refused("the source was changed")  # when, the host says itself


def test_what_is_no_whole_journal_stays_as_it_is(
    made: Made, journal: Path, name: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_off(made, journal, name, proxy, monkeypatch)
    whole = journal.read_bytes()
    others = [
        *(whole[:length] for length in range(0, len(whole), 41)),
        *(
            b"{}",
            b"[]",
            b"\xff\xfe",
            b"vhdxfile",
            b"[" * 100000,
            b'{"kind": "vhdx upload 1", "body": 3, "sum": 4}',
        ),
        whole.replace(b"vhdx upload 1", b"vhdx upload 2"),
    ]
    for data in others:
        journal.write_bytes(data)
        with pytest.raises(ValueError, match="is no journal of an upload, or not whole"):
            vhdx.upload(made.path, f"az://{CONTAINER}/{name}", resume=journal, overwrite=True)
        assert journal.read_bytes() == data
    assert not proxy.of("write")


@pytest.mark.parametrize(
    "wrong",
    [
        *({"done": done} for done in ([[-1, 5]], [[5, 3]], [[0, 1 << 60]], [["a", "b"]], [[1]], 7, None)),
        *({"upload": upload} for upload in ("x", 7, None)),
        {"sent": -1},
    ],
)
def test_a_journal_with_a_right_sum_and_wrong_numbers(  # noqa: PLR0917  fixtures
    wrong: dict[str, object],
    made: Made,
    journal: Path,
    name: str,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vhdx.ops.blobs.journal import _sum  # noqa: PLC0415

    broken_off(made, journal, name, proxy, monkeypatch)
    outer = json.loads(journal.read_text())
    outer["body"] = json.dumps({**json.loads(outer["body"]), **wrong})
    outer["sum"] = _sum(outer["body"])
    journal.write_text(json.dumps(outer))
    with pytest.raises(ValueError, match="is no journal of an upload"):
        vhdx.upload(made.path, f"az://{CONTAINER}/{name}", resume=journal)


def test_only_what_says_that_it_was_changed_is_gone_on_with(
    tmp_path: Path, proxy: Proxy, target: str
) -> None:
    made = small(tmp_path)
    with open(made.path, "rb") as file, pytest.raises(ValueError, match="only what is a file of this host"):
        vhdx.upload(file, target, resume=tmp_path / "journal")
    with pytest.raises(ValueError, match="only what is a file of this host"):
        vhdx.upload(made.path, target, resume=tmp_path / "journal", lock=False)
    assert proxy.asked == []
