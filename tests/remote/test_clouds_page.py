"""The how-to page on object stores, run as it stands."""

from pathlib import Path

from tests.docs.examples import example_of, run_page
from tests.docs.scenes import SCENES

from .store import Store

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "clouds.md"


def test_the_page(store: Store, tmp_path: Path) -> None:
    SCENES[example_of(PAGE)](tmp_path)
    store.client.create_bucket(Bucket="backups")
    run_page(PAGE, tmp_path)
    assert [each["Key"] for each in store.client.list_objects_v2(Bucket="backups")["Contents"]] == ["vm.vhdx"]
