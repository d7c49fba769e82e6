"""What files begin with that are neither disks nor images, as the programs that make them write it."""

import gzip
import io
import tarfile
import zipfile

import pytest

from vhdx.format.foreign import PREFIX_SIZE, ZEROS, foreign, foreign_to_images


def _zip(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 1000)
    return file.getvalue()


def _tar(kind: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind) as archive:
        archive.addfile(tarfile.TarInfo("disk.vhdx"), io.BytesIO())
    return file.getvalue()


POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
KINDS = {
    "zip": (_zip("a.vhdx"), "a zip archive"),
    "empty zip": (_zip(), "an empty zip archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(24), "a 7z archive"),
    "tar of GNU": (_tar(tarfile.GNU_FORMAT), "a tar archive"),
    "tar of POSIX": (_tar(tarfile.USTAR_FORMAT), "a tar archive"),
    "tar of pax": (_tar(tarfile.PAX_FORMAT), "a tar archive"),
    "page": (b"<!DOCTYPE html>\n<html><head>", "a page of a web site"),
    "old page": (b"\xef\xbb\xbf\r\n <HTML>", "a page of a web site"),
    "answer of a server": (b'<?xml version="1.0"?><Error><Code>AccessDenied', "a page of a web site"),
    "pointer": (POINTER, "a Git LFS pointer"),
    "gzip": (gzip.compress(b"x"), "a file that gzip compressed"),
}


@pytest.mark.parametrize(("data", "kind"), KINDS.values(), ids=KINDS)
def test_kinds(data: bytes, kind: str) -> None:
    found = foreign(data[:PREFIX_SIZE])
    assert found is not None
    assert found.kind.startswith(kind)
    assert foreign_to_images(data[:PREFIX_SIZE]) == found


def test_a_raw_disk_may_begin_with_zeros_and_an_image_not() -> None:
    assert foreign(bytes(PREFIX_SIZE)) is None
    assert foreign_to_images(bytes(PREFIX_SIZE)) == ZEROS


@pytest.mark.parametrize("data", [b"", b"PK", b"<", b"vhdxfile", b"\xeb\x3c\x90MSDOS5.0"])
def test_others_are_not_named(data: bytes) -> None:
    assert foreign(data) is None
