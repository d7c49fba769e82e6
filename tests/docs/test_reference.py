"""The reference names everything that is public."""

import re
from pathlib import Path

import vhdx

LIBRARY = Path(__file__).parents[2] / "docs" / "reference" / "library.md"


def test_every_public_name_stands_in_the_reference() -> None:
    named = re.findall(r"^\.\. auto\w+:: vhdx\.(\w+)$", LIBRARY.read_text(), re.MULTILINE)
    assert sorted(named) == sorted(set(vhdx.__all__) - {"__version__"})
