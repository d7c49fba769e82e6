"""`docs/reference/fleet.md` tells every column."""

import re
from pathlib import Path

from vhdx.fleet.columns import COMMON, OF_VERB, SCHEMA

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "fleet.md").read_text()


def _told(section: str) -> list[tuple[str, ...]]:
    return re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \|$", section, re.MULTILINE)


def test_every_column_is_told() -> None:
    title, *sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    told = {section.splitlines()[0]: _told(section) for section in sections}
    assert told.pop("Of every verb") == [tuple(column) for column in COMMON]
    assert told == {verb: [tuple(column) for column in columns] for verb, columns in OF_VERB.items()}
    assert f"Version {SCHEMA} of the columns" in title
