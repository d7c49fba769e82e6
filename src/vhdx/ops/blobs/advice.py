"""What comes next in Azure: commands of its own program, as they can be pasted.

The names of the resource group and, of a managed disk, of the disk stand in no address: the shell's variables
``RESOURCE_GROUP`` and ``DISK`` have them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vhdx.text import shell_word

if TYPE_CHECKING:
    from vhdx.storage.blob_address import BlobAddress

_GROUP = '--resource-group "$RESOURCE_GROUP"'
_DISK = f'{_GROUP} --name "$DISK"'
_LONGEST_NAME = 80


def after_upload(address: BlobAddress) -> str:
    """What makes a disk of a blob; of a managed disk, what makes it one that can be attached."""
    if address.is_managed_disk:
        return revoke()
    name = disk_name(address.blob)
    return f"az disk create {_GROUP} --name {shell_word(name)} --source {shell_word(address.url)}"


def revoke() -> str:
    """What ends the state in which a managed disk is only read or written from outside."""
    return f"az disk revoke-access {_DISK}"


def room_for(size: int) -> str:
    """What makes a managed disk that takes an upload of so many bytes."""
    return f"az disk create {_DISK} --upload-type Upload --upload-size-bytes {size}"


def disk_name(blob: str) -> str:
    """A name for a managed disk that tells where it came from."""
    stem = re.sub(r"\.vhd$", "", blob.rpartition("/")[2], flags=re.IGNORECASE)
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem)[:_LONGEST_NAME]
    return name.lstrip("_.-").rstrip(".-") or "disk"
