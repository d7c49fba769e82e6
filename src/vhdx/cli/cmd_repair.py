"""``vhdx repair``."""

from __future__ import annotations

import click

from vhdx.cli.options import changing
from vhdx.text import printable


@click.command()
@click.argument("image", type=click.Path())
def repair(image: str) -> None:
    """Replay the log of IMAGE, put damaged copies right.

    Mends what can be mended without guessing: the log, and one of the two copies of the header or the
    region table. What a read of the disk returns stays as it is. Parents are not looked for.
    """
    from vhdx.ops.repair import repair as repair_image  # noqa: PLC0415  --help needs no library

    with changing():
        result = repair_image(image)
    for sentence in result.done or ("nothing to repair",):
        click.echo(f"{printable(image)}: {printable(sentence)}")
