"""What a worker is asked, and what is known before it answers; it goes to other processes as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vhdx.fleet.columns import SCHEMA, columns_of, text_of

if TYPE_CHECKING:
    from vhdx.fleet.columns import Row
    from vhdx.fleet.options import FleetOptions
    from vhdx.fleet.plan import Planned


class Task(NamedTuple):
    """What one worker is asked."""

    verb: str
    image: Planned
    options: FleetOptions

    @property
    def key(self) -> str:
        """What tells this task from all others: the image, and which state of it."""
        image = self.image
        return f"vhdx-{self.verb}-{text_of(image.path)}-{image.mtime_ns}-{image.size}"


def empty_row(task: Task) -> Row:
    """What is known of an image before it is asked."""
    image = task.image
    row: Row = dict.fromkeys(column.name for column in columns_of(task.verb))
    row |= {name: value for name, value in image._asdict().items() if name in row}
    row |= {
        "schema": SCHEMA,
        "verb": task.verb,
        "path": text_of(image.path),
        "file_size": image.size,
        "attempts": 1,
        "result": "failed",
    }
    if image.parent is not None:
        row["parent"] = text_of(image.parent)
    return row
