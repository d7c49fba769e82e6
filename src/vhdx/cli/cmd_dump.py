"""``vhdx dump``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from vhdx.cli.options import FILE, SIZE, force_share_option, json_option
from vhdx.cli.render import print_json_stream
from vhdx.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vhdx.ops.dump import Content
    from vhdx.ops.structures import Dump


class Contents(NamedTuple):
    """What is printed of what there is."""

    path: str
    format: str
    virtual_size: int | None
    contents: Iterator[Content]


class Structures(NamedTuple):
    """What is printed of structures."""

    path: str
    format: str
    virtual_size: int | None
    structures: Iterator[Dump]


@click.command()
@click.argument("image", type=FILE)
@click.argument("structure", required=False)
@click.option("--raw", nargs=2, type=SIZE, metavar="OFFSET LENGTH", help="Bytes of the file as hex instead.")
@force_share_option
@json_option
def dump(
    image: str, structure: str | None, *, raw: tuple[int, int] | None, force_share: bool, as_json: bool
) -> None:
    """Show a STRUCTURE of IMAGE field by field.

    Of each field: file offset, value, meaning and bytes. Without STRUCTURE: what there is and where.
    STRUCTURE is identifier, headers, regions (both copies, or one with :1 or :2), metadata, locator, bat
    (all entries, or some: bat:17, bat:0-99), bitmap:CHUNK, or log (headers of all entries; log:POSITION
    is one whole entry).

    Shows the file as it stands: a dirty log is not replayed. Works on images that cannot be opened.
    """
    from vhdx.ops.dump import contents, disk_size, raw_bytes  # noqa: PLC0415  --help needs no library
    from vhdx.ops.dump import dump as dumped  # noqa: PLC0415

    if raw and (structure or as_json):
        raise click.UsageError("--raw goes with neither a STRUCTURE nor --json")
    lock = not force_share
    if raw:
        for line in _hex_lines(raw_bytes(image, *raw, lock=lock), sum(raw)):
            click.echo(line)
    elif as_json:
        about = image, "vhdx", disk_size(image, lock=lock)
        if structure:
            print_json_stream(Structures(*about, dumped(image, structure, lock=lock)))
        else:
            print_json_stream(Contents(*about, contents(image, lock=lock)))
    elif structure:
        _print_dumps(dumped(image, structure, lock=lock))
    else:
        for found in contents(image, lock=lock):
            words = f"{found.word:<12} {found.file_offset:>16} {found.length:>12}  {found.state}"
            click.echo(printable(words))


def _print_dumps(dumps: Iterable[Dump]) -> None:
    for found in dumps:
        damage = "" if found.damage is None else f": DAMAGED: {found.damage}"
        click.echo(printable(f"{found.structure} at file offset {found.file_offset}{damage}"))
        for field in found.fields:
            meaning = f" ({field.meaning})" if field.meaning else ""
            value = f"{field.value}{meaning}"
            click.echo(printable(f"  {field.file_offset:>14}  {field.name:<26} {value}"))
            if field.raw and field.raw != field.value:
                click.echo(f"  {'':>14}  {'':<26} {field.raw}")


def _hex_lines(pieces: Iterable[tuple[int, bytes]], end: int) -> Iterator[str]:
    """As ``hexdump -C`` shows them: lines that repeat the one before are one asterisk."""
    before, repeated = b"", False
    for start, piece in pieces:
        for at in range(0, len(piece), 16):
            row = piece[at : at + 16]
            if row == before:
                if not repeated:
                    yield "*"
                repeated = True
                continue
            before, repeated = row, False
            yield f"{start + at:08x}  {row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}  |{_letters(row)}|"
    yield f"{end:08x}"


def _letters(row: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
