"""The disk as a file object: against io.BytesIO, which is what people expect of one."""

import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.reading import in_memory

IMAGE = ImageBuilder(3 * MIB, blocks={0: Block(pattern(0, MIB)), 2: Block(pattern(2, MIB))})
CONTENT = IMAGE.content()
NEAR = st.integers(-10, 3 * MIB + 10)
STEPS = st.one_of(
    st.tuples(st.just("read"), st.integers(0, MIB)),
    st.tuples(st.just("set"), NEAR),
    st.tuples(st.just("move"), st.integers(-2 * MIB, 2 * MIB)),
    st.tuples(st.just("end"), st.integers(-3 * MIB - 10, 10)),
)


def act(file: io.RawIOBase | io.BytesIO, what: str, number: int) -> bytes | int | str | None:
    if what == "read":
        return file.read(number)
    try:
        return file.seek(number, {"set": io.SEEK_SET, "move": io.SEEK_CUR, "end": io.SEEK_END}[what])
    except ValueError:
        return "refused"


@given(st.lists(STEPS, max_size=20))
def test_a_stream_does_what_a_file_object_does(steps: list[tuple[str, int]]) -> None:
    with in_memory(IMAGE) as disk, disk.stream() as stream, io.BytesIO(CONTENT) as twin:
        for what, number in steps:
            wanted = act(twin, what, number)
            # BytesIO stops at 0 where files refuse negative positions
            if what != "read" and twin.tell() == 0 and number < 0:
                stream.seek(0)
                continue
            assert act(stream, what, number) == wanted
            assert stream.tell() == twin.tell()


READERS: dict[str, Callable[[io.RawIOBase], bytes]] = {
    "raw": lambda stream: stream.read(),
    "buffered": lambda stream: io.BufferedReader(stream).read(),
    "small": lambda stream: b"".join(iter(lambda: stream.read(99_991), b"")),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_stream_read_to_its_end_is_the_disk(reader: str) -> None:
    with in_memory(IMAGE) as disk:
        assert READERS[reader](disk.stream()) == CONTENT


def test_streams_have_cursors_of_their_own_and_leave_the_disk_open() -> None:
    with in_memory(IMAGE) as disk:
        with disk.stream() as one, disk.stream() as other:
            one.seek(MIB)
            assert (one.tell(), other.tell()) == (MIB, 0)
            assert (one.readable(), one.seekable(), one.writable()) == (True, True, False)
        with pytest.raises(ValueError, match="closed"):
            one.read(1)
        assert disk.pread(16, 0) == CONTENT[:16]


def test_a_stream_cannot_be_written_in_mode_r() -> None:
    with in_memory(IMAGE) as disk, pytest.raises(io.UnsupportedOperation):
        disk.stream().write(b"x")
