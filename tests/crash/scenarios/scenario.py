"""A scenario: an image, what is done to it, and how many different states of the file that must give."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.crash.explore import HARMLESS
from tests.crash.session import Session, reproducible
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.sparse import PAGE, content_of

Script = Callable[[Session], None]


@dataclass(frozen=True)
class Scenario:
    """`least` is how many distinct contents of the file its exploration examines at least.

    For each operation so many `samples` are drawn; of very long records only one operation in `one_in`.
    """

    name: str
    image: Callable[[], ImageBuilder]
    script: Script
    least: int
    samples: int = 70
    one_in: int = 1
    warnings: frozenset[str] = HARMLESS

    def __str__(self) -> str:
        return self.name

    def recorded(self, seed: int = 0) -> Session:
        """A session in which the script was played, on a fresh image."""
        with reproducible(seed):
            session = Session(content_of(self.image()), seed, story=f"scenario {self.name}, seed {seed}")
            try:
                self.script(session)
            finally:
                session.forget()
        return session


def block(number: int, block_size: int = MIB) -> Block:
    """A block that says whose it is: at its start, in its middle and at its end."""
    places = (0, block_size // 2 - 512, block_size - PAGE)
    return Block({at: pattern(number, PAGE, start=at) for at in places})


def dynamic(present: int = 3, **changes: Any) -> ImageBuilder:
    """A dynamic image of 12 blocks of 1 MiB, the first ones present."""
    usual: dict[str, Any] = {"disk_size": 12 * MIB, "blocks": {n: block(n) for n in range(present)}}
    return ImageBuilder(**{**usual, **changes})


def junk(image: ImageBuilder, first: int, count: int) -> None:
    """Fill MiB of the file that nobody claims with bytes that nobody may ever see."""
    for number in range(first, first + count):
        for at in range(0, MIB, 16 * PAGE):
            image.patches.append((number * MIB + at, pattern(number, 2 * PAGE, 0x4A554E4B, at)))
