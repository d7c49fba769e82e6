"""What the libraries of libyal have in common, for whoever checks types: `typings/` says it of each."""

from __future__ import annotations

from vhdx.typed import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from typing import Any, Self


class Readable(Protocol):
    """An object of a library that holds bytes."""

    def get_size(self) -> int:
        """How many."""

    def read_buffer_at_offset(self, size: int, offset: int) -> bytes:
        """Some of them."""

    def get_number_of_extents(self) -> int:
        """In how many pieces they stand."""

    def get_extent(self, extent_index: int, /) -> tuple[int, int, int]:
        """Where a piece stands, its length and flags."""


class Handle(Readable, Protocol):
    """An object of a library that is a file or directory."""

    @property
    def name(self) -> str | None:
        """Its name; the root has none."""

    def get_number_of_sub_file_entries(self) -> int:
        """How many entries a directory has."""

    def get_sub_file_entry(self, sub_file_entry_index: int, /) -> Self:
        """One of them."""


H = TypeVar("H", bound=Handle)
H_co = TypeVar("H_co", bound=Handle, covariant=True)


class Volume(Protocol[H_co]):
    """A volume of a library."""

    def open_file_object(self, file_object: object) -> None:
        """Open it."""

    def get_root_directory(self) -> H_co:
        """Its root."""


V = TypeVar("V", bound="Volume[Any]")  # whose handles are H, which no type variable can say
