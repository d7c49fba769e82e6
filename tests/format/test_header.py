"""The identifier and the headers."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import layout
from vhdx.format import checksum, header, identifier
from vhdx.format.header import Header

# [IMG DiscUtils__vhdx-log-replay], format reference 20
VECTOR = bytes.fromhex(
    "68656164c809626d0800000000000000bc9187b9d8455b44ade65cbe550f2290"
    "b89dbc8ffd2cb84596881c6fedbc72303c74fce6ed81e84fbf54698ed57ba0b8"
    "00000100000010000000100000000000"
).ljust(4096, b"\0")
FIELDS = Header(
    sequence_number=8,
    file_write_guid=UUID("b98791bc-45d8-445b-ade6-5cbe550f2290"),
    data_write_guid=UUID("8fbc9db8-2cfd-45b8-9688-1c6fedbc7230"),
    log_guid=UUID("e6fc743c-81ed-4fe8-bf54-698ed57ba0b8"),
    log_version=0,
    version=1,
    log_length=1 << 20,
    log_offset=1 << 20,
)
HEADERS = st.builds(
    Header,
    sequence_number=st.integers(0, 2**64 - 1),
    file_write_guid=st.uuids(),
    data_write_guid=st.uuids(),
    log_guid=st.uuids(),
    log_version=st.integers(0, 2**16 - 1),
    version=st.integers(0, 2**16 - 1),
    log_length=st.integers(0, 2**32 - 1),
    log_offset=st.integers(0, 2**64 - 1),
)


def test_the_vector_of_the_reference() -> None:
    assert header.damage(VECTOR) is None
    assert header.unpack(VECTOR) == FIELDS
    assert FIELDS.pack() == VECTOR
    assert checksum.stored_checksum(VECTOR) == 0x6D6209C8


@given(HEADERS)
def test_what_is_packed_is_unpacked_and_as_the_independent_packer_packs_it(value: Header) -> None:
    packed = value.pack()
    assert header.damage(packed) is None
    assert header.unpack(packed) == value
    names: tuple[str, ...] = ("sequence_number", "file_write_guid", "data_write_guid", "log_guid")
    names += ("log_version", "version", "log_length", "log_offset")
    assert packed == layout.pack_header(**{name: getattr(value, name) for name in names})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file ends after 0 of its 4096 bytes"),
        (VECTOR[:4095], "the file ends after 4095"),
        (bytes(4096), "signature"),
        (b"daeh" + VECTOR[4:], "signature"),
        (VECTOR[:-1] + b"\1", "checksum is 0x6d6209c8"),
        (VECTOR[:4] + bytes(4) + VECTOR[8:], "checksum is 0x00000000, its bytes give 0x6d6209c8"),
    ],
)
def test_damage_is_told(data: bytes, words: str) -> None:
    assert words in str(header.damage(data))


@pytest.mark.parametrize("name", ["", "vhdx 1.0", "Microsoft Windows 10.0.19041.0", "x" * 256, "ünïcode ✓"])
def test_the_creator_of_an_identifier(name: str) -> None:
    packed = identifier.pack(name)
    assert packed == layout.pack_identifier(name)
    assert identifier.creator(packed) == name


@pytest.mark.parametrize("name", ["x" * 257, "\U0001f4be" * 129])
def test_a_creator_that_does_not_fit_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="256 UTF-16 units"):
        identifier.pack(name)


@given(st.binary(min_size=520, max_size=600))
def test_any_bytes_have_some_creator(data: bytes) -> None:
    name = identifier.creator(data)
    assert len(name) <= 256
    assert "\0" not in name
