"""Uploads over what others did meanwhile, and those that end at a border between two steps."""

import copy
import errno
from pathlib import Path

import pytest

import vhdx
from tests.support.layout import MIB
from vhdx.ops.blobs.journal import Journal
from vhdx.ops.make import upload as upload_module
from vhdx.storage import page_blob

from .azurite import CONTAINER, Service, needs_service
from .proxy import FOOTER, Fault, Handler, Kind, Proxy
from .sources import Made
from .test_resume import broken_off

pytestmark = needs_service


def test_a_blob_that_another_upload_filled_meanwhile_is_not_gone_on_with(  # noqa: PLR0917  fixtures
    made: Made, journal: Path, name: str, service: Service, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_off(made, journal, name, proxy, monkeypatch)
    target, other = f"az://{CONTAINER}/{name}", made.path.with_name("b.raw")
    other.write_bytes(b"o" * 16 * MIB)
    vhdx.upload(other, target, source_format="raw", overwrite=True, resume=other.with_name("other"))
    with pytest.raises(ValueError, match="written over since"):
        vhdx.upload(made.path, target, resume=journal, overwrite=True)
    assert service.content(name)[:-512] == other.read_bytes()


@pytest.mark.parametrize("resumes", [False, True])
def test_what_two_uploads_send_at_once_is_never_mixed(  # noqa: PLR0917  fixtures
    resumes: bool, made: Made, journal: Path, name: str, service: Service, proxy: Proxy
) -> None:
    """The one that began first fails with its next page, and the other one is whole."""
    other, words = made.path.with_name("b.raw"), service.sas(name, "rw")
    other.write_bytes(b"o" * 16 * MIB)
    begun: list[Kind] = []

    def judge(_number: int, kind: Kind) -> Fault | None:
        if kind == "write" and len(proxy.of("write")) > resumes and not begun:
            begun.append(kind)
            beside = f"{service.url}/{CONTAINER}/{name}?{words}"
            vhdx.upload(other, beside, source_format="raw", overwrite=True)
        return None

    proxy.begin(judge)
    with pytest.raises(OSError, match="another upload to it was begun meanwhile") as failed:
        vhdx.upload(made.path, f"az://{CONTAINER}/{name}", jobs=1, resume=journal if resumes else None)
    assert failed.value.errno == errno.ESTALE
    assert service.content(name)[:-512] == other.read_bytes()
    if resumes:
        with pytest.raises(ValueError, match="written over since"):
            vhdx.upload(made.path, f"az://{CONTAINER}/{name}", resume=journal)


def test_who_may_not_say_who_writes_writes_all_the_same(
    made: Made, name: str, service: Service, proxy: Proxy
) -> None:
    service.blob(name).create_page_blob(16 * MIB + 512)
    proxy.begin(lambda _number, kind: "refused" if kind == "take" else None)
    vhdx.upload(made.path, f"az://{CONTAINER}/{name}")
    assert service.content(name)[:-512] == made.content


@pytest.mark.parametrize("kind", ["journal", "mark", "pieces", "footer"])
def test_a_kill_at_a_border(  # noqa: PLR0917  fixtures
    kind: str,
    made: Made,
    journal: Path,
    name: str,
    service: Service,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever was the last that was done: the same command ends what was begun."""
    calls = {"journal": (Journal, "save"), "mark": (page_blob.PageBlob, "write")}
    ends = {"pieces": (upload_module, "new_footer"), "footer": (Journal, "remove")}
    place, method = {**calls, **ends}[kind]
    done = getattr(place, method)

    def killed(*arguments: object) -> None:
        if kind in calls:
            done(*arguments)
        raise SystemExit(9)

    target = f"az://{CONTAINER}/{name}"
    with monkeypatch.context() as patched:
        patched.setattr(place, method, killed)
        if kind == "journal":
            patched.setattr(Journal, "remove", lambda _journal: None)
        with pytest.raises(SystemExit):
            vhdx.upload(made.path, target, resume=journal)
    vhdx.upload(made.path, target, resume=journal)
    assert service.content(name)[:-512] == made.content
    assert not journal.exists()


def test_where_no_journal_can_be_kept_nothing_is_cleared(
    made: Made, journal: Path, name: str, service: Service, proxy: Proxy
) -> None:
    target = f"az://{CONTAINER}/{name}"
    vhdx.upload(made.path, target)
    with pytest.raises(FileNotFoundError):
        vhdx.upload(made.path, target, overwrite=True, resume=journal / "none")
    assert service.content(name)[:-512] == made.content
    with pytest.raises(FileExistsError):
        vhdx.upload(made.path, target, resume=journal)
    assert not journal.exists()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_clear_that_arrives_late_takes_nothing_away(  # noqa: PLR0917  fixtures
    when: str, made: Made, name: str, service: Service, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was given up and asked for again; the first one comes through when all pieces are there."""
    target, ask, held = f"az://{CONTAINER}/{name}", Handler.ask, list[Handler]()
    vhdx.upload(made.path, target)

    def late(handler: Handler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if handler.kind() == "clear" and not held:
            held.append(copy.copy(handler))  # it takes other requests, too
            if when == "after":
                ask(handler, b"")
            return 503, {}, b""
        if body.startswith(FOOTER):
            assert ask(held[0], b"")[0] == 412
        return ask(handler, body)

    monkeypatch.setattr(Handler, "ask", late)
    vhdx.upload(made.path, target, overwrite=True)
    assert service.content(name)[:-512] == made.content


def test_a_journal_that_somebody_removed_fails_nothing(
    made: Made, journal: Path, name: str, service: Service, proxy: Proxy
) -> None:
    """As the same command does that runs twice."""

    def judge(_number: int, kind: Kind) -> Fault | None:
        if kind == "write" and len(proxy.of("write")) == 6:  # the mark and all pieces
            journal.unlink()
        return None

    proxy.begin(judge)
    vhdx.upload(made.path, f"az://{CONTAINER}/{name}", resume=journal)
    assert service.content(name)[:-512] == made.content
    assert not journal.exists()


@pytest.mark.parametrize("when", ["create", "clear"])
def test_an_upload_finds_the_blob_of_another_still_empty(  # noqa: PLR0917  fixtures
    when: Kind, made: Made, target: str, name: str, service: Service, proxy: Proxy
) -> None:
    """Whoever began first writes no page any more, nor ends, once another one has the blob."""
    other = made.path.with_name("b.raw")
    other.write_bytes((b"o" * MIB).ljust(16 * MIB, b"\0"))
    beside = f"{service.url}/{CONTAINER}/{name}?{service.sas(name, 'rcw')}"
    if when != "create":
        vhdx.upload(made.path, target)
    begun: list[vhdx.UploadResult] = []

    def judge(_number: int, kind: Kind) -> Fault | None:
        if not begun and proxy.of(when):
            begun.append(vhdx.upload(other, beside, source_format="raw"))
        return None

    proxy.begin(judge)
    with pytest.raises(OSError, match="another upload to it was begun meanwhile"):
        vhdx.upload(made.path, target, overwrite=True)
    assert begun
    assert service.content(name)[:-512] == other.read_bytes()


@pytest.mark.parametrize("fault", ["unheard", "unanswered"])
def test_a_blob_is_taken_though_an_answer_was_lost(  # noqa: PLR0917  fixtures
    fault: Fault, made: Made, target: str, name: str, service: Service, proxy: Proxy
) -> None:
    vhdx.upload(made.path, target)
    failed = iter([fault])
    proxy.begin(lambda _number, kind: next(failed, None) if kind == "take" else None)
    vhdx.upload(made.path, target, overwrite=True)
    assert len(proxy.of("take")) == 1
    assert service.content(name)[:-512] == made.content


def test_a_blob_that_is_read_is_not_written_over(
    made: Made, target: str, name: str, service: Service, proxy: Proxy
) -> None:
    vhdx.upload(made.path, target)
    url = f"{service.url}/{CONTAINER}/{name}"
    addresses = (f"{url}?{service.sas(name, 'r')}", f"{url}?{service.sas(name, 'rw')}")
    for source, place in ((target, target), addresses):
        for send in (vhdx.convert, vhdx.upload):
            with pytest.raises(ValueError, match="is the source or one of its parents"):
                send(source, place, overwrite=True)
    assert service.content(name)[:-512] == made.content
