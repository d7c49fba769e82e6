"""The errors that this library raises, and what each of them says.

    VhdxError
    ├── CorruptImageError        the file breaks a rule of the format
    ├── UnsupportedImageError    the file is sound, but asks for something this library does not do
    ├── ParentNotFoundError      no file that may be tried is the parent of a differencing image
    ├── ParentMismatchError      files were found where the parent should be, none of them is the parent
    ├── FileSystemError          what a guest keeps on the disk is damaged, or not understood
    ├── ImageLockedError         somebody else holds the image
    └── ImageFailedError         an earlier failure made this object refuse everything until reopened

Wrong arguments are ``ValueError`` or ``TypeError``; failures of the operating system stay ``OSError``.
"""

from __future__ import annotations

import errno

from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import ClassVar


def cited(rule: str) -> str:
    """A section as it is cited: of [MS-VHDX], unless it names its document itself, as those of VHD do."""
    return rule if rule.startswith("[") else f"[MS-VHDX] {rule}"


def _after(text: str, sign: str) -> str:
    """What stands between a text and what goes on: nothing where a line of its own begins."""
    return "" if text.endswith("\n") else sign


class VhdxError(Exception):
    """A failure that has to do with an image: says whose fault, where, which rule and what to do next.

    ``fault`` is ``"file"``, ``"caller"`` or ``"machine"``; ``image`` names the file, ``structure`` and
    ``file_offset`` (bytes) the place in it, ``rule`` the section of [MS-VHDX] (or ``[VHD] …``),
    ``next_command`` a command that helps. All of them but ``fault`` may be None.
    """

    fault: ClassVar[str] = "file"

    def __init__(
        self,
        message: str,
        *,
        image: str | None = None,
        structure: str | None = None,
        file_offset: int | None = None,
        rule: str | None = None,
        next_command: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.image = image
        self.structure = structure
        self.file_offset = file_offset
        self.rule = rule
        self.next_command = next_command

    def __str__(self) -> str:
        place = self.structure or ""
        if self.file_offset is not None:
            place += f" at file offset {self.file_offset}"
        lead = ": ".join(part for part in (self.image, place.strip()) if part)
        text = f"{lead}: {self.message}" if lead else self.message
        if self.rule:
            text += f"{_after(text, ' ')}({cited(self.rule)})"
        if self.next_command:
            text += f"{_after(text, '; ')}try: {self.next_command}"
        return text


class CorruptImageError(VhdxError):
    """The file breaks a rule of the format, so no right answer can be given from it."""


class UnsupportedImageError(VhdxError):
    """The file is sound as far as can be seen, but needs something that this library does not do."""


class ParentNotFoundError(VhdxError):
    """The parent of a differencing image is at none of the places that may be tried."""


class ParentMismatchError(VhdxError):
    """Where the parent should be there are only files with another identity or another sector size."""


class FileSystemError(VhdxError):
    """A file system on the disk, or a file in it, is damaged or not understood; the image itself is not."""


class ImageLockedError(VhdxError):
    """Another process, or another object of this one, holds the image in a way that excludes this use."""

    fault = "machine"


class ImageFailedError(VhdxError):
    """An operation failed in a way that cannot be undone; the object refuses everything until reopened."""

    fault = "machine"


_CODES: tuple[tuple[type[BaseException], str], ...] = (
    (CorruptImageError, "corrupt"),
    (UnsupportedImageError, "unsupported"),
    (ParentNotFoundError, "parent-not-found"),
    (ParentMismatchError, "parent-mismatch"),
    (ImageLockedError, "locked"),
    (ImageFailedError, "failed"),
    (FileExistsError, "exists"),
    (FileNotFoundError, "not-found"),
    (PermissionError, "not-permitted"),
    (OSError, "host"),
    (ValueError, "usage"),
)


def error_code(error: BaseException) -> str:
    """One stable word for a failure, for programs."""
    return next((word for kind, word in _CODES if isinstance(error, kind)), "failed")


def missing_extra(extra: str, why: object = "") -> OSError:
    """The error for what only the packages of an extra of this one can do."""
    told = f"{why}; " if why else "this needs packages that are not installed; "
    return OSError(errno.ENOSYS, f'{told}try: pip install "vhdx[{extra}]"')
