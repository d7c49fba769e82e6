"""Disks in other formats: what is said of them where only a VHDX will do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.errors import UnsupportedImageError
from vhdx.format.foreign import PREFIX_SIZE, RAW_SUFFIXES, foreign
from vhdx.image.vhd_load import has_sound_footer
from vhdx.storage.base import read_copy
from vhdx.text import command

if TYPE_CHECKING:
    from vhdx.storage.base import ReadableStorage


def refuse_other_formats(storage: ReadableStorage) -> None:
    """Raise UnsupportedImageError for what begins like no VHDX if it is a VHD, or named like a raw disk."""
    if has_sound_footer(storage):
        raise _only_a_vhdx("this is a VHD, the older format: only a VHDX will do here", storage.name)
    prefix = read_copy(storage, min(PREFIX_SIZE, storage.size()), 0)
    if storage.name.lower().endswith(RAW_SUFFIXES) and foreign(prefix) is None:
        raise _only_a_vhdx(
            "this has the name of a raw disk and begins like no VHDX: only a VHDX has that", storage.name
        )


def vhd_is_only_read(path: str) -> UnsupportedImageError:
    """What is raised of a VHD where it would be changed."""
    return _only_a_vhdx("this is a VHD, the older format, which is only read", path)


def _only_a_vhdx(sentence: str, path: str) -> UnsupportedImageError:
    return UnsupportedImageError(sentence, image=path, next_command=command("convert {} NEW.vhdx", path))
