"""Which header is current, and every rule that it can break."""

import io
from collections.abc import Callable
from uuid import UUID

import pytest

import vhdx
from tests.image.collected import load
from tests.support.build import ImageBuilder
from tests.support.layout import KIB, MIB, TIB
from tests.support.parts import Header
from tests.support.presets import disk2vhd_like, qemu_like
from tests.support.sparse import ContentStorage, content_of
from vhdx.disk.open import open_disk
from vhdx.examine.check import examine
from vhdx.image.image import load as whole_load
from vhdx.image.image import write_identity
from vhdx.rules import Severity

ONE, TWO = UUID(int=1), UUID(int=2)


def image(first: Header | None = None, second: Header | None = None, **changes: object) -> ImageBuilder:
    """An image whose headers can be told apart by their DataWriteGuid."""
    headers = {1: first or Header(), 2: second or Header()}
    headers[1].data_write_guid = headers[1].data_write_guid or ONE
    headers[2].data_write_guid = headers[2].data_write_guid or TWO
    built = ImageBuilder(headers=headers)
    for name, value in changes.items():
        setattr(built, name, value)
    return built


@pytest.mark.parametrize(
    ("numbers", "slot"), [((1, 2), 1), ((2, 1), 0), ((0, 1), 1), ((2**64 - 1, 0), 0), ((2**63, 2**63 - 1), 0)]
)
def test_the_greater_sequence_number_is_current(numbers: tuple[int, int], slot: int) -> None:
    found = load(image(sequence_numbers=numbers))
    assert found.headers is not None
    assert found.headers.slot == slot
    assert found.headers.current.data_write_guid == (ONE, TWO)[slot]
    assert found.report.codes() == []


DAMAGES = {
    "checksum": Header(checksum=1),
    "signature": Header(signature=b"daeh"),
    "zeros": Header(raw=bytes(4096)),
    "checksum of its own": Header(reserved=b"x", checksum=0xFFFFFFFF),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("numbers", [(8, 9), (9, 8)])
def test_a_damaged_header_leaves_the_other(damage: str, slot: int, numbers: tuple[int, int]) -> None:
    told: list[Header | None] = [None, None]
    told[slot] = DAMAGES[damage]
    found = load(image(*told, sequence_numbers=numbers))
    assert found.headers is not None
    assert found.headers.slot == 1 - slot
    assert found.report.codes() == ["header.damaged"]
    assert found.report[0].rule.severity is Severity.WARNING
    assert found.report[0].place == (f"header {slot + 1}", (64 * KIB, 128 * KIB)[slot])


def test_two_damaged_headers_are_the_end() -> None:
    found = load(image(Header(checksum=1), Header(raw=bytes(4096))))
    assert found.headers is None
    assert found.report.codes() == ["header.none"]
    assert "checksum" in found.report[0].detail
    assert "signature" in found.report[0].detail


def test_a_tie_of_different_headers_is_corruption() -> None:
    found = load(image(sequence_numbers=(5, 5)))
    assert found.report.codes(Severity.ERROR) == ["header.tie"]


@pytest.mark.parametrize("field", ["file_write_guid", "data_write_guid", "log_length", "reserved"])
def test_a_tie_is_one_of_all_bytes(field: str) -> None:
    different = Header(**{field: {"log_length": 2 * MIB, "reserved": b"\1"}.get(field, ONE)})  # type: ignore[arg-type]
    found = load(ImageBuilder(headers={2: different}, sequence_numbers=(5, 5), file_length=16 * MIB))
    assert found.report.codes(Severity.ERROR)[0] == "header.tie"


def test_identical_headers_are_twins_and_the_first_is_current() -> None:
    found = load(disk2vhd_like())
    assert found.headers is not None
    assert found.headers.slot == 0
    assert found.report.codes() == ["header.twins"]
    assert found.report[0].rule.severity is Severity.NOTE


@pytest.mark.parametrize("version", [0, 2, 255, 65535])
def test_only_version_1_is_known(version: int) -> None:
    found = load(image(None, Header(version=version)))
    assert found.report.codes() == ["header.version"]
    assert load(image(Header(version=version))).report.codes() == [], "the other header does not matter"
    with pytest.raises(vhdx.UnsupportedImageError, match=f"version is {version}"):
        open_disk(io.BytesIO(image(None, Header(version=version)).build()))


@pytest.mark.parametrize(("log_guid", "codes"), [(UUID(int=0), []), (ONE, ["header.log_version"])])
def test_the_version_of_the_log_matters_if_there_is_a_log(log_guid: UUID, codes: list[str]) -> None:
    assert load(image(None, Header(log_version=1, log_guid=log_guid))).report.codes() == codes


PLACES = {
    "unaligned offset": (Header(log_offset=MIB + 4096), "not aligned"),
    "unaligned length": (Header(log_length=4096), "not aligned"),
    "in the header section": (Header(log_offset=0), "header section"),
    "past the end": (Header(log_offset=64 * MIB), "behind the end"),
    "longer than the file": (Header(log_length=64 * MIB), "behind the end"),
    "a log without length": (Header(log_length=0, log_guid=ONE), "no length"),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_log_must_lie_in_the_file(name: str) -> None:
    header, words = PLACES[name]
    found = load(image(None, header))
    assert found.report.codes()[0] == "header.log_place"
    assert words in found.report[0].detail
    assert found.report[0].place == ("header 2", 128 * KIB)


@pytest.mark.parametrize("offset", [0, MIB, 2**63])
def test_a_log_of_no_length_is_no_log(offset: int) -> None:
    assert load(image(None, Header(log_length=0, log_offset=offset - offset % MIB))).report.codes() == []


def test_reserved_bytes_of_a_header_are_ignored() -> None:
    assert load(image(Header(reserved=b"x" * 4016), Header(reserved=b"y" * 4016))).report.codes() == []


def test_headers_of_qemu_with_different_write_guids() -> None:
    found = load(qemu_like())
    assert found.headers is not None
    assert found.headers.slot == 1
    assert found.report.codes(Severity.ERROR, Severity.WARNING) == []


@pytest.mark.parametrize("length", [0, 7, 8, 64 * KIB, 64 * KIB + 4095, 64 * KIB + 4096, 128 * KIB + 4095])
def test_a_file_that_ends_in_the_headers(length: int) -> None:
    codes = load(image().build()[:length]).report.codes()
    if length < 8:
        assert codes == ["identifier.signature", "header.none"]
    elif length < 64 * KIB + 4096:
        assert codes == ["header.none"]
    else:
        assert codes[:2] == ["header.damaged", "header.log_place"]


def test_the_identifier_is_looked_at_and_its_creator_told() -> None:
    assert load(image(identifier_signature=b"vhdxfilf")).report.codes() == ["identifier.signature"]
    for creator in ("Microsoft Windows 10.0.19041.0", "", "x" * 256, "ü✓"):
        with open_disk(io.BytesIO(image(creator=creator).build())) as disk:
            assert disk.layers[0].creator == creator


def test_a_creator_that_is_no_text_influences_nothing() -> None:
    with open_disk(io.BytesIO(image(creator=b"\x00\xd8" * 256).build())) as disk:
        assert disk.size == 10 * MIB
        assert "\ufffd" in disk.layers[0].creator


@pytest.mark.parametrize("look", [whole_load, write_identity, examine], ids=lambda look: str(look.__name__))
def test_a_file_that_no_disk_can_fill_is_refused(look: Callable[[ContentStorage], object]) -> None:
    """Before anything is mapped: sparse files may be exbibytes long, and their maps would take terabytes."""
    content = content_of(ImageBuilder())
    content.resize(256 * TIB)
    look(ContentStorage(content))
    content.resize(256 * TIB + 1)
    with pytest.raises(vhdx.UnsupportedImageError, match="files of over 256 TiB are refused"):
        look(ContentStorage(content))
