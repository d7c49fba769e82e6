"""An object that is written in parts, in whatever store: how it is cut, and what is asked of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from vhdx.units import GIB, MIB, size_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

MAXIMUM_PARTS = 50000
MAXIMUM_PART = 5 * GIB
"""What no store takes more of."""
SMALLEST_PART = 8 * MIB
AT_ONCE = 8


class Part(NamedTuple):
    """A part that the store has: its MD5, and the word by which the store knows it."""

    length: int
    digest: str
    tag: str


class PartLimits(NamedTuple):
    """How many parts an object has at most, and how many bytes one of them."""

    parts: int
    part_size: int


class PartSizes(NamedTuple):
    """How an object is cut, and how many of its parts are on their way at once."""

    part_size: int
    at_once: int

    @classmethod
    def of(cls, size: int, limits: PartLimits) -> Self:
        """For an object of so many bytes. Raises ValueError for one that is too large."""
        wanted = max(SMALLEST_PART, -(-size // limits.parts // MIB) * MIB)
        if wanted > limits.part_size:
            raise ValueError(
                f"an object has at most {limits.parts} parts of {size_text(limits.part_size)} there"
            )
        return cls(wanted, max(1, min(AT_ONCE, AT_ONCE * SMALLEST_PART // wanted)))


class ObjectTarget(Protocol):
    """An object that is to be written."""

    limits: PartLimits
    endpoint: str
    """Where the store is, as far as the name does not say."""

    @property
    def name(self) -> str:
        """Its address, without anything secret."""

    def is_there(self) -> bool:
        """Whether an object has the name, as far as that can be seen.

        Raises ValueError for one that is never written over.
        """

    def is_named_by(self, place: str) -> bool:
        """Whether this is an address of the same object."""

    def begin(self) -> Upload:
        """A new upload."""

    def upload(self, upload_id: str) -> Upload:
        """One that was begun."""

    def close(self) -> None:
        """Let go of the connections."""


class Upload(Protocol):
    """An upload that is under way."""

    upload_id: str

    def give_up(self, *, given_up: bool) -> None:
        """Ask nothing again from now on: whoever waits for the requests that run has no use for answers."""

    def kept_of(self, parts: Mapping[int, Part]) -> dict[int, Part] | None:
        """The parts that the store still has, as far as it tells; None if it does not know the upload."""

    def put(self, number: int, data: bytes | bytearray, digest: bytes) -> Part:
        """Send a part, which the store compares with its MD5."""

    def complete(self, parts: Mapping[int, Part], *, overwrite: bool) -> None:
        """Make the object of its parts, at once. Raises FileExistsError for a name that is taken.

        An answer that is lost is not taken for a failure if the object is there as it is to be.
        """

    def abort(self) -> None:
        """Let the store forget it; nothing if that is so."""
