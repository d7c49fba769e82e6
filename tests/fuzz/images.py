"""What the targets whose input is an image have in common: where they begin, and what the bytes say."""

from collections.abc import Iterator
from random import Random

from tests.fuzz import mutate
from tests.fuzz.case import Seed, changed, packed, unpack
from tests.fuzz.seeds import seeds
from tests.support.sparse import Content

__all__ = ["corpus", "image_of", "mutated"]


def corpus() -> Iterator[bytes]:
    """Each seed as it is."""
    for number in range(len(seeds())):
        yield packed(number)


def mutated(data: bytes, chance: Random) -> bytes:
    """A case that differs in one step."""
    return mutate.mutated(data, chance, seeds())


def image_of(data: bytes) -> tuple[Content, Seed]:
    """The image that the bytes say, and the seed that it was made of."""
    case = unpack(data)
    seed = seeds()[case.seed % len(seeds())]
    return changed(seed, case), seed
