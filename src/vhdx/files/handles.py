"""What the libraries of libyal have in common, for whoever checks types: `typings/` says it of each."""

from __future__ import annotations

from typing import Any, Protocol, Self, TypeVar


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


class PosixHandle(Handle, Protocol):
    """An object of a library that is an inode."""

    def get_file_mode(self) -> int:
        """Its kind and permissions."""

    def get_inode_number(self) -> int:
        """Its number."""

    def get_number_of_links(self) -> int:
        """How many names it has."""

    def get_owner_identifier(self) -> int | None:
        """Whose it is."""

    def get_group_identifier(self) -> int | None:
        """Whose group's it is."""

    def get_modification_time_as_integer(self) -> int | None:
        """When its contents changed."""

    def get_access_time_as_integer(self) -> int | None:
        """When they were read."""

    def get_inode_change_time_as_integer(self) -> int | None:
        """When it changed itself."""

    def get_creation_time_as_integer(self) -> int | None:
        """When it was made."""

    def get_symbolic_link_target(self) -> str | None:
        """Where a link leads."""

    def get_device_number(self) -> tuple[int, int] | None:
        """Major and minor number of a device."""


H = TypeVar("H", bound=Handle)
H_co = TypeVar("H_co", bound=Handle, covariant=True)
P = TypeVar("P", bound=PosixHandle)


class Volume(Protocol[H_co]):
    """A volume of a library."""

    def open_file_object(self, file_object: object) -> None:
        """Open it."""

    def get_root_directory(self) -> H_co:
        """Its root."""


V = TypeVar("V", bound=Volume[Any])  # whose handles are H or P, which no type variable can say
