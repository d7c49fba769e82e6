"""Formats that are not written here: the line by which QEMU writes them."""

from __future__ import annotations

import os

from vhdx.ops.make.addresses import shown
from vhdx.storage.stream import is_url
from vhdx.text import command, shell_word
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vhdx.disk.places import ParentPolicy

FORMATS = ("qcow2", "vmdk", "vdi")
"""Also the suffixes of their files."""


class Opening(NamedTuple):
    """How a source is opened, as the options say."""

    source: str
    source_format: str | None
    partition: int | None
    parents: ParentPolicy


def refuse_by_qemu(opening: Opening, target: str, target_format: str | None) -> None:
    """Raise ValueError, with the line that makes it, for a target of a format that QEMU writes."""
    wanted = target_format or os.path.splitext(target)[1][1:].lower()
    if wanted in FORMATS:
        raise ValueError(f"{wanted} is written by QEMU; {_way(opening, target, wanted)}")


def _way(opening: Opening, target: str, wanted: str) -> str:
    if opening.source == "-":
        return "make a VHDX of standard input first; then convert says how"
    if shown(opening.source) != opening.source:  # no line that is told has a secret in it
        return f"make a VHDX of {shown(opening.source)} first; then convert says how"
    if is_url(target):
        return "it makes a file: say the name of one"
    options = f" -f {opening.source_format}" if opening.source_format else ""
    options += f" --partition {opening.partition}" if opening.partition else ""
    directories = opening.parents.directories
    options += " --any-parent" if opening.parents.any_parent else ""
    options += " --parent-dir {}" * len(directories)
    line = f"qemu-img convert -O {wanted} {_arguments(target, wanted)}"
    return "try: " + command("serve" + options + " {} --run {}", *directories, opening.source, line)


def _arguments(target: str, wanted: str) -> str:
    """The address and the target, as the shell of `--run` takes them.

    On Windows no quotes within quotes mean the same to `cmd` and to PowerShell: a target has a plain name.
    """
    word = shell_word(target)
    if os.name != "nt":
        return f'"$uri" {word}'
    return f"%uri% {target if word == target else f'DISK.{wanted}'}"
