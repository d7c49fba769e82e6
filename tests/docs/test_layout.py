"""`docs/layout.md` names every file of the source once."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "vhdx"
LAYOUT = (ROOT / "docs" / "layout.md").read_text()


def test_every_file_is_named_once() -> None:
    named = Counter(re.findall(r"^\| `([\w/*]+)` \|", LAYOUT, re.MULTILINE))
    files = {str(path.relative_to(SOURCE).with_suffix("")) for path in SOURCE.rglob("*.py")}
    files = {re.sub("cmd_.*", "cmd_*", file) for file in files if not file.endswith("__init__")}
    assert sorted(named) == sorted(files)
    assert set(named.values()) == {1}
