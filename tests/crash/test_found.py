"""What this folder has found, each as small as it can be told."""

import pytest

from tests.support.layout import MIB, UNMAPPED
from tests.support.lying import Record
from tests.support.soundness import Surveyor
from tests.support.sparse import content_of
from vhdx.disk.open import writable_disk

from .scenarios.scenario import block, dynamic


@pytest.mark.parametrize("missing", [1, 2])
def test_space_kept_behind_the_end_of_the_file_gets_no_second_owner(missing: int) -> None:
    """A block without contents names space of which so many MiB are not in the file, as a cut file has it."""
    image = dynamic(present=0, disk_size=20 * MIB, block_size=2 * MIB, blocks={0: block(0, 2 * MIB)})
    kept = image.length()
    image.bat = {5: kept | UNMAPPED}
    image.file_length = kept + (2 - missing) * MIB
    storage = Record().storage("image.vhdx", content_of(image))
    with writable_disk(storage) as disk:
        disk.pwrite(b"new", 12 * MIB)
    Surveyor().survey(storage.content)


def test_the_space_of_a_last_block_is_its_own_also_behind_the_end_of_the_disk() -> None:
    """The disk uses 1 MiB of it; the library's own reader refuses a file where another block has the rest."""
    image = dynamic(
        disk_size=13 * MIB, block_size=4 * MIB, blocks={0: block(0, 4 * MIB), 3: block(3, 4 * MIB)}
    )
    places = image.plan().blocks
    image.blocks[0].file_offset, image.blocks[3].file_offset = places[3], places[0]
    storage = Record().storage("image.vhdx", content_of(image))
    with writable_disk(storage) as disk:
        disk.zero(length=4 * MIB, offset=0)
        disk.flush()
        disk.pwrite(b"new", 4 * MIB)
    Surveyor().survey(storage.content)
    with writable_disk(storage) as disk:
        assert disk.pread(3, 4 * MIB) == b"new"


def test_closing_does_not_cut_into_the_last_block() -> None:
    image = dynamic(disk_size=13 * MIB, block_size=4 * MIB, blocks={3: block(3, 4 * MIB)})
    storage = Record().storage("image.vhdx", content_of(image))
    with writable_disk(storage) as disk:
        disk.pwrite(b"new", 12 * MIB)
    assert storage.size() == image.length()
