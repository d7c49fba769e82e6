"""What became of an increment, in words, for the verbs that make one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.cli.render import echo, print_json, shown
from vhdx.text import printable

if TYPE_CHECKING:
    from vhdx.ops.make.increment import IncrementResult


def print_increment(made: IncrementResult, *, as_json: bool, err: bool = False) -> None:
    """What is in an increment, and what whoever asked for it should know; ``err``: the output is taken."""
    if as_json:
        print_json(made)
        return
    for remark in made.remarks:
        echo(printable(f"vhdx: {remark}"), err=True)
    how = "told by the tables" if made.found_in_tables else "found by comparing"
    echo(
        f"{printable(made.path)}: over {printable(made.parent)}, {shown(made.virtual_size)}: "
        f"{shown(made.data_size)} of data and {shown(made.zeroed_size)} of zeros, {how}",
        err=err,
    )
