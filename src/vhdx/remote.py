"""Images that stand on a web server or in an object store, read in small parts. Needs ``vhdx[remote]``.

    import vhdx.remote

    with vhdx.remote.open("https://example.com/disk.vhdx") as disk:
        boot_sector = disk.pread(512, 0)

Only what is read is fetched. ``s3``, ``gs`` and ``az`` are read by `obstore`, which ``vhdx[cloud]`` brings;
``https``, others, and what is opened with options by `fsspec`, whose protocols all work for which their
packages are installed. Where they need no options, `vhdx.open`, `vhdx.check`, `vhdx.convert` and all that
read take the URL itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vhdx.disk.formats import closing_on_failure, format_of_contents
from vhdx.disk.open import readable_disk
from vhdx.disk.places import open_regular_file, policy_from
from vhdx.storage.elsewhere import remote_file, remote_storage
from vhdx.storage.stream import is_url

if TYPE_CHECKING:
    from vhdx.disk.formats import Format
    from vhdx.disk.opened import Disk
    from vhdx.disk.places import Parents
    from vhdx.storage.base import ReadableStorage
    from vhdx.storage.elsewhere import CachedFile


def open(  # noqa: A001  as in vhdx.open
    url: str, *, image_format: Format | None = None, parents: Parents = None, **options: Any
) -> Disk:
    """Open the image behind a URL to read its virtual disk.

    ``parents`` names the parents of a differencing image, by URLs or paths; no other is ever looked for or
    fetched. ``options`` go to the file system of `fsspec`: ``anon``, ``key``, ``secret`` and ``endpoint_url``
    for ``s3``, ``headers`` for ``https``. Reads are serialised; at most 8 MiB of each file are kept. A dirty
    log is replayed in memory. Who replaces the file meanwhile mixes what is read.

    Raises OSError if a package is missing, and where the server refuses or delivers no parts of
    files, ValueError for an unknown protocol, and what `vhdx.open` raises.
    """

    def open_file(place: str, lock: bool) -> ReadableStorage:
        return remote_storage(place, options) if is_url(place) else open_regular_file(place, lock)

    policy = policy_from(parents)._replace(open_file=open_file)
    storage = remote_storage(url, options)
    with closing_on_failure(storage):
        return readable_disk(storage, image_format or format_of_contents(url, storage), policy)


def file(url: str, **options: Any) -> CachedFile:
    """What stands behind a URL as a file object, as `vhdx.check`, `vhdx.convert` and others take it.

    ``options`` and what is raised are as for `open`.
    """
    return remote_file(url, options)
