"""One image as one page of HTML that needs nothing else; or its map as a picture."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from vhdx.errors import missing_extra
from vhdx.report import shapes
from vhdx.report.colours import COLOURS
from vhdx.report.hilbert import side_of
from vhdx.text import printable
from vhdx.units import format_size, size_text
from vhdx.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.partitions.table import Partition
    from vhdx.report.facts import Facts

_FINDINGS = 60
"""Findings that are told one by one."""
_PARTITIONS = 32
_LONGEST = 300
"""Characters of a sentence out of an image."""
_PICTURE_WIDTH = 1024
LEGEND = {
    "data": "data, in the file in the same order",
    "scattered": "data that goes on elsewhere in the file",
    "zeros": "zeros, as a layer says",
    "nothing": "no layer says anything",
}
"""What the colours of a map mean."""


def page_of(facts: Facts) -> str:
    """The page of an image. Raises OSError where there is no package that fills templates."""
    return rendered("image.html", **_values(facts))


def picture_of(facts: Facts) -> bytes:
    """The map of an image as PNG, by the drawing of the page. Raises OSError as `page_of`."""
    try:
        import resvg_py  # noqa: PLC0415  an extra
    except ImportError:
        raise missing_extra("report", "pictures need resvg-py") from None
    values = _values(facts)
    drawing = rendered(
        "picture.svg", **values, style=rendered("colours.css", colours=COLOURS, only_light=True)
    )
    return bytes(resvg_py.svg_to_bytes(svg_string=drawing, background="#ffffff", width=_PICTURE_WIDTH))


def _values(facts: Facts) -> dict[str, Any]:
    names = [printable(os.path.basename(layer.path)) for layer in facts.layers.value or ()]
    cells = facts.cells.value or []
    volumes = facts.volumes.value or ()
    size = sum(cell.length for cell in cells)
    return {
        "facts": facts,
        "name": printable(os.path.basename(facts.path)),
        "card": list(_card(facts)),
        "squares": shapes.squares(cells, names),
        "cell_length": cells[0].length if cells else 0,
        "told": shapes.told(cells, names),
        "names": names,
        "volume_bar": shapes.volume_bar(facts.table.value, volumes, size),
        "bare": _bare(facts),
        "file_bar": shapes.file_bar(facts.file.value) if facts.file.value else [],
        "file_sums": list(_file_sums(facts)),
        "arcs": shapes.arcs(facts.log.value) if facts.log.value else [],
        "findings": (facts.check.value.findings[:_FINDINGS]) if facts.check.value else (),
        "side": side_of(len(cells)),
        "legend": LEGEND,
        "colours": COLOURS,
        "result": _result(facts),
    }


def _bare(facts: Facts) -> list[Partition]:
    """The partitions in which nothing is recognised."""
    known = {each.partition for each in facts.volumes.value or ()}
    found = facts.table.value.partitions if facts.table.value else ()
    return [each for each in found if each.number not in known][:_PARTITIONS]


def _result(facts: Facts) -> str:
    found = facts.check.value
    if found is None:
        return "failed"
    return "errors" if found.errors else "warnings" if found.warnings else "ok"


def _card(facts: Facts) -> Iterator[tuple[str, str]]:
    """Who the image is."""
    yield "file", facts.path
    found = facts.info.value
    if found is None:
        yield "cannot be opened", facts.info.problem or ""
        return
    yield "format", f"{found.format}, {found.disk_type}"
    yield "size of the disk", size_text(found.virtual_size)
    yield "length of the file", size_text(found.file_size)
    if found.allocated_size is not None:
        yield "on the host", size_text(found.allocated_size)
    for name, label in _MORE.items():
        value = getattr(found, name, None)
        if value is not None:
            yield label, format_size(value) if name == "block_size" else str(value)
    yield "sectors", f"{found.logical_sector_size} logical, {found.physical_sector_size} physical"


_MORE = {
    "block_size": "blocks of",
    "creator": "made by",
    "disk_id": "disk id",
    "data_write_guid": "data write GUID",
    "file_write_guid": "file write GUID",
    "parent": "parent",
    "parent_problem": "parent not opened",
}
"""What only some formats have."""


def _file_sums(facts: Facts) -> Iterator[tuple[str, str, int]]:
    """What the bytes of the file are, in sums: the colour, the words, the bytes."""
    found = facts.file.value
    if found is None:
        return
    structures = sum(each.length for each in found.structures) + found.bitmap_size
    yield "structure", "structures", structures
    yield "data", "blocks", found.data_size
    yield "free", "free", found.free_size
    yield "leaked", "leaked: of nobody, and not zeros", found.leaked_size


def rendered(template: str, **values: Any) -> str:
    """A template with values in it, all of which are text that means nothing to HTML."""
    return str(_templates().get_template(template).render(version=__version__, **values))


@cache
def _templates() -> Any:
    try:
        import jinja2  # noqa: PLC0415  an extra
    except ImportError:
        raise missing_extra("report", "pages need Jinja2") from None
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("vhdx.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    found.filters["size"] = format_size
    found.filters["plain"] = _plain
    found.filters["counted"] = lambda number, word: f"{number} {word}" + ("s" if number != 1 else "")
    found.globals["percent"] = shapes.percent
    return found


def _plain(value: object) -> str:
    """Text out of an image: no control characters, not longer than a sentence."""
    text = printable(str(value))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
