"""The columns of a report: names, types and meanings, of every verb. What stands here is stable.

Columns may be added; when one changes its meaning or goes, `SCHEMA` is a greater number.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from vhdx.text import printable

SCHEMA = 2
"""The version of these columns, which every row carries."""
Row: TypeAlias = dict[str, Any]
"""A row: a value or None for each column, in their order."""


class Column(NamedTuple):
    """A column; ``kind`` is ``"int64"``, ``"float64"``, ``"bool"`` or ``"string"``. Values may be missing."""

    name: str
    kind: str
    meaning: str


def _columns(*rows: tuple[str, str, str]) -> tuple[Column, ...]:
    return tuple(Column(*row) for row in rows)


COMMON = _columns(
    ("schema", "int64", "version of these columns"),
    ("verb", "string", "what was done"),
    ("path", "string", "the image; what of its name is no text as escapes, `\\xff`"),
    ("file_size", "int64", "length of its file, bytes"),
    ("mtime_ns", "int64", "when its file was last changed, nanoseconds since 1970"),
    ("format", "string", "`vhdx`, `vhd` or `raw`"),
    ("disk_type", "string", "`dynamic`, `fixed` or `differencing`"),
    ("virtual_size", "int64", "size of its disk, bytes"),
    ("disk_id", "string", "the identity that a guest sees"),
    ("data_write_guid", "string", "the identity of its contents, which children know"),
    ("parent", "string", "the image that it is a child of, as far as it is known"),
    (
        "parent_state",
        "string",
        "`found`, `named`, `moved`, `several`, `missing` or `loop`; nothing without a parent",
    ),
    ("level", "int64", "how many of its ancestors are in the fleet, which were done before it"),
    ("above", "string", "the worst `result` of these; nothing where there are none"),
    ("result", "string", "`ok`, `warnings`, `failed` (not done) or `errors`"),
    ("error_code", "string", "why it was not done, in a word"),
    ("error", "string", "the same as a sentence"),
    ("attempts", "int64", "how many workers it took: each that died costs one"),
    ("seconds", "float64", "how long it took"),
    ("examined_ns", "int64", "when it was done, nanoseconds since 1970"),
)
OF_VERB: dict[str, tuple[Column, ...]] = {
    "info": _columns(
        ("block_size", "int64", "bytes"),
        ("logical_sector_size", "int64", "bytes"),
        ("allocated_size", "int64", "what the file takes on the host, bytes"),
        ("log_state", "string", "`clean` or `dirty`"),
        ("present_blocks", "int64", "blocks that have space in the file"),
        ("free_size", "int64", "bytes of the file that nothing owns"),
        ("fragmentation", "float64", "share of neighbouring blocks that are apart in the file"),
        ("partition_table", "string", "`none`, `mbr`, `gpt` or `hybrid`"),
        ("partitions", "int64", "how many"),
        ("file_systems", "string", "what stands on the disk, by kind"),
        ("creator", "string", "the program that made it"),
        ("notes", "int64", "how many unusual things"),
    ),
    "check": _columns(
        ("errors", "int64", "how many"),
        ("warnings", "int64", "how many"),
        ("notes", "int64", "how many"),
        ("leaked_size", "int64", "of the file, which belong to nothing and are not zeros"),
        ("free_size", "int64", "of the file, which belong to nothing and are zeros"),
        ("codes", "string", "the findings by code, a JSON object of numbers"),
        ("worst", "string", "the gravest finding, in words"),
        ("unchecked", "string", "what could not be looked at"),
    ),
    "measure": _columns(
        ("data_size", "int64", "contents of the disk, bytes, at most"),
        ("required_size", "int64", "length of the file that a conversion would make, bytes"),
        ("fully_allocated_size", "int64", "the same once every block is written to, bytes"),
        ("compacted_size", "int64", "length of its own file after a compaction, bytes"),
        ("remarks", "string", "what else is to be said"),
    ),
    "usage": _columns(
        ("allocated_size", "int64", "what the file takes on the host, bytes"),
        ("file_systems", "string", "what stands on the disk, by kind"),
        ("file_system_size", "int64", "of all that could be read, bytes"),
        ("file_system_used", "int64", "the same, in use"),
        ("file_system_free", "int64", "the same, free"),
        ("not_counted", "string", "the volumes that could not be read, and why"),
        ("compacted_size", "int64", "length of the file after `compact --discard-free`, bytes"),
        ("given_back", "int64", "by how much that is shorter, bytes"),
        ("not_compacted", "string", "why that cannot be told"),
    ),
    "map": _columns(
        ("layers", "int64", "files of its chain"),
        ("data_size", "int64", "bytes of the disk that are stored"),
        ("own_data_size", "int64", "the same, in this file"),
        ("zero_size", "int64", "bytes that a layer says are zeros"),
        ("unallocated_size", "int64", "bytes that no layer says anything of"),
        ("runs", "int64", "stretches of one kind, state and layer"),
        ("jumps", "int64", "how often data goes on elsewhere in the file"),
    ),
    "hash": _columns(
        ("algorithm", "string", "of the hash"),
        ("hash", "string", "of the contents of the disk, parents included, in hexadecimal"),
    ),
    "compact": _columns(
        ("file_size_before", "int64", "bytes"),
        ("file_size_after", "int64", "bytes"),
        ("host_size_before", "int64", "what the file took on the host, bytes"),
        ("host_size_after", "int64", "bytes"),
        ("freed_blocks", "int64", "that need no space any more"),
        ("moved_size", "int64", "bytes that were moved in the file"),
        ("punched_size", "int64", "bytes that became holes of the file"),
        ("dry_run", "bool", "whether nothing was changed"),
        ("remarks", "string", "what else is to be said"),
    ),
    "convert": _columns(
        ("target", "string", "the new file"),
        ("target_format", "string", "`vhdx`, `vhd` or `raw`"),
        ("target_size", "int64", "its length, bytes"),
        ("data_size", "int64", "contents that were written, bytes"),
        ("remarks", "string", "what else is to be said"),
    ),
}
CHANGING = frozenset({"compact", "convert"})
"""Verbs that write."""
VERBS = tuple(OF_VERB)
RESULTS = ("ok", "warnings", "failed", "errors")
"""How it went, the worst last."""


def columns_of(verb: str) -> tuple[Column, ...]:
    """All columns of a verb. Raises ValueError for a verb that is none."""
    if verb not in OF_VERB:
        raise ValueError(f"there is no verb {verb!r} for a fleet; there are: {', '.join(VERBS)}")
    return (*COMMON, *OF_VERB[verb])


def worst(*results: str | None) -> str | None:
    """The worst of some results; None if there is none."""
    return max((each for each in results if each is not None), key=RESULTS.index, default=None)


def text_of(path: str) -> str:
    """A path as reports have it: one line of UTF-8, whatever its bytes are."""
    return printable(path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
