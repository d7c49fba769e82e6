"""A block blob of Azure that is written in parts: blocks are put in any order, then the list of them is.

A block is named by its upload, its number and its bytes: what another upload sends to the same blob is
another block. Until the list is put nobody sees any of them; those of an upload that ended before are
discarded where that is allowed and takes nobody else's away, else by the service, after a week.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from vhdx.storage.blob import Blob, if_still
from vhdx.storage.blob_refusals import ChangedError
from vhdx.storage.multipart import AT_ONCE, Part, PartLimits
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vhdx.storage.blob_address import BlobAddress

_KIND = "BlockBlob"
_BLOCK = 4000 * MIB


class BlockBlobTarget(Blob):
    """A block blob that is to be written."""

    RIGHTS: ClassVar[dict[str, bool]] = {**Blob.RIGHTS, "delete": True}
    limits = PartLimits(50000, _BLOCK)
    endpoint = ""

    def __init__(self, address: BlobAddress) -> None:
        """Raises OSError if a package is missing, ValueError for a key that is none."""
        self.given_up = threading.Event()
        super().__init__(address, self.given_up, AT_ONCE)

    def is_there(self) -> bool:
        """Whether a blob has the name. Raises ValueError for one of pages, whose blocks nobody could put."""
        try:
            found = self.look()
        except PermissionError:  # who may only write
            return False
        if found is not None and found.kind != _KIND:
            raise ValueError(
                f"{self.name} is a {found.kind}, and this becomes a {_KIND}: choose another name"
            )
        return found is not None

    def begin(self) -> BlockBlobUpload:
        """A new upload, of which the service knows nothing yet."""
        return self.upload(uuid.uuid4().hex)

    def upload(self, upload_id: str) -> BlockBlobUpload:
        """One that was begun."""
        return BlockBlobUpload(self, upload_id)

    def put_block(self, block: str, data: bytes | bytearray, digest: bytes) -> None:
        """Put a block, which the service compares with its MD5."""
        md5 = bytearray(digest)
        self.tried(
            lambda: self.client.stage_block(block, data, len(data), transactional_content_md5=md5)  # type: ignore[arg-type]
        )

    def put_list(self, blocks: list[str], *, overwrite: bool) -> None:
        """Let these blocks be the blob. Raises FileExistsError for one that is there."""
        from azure.core import MatchConditions  # noqa: PLC0415  an extra
        from azure.storage.blob import BlobBlock  # noqa: PLC0415  an extra

        condition: dict[str, Any] = {} if overwrite else {"match_condition": MatchConditions.IfMissing}
        named = [BlobBlock(block) for block in blocks]
        try:
            self.tried(lambda: self.client.commit_block_list(named, **condition))
        except ChangedError:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self.name) from None

    def blocks(self, kind: str) -> dict[str, int]:
        """The length of each block that is ``committed`` or ``uncommitted``, by its name, in order."""
        try:
            listed = self.tried(lambda: self.client.get_block_list(kind))
        except FileNotFoundError:
            return {}
        except ValueError:
            raise OSError(errno.EPROTO, "its blocks have names that are none", self.name) from None
        return {str(block.id): int(block.size or 0) for block in listed[kind == "uncommitted"]}

    def discard(self) -> None:
        """Let the service forget all blocks of a blob that is not there: it is made empty, and removed."""
        with contextlib.suppress(FileExistsError):  # also where an answer was lost
            self.put_list([], overwrite=False)
        found = self.look()
        if found is not None and not found.size:
            with contextlib.suppress(FileNotFoundError, ChangedError):
                self.tried(lambda: self.client.delete_blob(**if_still(found.etag)))


class BlockBlobUpload:
    """The blocks of one upload."""

    def __init__(self, target: BlockBlobTarget, upload_id: str) -> None:
        self._target = target
        self.upload_id = upload_id

    def give_up(self, *, given_up: bool) -> None:
        """Try nothing again from now on."""
        (self._target.given_up.set if given_up else self._target.given_up.clear)()

    def _block(self, number: int, digest: str) -> str:
        """The name of a part: all have the same length, at most 64, as the service wants it.

        What is sent anew with other bytes is another block: who was killed may have had no time to note it.
        """
        return f"{self.upload_id}-{number:05}-{digest[:24]}"

    def kept_of(self, parts: Mapping[int, Part]) -> dict[int, Part]:
        """Those that the service still has: it drops them a week after the last came, or when others do."""
        lengths = self._target.blocks("uncommitted") if parts else {}
        return {
            number: part
            for number, part in parts.items()
            if lengths.get(self._block(number, part.digest)) == part.length
        }

    def put(self, number: int, data: bytes | bytearray, digest: bytes) -> Part:
        """Send a part."""
        self._target.put_block(self._block(number, digest.hex()), data, digest)
        return Part(len(data), digest.hex(), "")

    def complete(self, parts: Mapping[int, Part], *, overwrite: bool) -> None:
        """Make the blob of its parts, at once. Raises FileExistsError for a name that is taken."""
        blocks = [self._block(number, parts[number].digest) for number in sorted(parts)]
        try:
            self._target.put_list(blocks, overwrite=overwrite)
        except OSError:
            if list(self._target.blocks("committed")) != blocks:  # else only the answer was lost
                raise

    def abort(self) -> None:
        """Let the service forget its blocks, where no others lie beside them: it drops them itself."""
        target = self._target
        if not target.address.allows_deletion or target.is_there():
            return
        blocks = target.blocks("uncommitted")
        if blocks and all(block.startswith(f"{self.upload_id}-") for block in blocks):
            target.discard()
