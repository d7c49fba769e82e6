"""LZX chunks as wimlib compresses them, and as its decompressor reads those that it never makes."""

import ctypes
import ctypes.util
import random
import struct

import pytest

from tests.filesystems.making import unavailable
from vhdx.errors import FileSystemError
from vhdx.files.lzx import decompressed

pyfsntfs = pytest.importorskip("pyfsntfs", reason="needs the extra vhdx[files]")
CHUNK, LZX = 32768, 2
EASY, HARD = 10, 100


@pytest.fixture(name="wim", scope="module")
def _wim() -> ctypes.CDLL:
    name = ctypes.util.find_library("wim")
    if name is None:
        unavailable("libwim is not installed (wimtools)")
    library = ctypes.CDLL(name)
    library.wimlib_global_init(0)
    library.wimlib_compress.restype = ctypes.c_size_t
    return library


def compressed(wim: ctypes.CDLL, data: bytes, level: int) -> bytes:
    """Nothing where it does not become shorter."""
    compressor, out = ctypes.c_void_p(), ctypes.create_string_buffer(CHUNK)
    size = ctypes.c_size_t(CHUNK)
    assert not wim.wimlib_create_compressor(LZX, size, ctypes.c_uint(level), ctypes.byref(compressor))
    length, most = ctypes.c_size_t(len(data)), ctypes.c_size_t(len(data) - 1)
    count = wim.wimlib_compress(data, length, out, most, compressor)
    wim.wimlib_free_compressor(compressor)
    return out.raw[:count]


def read_by_wimlib(wim: ctypes.CDLL, data: bytes, size: int) -> bytes | None:
    decompressor, out = ctypes.c_void_p(), ctypes.create_string_buffer(size)
    assert not wim.wimlib_create_decompressor(LZX, ctypes.c_size_t(CHUNK), ctypes.byref(decompressor))
    failed = wim.wimlib_decompress(data, ctypes.c_size_t(len(data)), out, ctypes.c_size_t(size), decompressor)
    wim.wimlib_free_decompressor(decompressor)
    return None if failed else out.raw


def program() -> bytes:
    """Machine code, in which calls are translated."""
    with open(pyfsntfs.__file__, "rb") as file:
        return file.read(8 * CHUNK)


def samples() -> dict[str, bytes]:
    rng, code = random.Random(4), program()
    words = b" ".join(b"%d of %d" % (rng.randrange(99), rng.randrange(9999)) for _ in range(5000))
    return {
        **{f"code {start}": code[start : start + CHUNK] for start in range(0, len(code), CHUNK)},
        "words": words[:CHUNK],
        "zeros": bytes(CHUNK),
        "calls": b"\xe8" * CHUNK,
        "calls of all kinds": bytes(rng.choice(b"\xe8\0\xff\1ab") for _ in range(20_001)),
        "half noise": rng.randbytes(9000) + words[:9000] + bytes(9000),
        **{f"{size} bytes": (b"\xe8\1\0\0\0" + b"ab" * 500)[:size] for size in (8, 10, 11, 12, 15, 16, 501)},
    }


@pytest.mark.parametrize("level", [EASY, HARD])
def test_what_wimlib_compresses(wim: ctypes.CDLL, level: int) -> None:
    made = {name: (data, compressed(wim, data, level)) for name, data in samples().items()}
    assert sum(bool(chunk) for _, chunk in made.values()) >= 10
    for name, (data, chunk) in made.items():
        assert not chunk or decompressed(chunk, len(data)) == data, name


def stored(*parts: bytes) -> bytes:
    """Blocks that are not compressed, which wimlib reads and never makes."""
    made = b""
    for part in parts:
        bits = f"{3:03b}1" if len(part) == CHUNK else f"{3:03b}0{len(part):016b}"
        bits = bits.ljust(-(-len(bits) // 16) * 16, "0")
        words = (int(bits[at : at + 16], 2) for at in range(0, len(bits), 16))
        made += b"".join(struct.pack("<H", word) for word in words)
        made += struct.pack("<III", 1, 2, 3) + part + bytes(len(part) & 1)
    return made


def test_blocks_that_are_stored(wim: ctypes.CDLL) -> None:
    code = program()
    for parts in ((code[:CHUNK],), (code[:300], code[300:1201], b"!"), (b"x" * 11,)):
        size = sum(map(len, parts))
        assert decompressed(stored(*parts), size) == read_by_wimlib(wim, stored(*parts), size)


def test_what_is_damaged_is_refused_or_read_as_wimlib_does(wim: ctypes.CDLL) -> None:
    rng, code = random.Random(7), program()
    refused = 0
    for _ in range(300):
        size = rng.randrange(20, 600)
        data = code[(at := rng.randrange(len(code) - size)) : at + size]
        bits = bytearray(compressed(wim, data, EASY) or rng.randbytes(size // 2))
        bits[rng.randrange(len(bits))] ^= 1 << rng.randrange(8)
        chunk = bytes(bits[: rng.choice((len(bits), rng.randrange(len(bits))))])
        try:
            found = decompressed(chunk, size)
        except FileSystemError:
            refused += 1
        else:
            assert found == read_by_wimlib(wim, chunk, size)
    assert refused > 100
    for chunk in (b"", b"\0", stored(b"x" * 20)[:-1], bytes(50)):
        with pytest.raises(FileSystemError, match="LZX"):
            decompressed(chunk, 20)
