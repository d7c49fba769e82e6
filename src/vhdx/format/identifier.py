"""The file type identifier at the start of the file [MS-VHDX 2.2.1]."""

from __future__ import annotations

from vhdx.format import fields

SIGNATURE = b"vhdxfile"
IDENTIFIER_OFFSET = 0
IDENTIFIER_SIZE = 64 * 1024
CREATOR_END = len(SIGNATURE) + 512

FIELDS = fields.table(
    ("signature", 8, fields.signature(SIGNATURE)),
    ("creator", 512, fields.text),
    ("reserved", 65016, fields.reserved),
)
assert fields.length(FIELDS) == IDENTIFIER_SIZE


def pack(creator: str) -> bytes:
    """The identifier with the name and version of the program that creates the file."""
    text = creator.encode("utf-16-le")
    if len(text) > CREATOR_END - len(SIGNATURE):
        raise ValueError("the creator is longer than 256 UTF-16 units")
    return (SIGNATURE + text).ljust(IDENTIFIER_SIZE, b"\0")


def creator(identifier: bytes) -> str:
    """The creator, which is for diagnosis only and may be anything: undecodable units are replaced."""
    text = identifier[len(SIGNATURE) : CREATOR_END].decode("utf-16-le", errors="replace")
    return text.partition("\0")[0]
