"""What an image says of its disk changes: fixed and dynamic, identity, user items."""

from unittest import mock

from tests.crash.session import Session
from tests.support.build import ImageBuilder
from tests.support.layout import KIB, MIB
from tests.support.parts import Block
from tests.support.patterns import pattern

from .allocating import with_anchors, with_gaps
from .foreign import fixed
from .scenario import Scenario, dynamic
from .writing import large, of_4096

OTHER = 4096 + 512


def to_fixed(session: Session) -> None:
    session.set_type("fixed")
    session.write(9 * MIB % session.size + 512, 512)
    session.flush()
    session.zero(0, 2 * MIB)
    session.close()


def to_dynamic(session: Session) -> None:
    session.set_type("dynamic")
    session.write(3 * MIB + 512, 512)
    session.close()


def there_and_back(session: Session) -> None:
    session.set_type("fixed")
    session.set_type("dynamic")
    session.write(session.size - 512, 512)
    session.close()


def in_many_commits(session: Session) -> None:
    """As if a page of the table had four entries, and the log took one page a commit."""
    with (
        mock.patch("vhdx.reshape.allocate.SLOTS_IN_PAGE", 4),
        mock.patch(
            "vhdx.write.transaction.Transaction.has_room",
            lambda self, pages: not self._pages.dirty_count,
        ),
    ):
        session.set_type("fixed")
        session.set_type("dynamic")


def identity(session: Session) -> None:
    session.write(512, 512)
    session.set_identity(77, 512)
    session.write(512, 512)
    session.set_identity(78, 4096)
    session.close()


def items(session: Session) -> None:
    """Small ones, one that is longer than half the log, others in its place; rows come and go."""
    session.put_item(1, b"one")
    session.put_item(2, pattern(2, 5000))
    session.put_item(3, pattern(3, 700 * KIB))
    session.put_item(1, pattern(1, 70_000))
    session.put_item(2, None)
    session.put_item(3, None)
    session.put_item(4, pattern(4, 600 * KIB + OTHER))
    session.put_item(5, b"")
    session.put_item(6, pattern(6, 800 * KIB))
    session.put_item(1, None)
    session.write(512, 512)
    session.close()


def _zeros() -> ImageBuilder:
    image = fixed()
    image.blocks[3] = Block()
    return image


SCENARIOS = (
    Scenario("dynamic becomes fixed", dynamic, to_fixed, 40),
    Scenario("dynamic becomes fixed, among junk", with_gaps, to_fixed, 60),
    Scenario("dynamic becomes fixed, with kept space", with_anchors, to_fixed, 60),
    Scenario("dynamic becomes fixed, blocks of 4 MiB", large, to_fixed, 40),
    Scenario("dynamic becomes fixed and dynamic", dynamic, there_and_back, 30, samples=8),
    Scenario("fixed becomes dynamic", _zeros, to_dynamic, 60),
    Scenario("fixed and dynamic in many commits", dynamic, in_many_commits, 30, samples=8),
    Scenario("another identity", dynamic, identity, 37),
    Scenario("another identity, sectors of 4096 bytes", of_4096, identity, 37),
    Scenario("user items come and go", dynamic, items, 200, samples=12),
)
