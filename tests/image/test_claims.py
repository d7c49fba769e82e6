"""Space claimed by several blocks, MiB by MiB, against a plain count."""

import io
import random

import pytest

from tests.support.build import ImageBuilder
from tests.support.layout import FULLY_PRESENT, MIB, PARTIALLY_PRESENT
from vhdx.image.claims import claims_by_mib
from vhdx.image.image import load
from vhdx.storage.stream import StreamStorage


@pytest.mark.parametrize("seed", range(20))
def test_claims_are_counted(seed: int) -> None:
    chance = random.Random(seed)
    block_size = chance.choice((1, 2, 8)) * MIB
    image = ImageBuilder(40 * block_size, block_size, seed=1).child()
    counts = [0] * 64
    for block in range(40):
        place, state = chance.randrange(80), chance.choice((0, 2, 3, FULLY_PRESENT, PARTIALLY_PRESENT))
        image.bat[image.bat_index(block)] = place * MIB | state
        if state in (FULLY_PRESENT, PARTIALLY_PRESENT) and 0 < place < 64:
            for mebibyte in range(place, min(64, place + block_size // MIB)):
                counts[mebibyte] += 1
    image.bat[image.bitmap_index(0)] = 33 * MIB | 6
    counts[33] += 1
    image.file_length = 64 * MIB
    loaded = load(StreamStorage(io.BytesIO(image.build())))
    found = claims_by_mib(loaded.bat, loaded.geometry, 64 * MIB).tolist()
    assert found == [min(count, 2) for count in counts]
