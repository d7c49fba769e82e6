"""A disk into an object of a store: front to back in parts, several at once, the first of them last."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from vhdx.ops.make.sink import touched_blocks
from vhdx.ops.make.source import IS_SOURCE
from vhdx.ops.make.writing import Writing
from vhdx.storage.blob_address import blob_address
from vhdx.storage.multipart import PartSizes
from vhdx.storage.object_stores import address_from
from vhdx.storage.upload_journal import Journal, UploadIdentity
from vhdx.storage.uploading import Finished, UploadingStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdx.disk.formats import Format
    from vhdx.ops.make.plan import ImageOptions
    from vhdx.ops.make.source import Source
    from vhdx.ops.make.target import Target
    from vhdx.storage.multipart import ObjectTarget, Part, Upload

_STAYS = "{}; nor could the upload be aborted ({}): its parts stay with the store, as upload {}"
_GOES_ON = "what was sent stays with the store: the same command goes on from {}"
_GONE = "{} tells of an upload that the store does not know any more: remove it to begin anew"


class ObjectDestination(NamedTuple):
    """An object that appears whole or not at all; gone on with by a journal, if there is to be one."""

    target: ObjectTarget
    format: Format
    overwrite: bool
    journal: str | None

    @property
    def medium(self) -> None:
        """Nothing is there yet."""

    def needs_map(self, options: ImageOptions) -> bool:  # noqa: ARG002
        """Of every format: how large the parts are follows from the size of all."""
        return True

    def refuse_source(self, source: Source) -> None:
        """Raise ValueError for an object that is read, FileExistsError for one that is to stay."""
        chain = () if source.disk is None else source.disk.chain
        if any(map(self.target.is_named_by, chain)):
            raise ValueError(IS_SOURCE.format(self.target.name))
        if self.target.is_there() and not self.overwrite:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self.target.name)

    @contextlib.contextmanager
    def opened(
        self, made: Target, source: Source, disk_size: int | None, remark: Callable[[str], None]
    ) -> Iterator[Writing]:
        """The object, completed at the end; aborted at a failure unless a journal tells how to go on."""
        assert disk_size is not None
        file_size = made.file_size(disk_size, _blocks(made, source))
        with self._uploading(made, source, disk_size, file_size) as (upload, sizes, finished):
            storage = UploadingStorage(upload, sizes, finished, self.target.name)
            try:
                yield Writing(made.forward_sink(storage, source, disk_size), storage.start_writing_back)
                storage.finish(overwrite=self.overwrite)
            finally:
                storage.stop()
            if storage.kept:
                remark(f"the store had {storage.kept} of {storage.kept + storage.sent} parts already")

    @contextlib.contextmanager
    def _uploading(
        self, made: Target, source: Source, disk_size: int, file_size: int
    ) -> Iterator[tuple[Upload, PartSizes, Finished]]:
        """An upload, new or gone on with, and how it is cut."""
        if self.journal is None:
            sizes = PartSizes.of(file_size, self.target.limits)
            upload = self.target.begin()
            with _aborted_at_failure(upload):
                yield upload, sizes, Finished({}, _tell_nobody)
            return
        identity = UploadIdentity(
            self.target.name, self.target.endpoint, _made(made, disk_size), _read_of(source)
        )
        with contextlib.closing(self._journal(self.journal, identity, file_size)) as journal:
            sizes = PartSizes.of(file_size, self.target.limits)
            if sizes.part_size != journal.part_size:
                raise ValueError(f"{journal.path} is the journal of parts of another size: name another file")
            upload = self.target.upload(journal.upload_id)
            kept = upload.kept_of(journal.parts)
            if kept is None:
                raise ValueError(_GONE.format(journal.path))
            with _saying_how_to_go_on(journal.path):
                yield upload, sizes, Finished(kept, journal.add)
            journal.remove()

    def _journal(self, path: str, identity: UploadIdentity, file_size: int) -> Journal:
        if os.path.lexists(path):
            return Journal.load(path, identity)
        sizes = PartSizes.of(file_size, self.target.limits)
        upload = self.target.begin()
        with _aborted_at_failure(upload):
            return Journal.begin(path, identity, upload.upload_id, sizes.part_size)


@contextlib.contextmanager
def object_destination(
    place: str, image_format: Format, *, overwrite: bool, journal: str | None
) -> Iterator[ObjectDestination]:
    """An object that an address names. Raises ValueError for none, and what reaching its store raises."""
    with contextlib.closing(_target_of(place)) as target:
        yield ObjectDestination(target, image_format, overwrite, journal)


def _target_of(place: str) -> ObjectTarget:
    scheme = place.partition("://")[0].lower()
    if scheme == "s3":
        from vhdx.storage.s3_uploads import S3Target  # noqa: PLC0415  each store has packages of its own

        return S3Target(address_from(place))
    if scheme == "gs":
        from vhdx.storage.google_uploads import GoogleTarget  # noqa: PLC0415  as above

        return GoogleTarget(address_from(place))
    from vhdx.storage.block_blob import BlockBlobTarget  # noqa: PLC0415  as above

    return BlockBlobTarget(blob_address(place))


@contextlib.contextmanager
def _aborted_at_failure(upload: Upload) -> Iterator[None]:
    """Leave nothing with the store if the block raises; OSError tells of what stays where that fails, too."""
    try:
        yield
    except BaseException as error:
        try:
            upload.abort()
        except OSError as second:
            raise OSError(
                errno.ECONNABORTED,
                _STAYS.format(str(error) or type(error).__name__, second.strerror, upload.upload_id),
            ) from None
        raise


@contextlib.contextmanager
def _saying_how_to_go_on(journal: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.strerror:
            error.strerror = f"{error.strerror}; {_GOES_ON.format(journal)}"
        raise


def _tell_nobody(_number: int, _part: Part) -> None:
    """Of what nobody goes on with no journal is kept."""


def _blocks(made: Target, source: Source) -> int:
    """How many blocks will have a place."""
    size = made.block_size
    return 0 if size is None else sum(count for _, count in touched_blocks(source.ranges(), size))


def _made(made: Target, disk_size: int) -> list[Any]:
    """What is made, but for the identity that is new each time."""
    plan = None if made.plan is None else made.plan._replace(disk_id=UUID(int=0), user_items=())
    return [made.format, made.is_dynamic, disk_size, repr(plan)]


def _read_of(source: Source) -> list[Any]:
    """The files that are read; of what is no file its name."""
    found: list[Any] = [source.format, source.size]
    for name in source.disk.chain if source.disk is not None else ():
        try:
            status = os.stat(name)
        except (OSError, ValueError):
            found.append([name])
        else:
            found.append([os.path.abspath(name), status.st_size, status.st_mtime_ns])
    return found
