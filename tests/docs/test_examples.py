"""Every command and every line of Python that the documentation shows does what it is shown to do."""

from pathlib import Path

import pytest

from tests.support.tools import needs

from .examples import example_of, has_examples, programs_of, run_page
from .scenes import SCENES

DOCS = Path(__file__).parents[2] / "docs"
ELSEWHERE = {"adapters.md", "clouds.md"}
"""Pages whose examples are run by the tests of what they show."""
PAGES = sorted(page for page in DOCS.rglob("*.md") if has_examples(page) and page.name not in ELSEWHERE)


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=page.stem, marks=needs(*programs_of(page))) for page in PAGES]
)
def test_a_page(page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SCENES[example_of(page)](tmp_path)
    run_page(page, tmp_path)


def test_a_page_that_is_wrong_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ echo one; echo two\none\n…\nthree\n```\n")
    with pytest.raises(AssertionError, match="echo one"):
        run_page(page, tmp_path)
