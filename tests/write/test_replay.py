"""A dirty log that is replayed in its place by the first change: what everybody sees before and after."""

from pathlib import Path

import pytest

from tests.support.layout import MIB
from vhdx.disk.open import open_disk

from .checking import assert_sound, guids_of, is_clean, log_guid_of, model_of
from .scenarios import SCENARIOS


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "a.vhdx"
    SCENARIOS["replay"].make(path)
    assert not is_clean(path)
    return path


def test_the_file_answers_after_the_replay_and_not_what_was_replayed_in_memory(path: Path) -> None:
    model = model_of(path)
    with open_disk(path, "r+") as disk:
        model.assert_equal(disk.pread)
        disk.pwrite(b"new block", MIB + 5)
        model.write(b"new block", MIB + 5)
        disk.flush()
        image = disk.layers[0]
        with image.pages.lock:  # as if so much had been read since that nothing of it is remembered
            image.pages._clean.clear()
            image.reader.forget(0, image.geometry.block_count)
        model.assert_equal(disk.pread)
    assert_sound(path, model)


def test_the_old_log_is_out_of_force_before_contents_change(path: Path) -> None:
    """Nobody may replay it over newer pages; the identity of the contents changes with it."""
    first, identity = log_guid_of(path), guids_of(path)
    with open_disk(path, "r+") as disk:
        disk.pwrite(b"in place", 4 * MIB)
        assert is_clean(path)
        assert guids_of(path)[0] != identity[0]
        assert guids_of(path)[1] != identity[1]
        disk.pwrite(b"new", MIB)
        disk.flush()
        assert not is_clean(path)
        assert log_guid_of(path) != first
    assert is_clean(path)
