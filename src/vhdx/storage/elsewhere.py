"""Files on web servers, and behind other protocols of fsspec, in blocks that are kept: ``vhdx[remote]``."""

from __future__ import annotations

import errno
import io
import re
from typing import TYPE_CHECKING, Any

from vhdx.errors import missing_extra
from vhdx.storage.kept_blocks import BLOCK_SIZE, KeptBlocks
from vhdx.storage.stream import StreamStorage, is_object

if TYPE_CHECKING:
    from vhdx.storage.base import ReadableStorage


def remote_storage(url: str, options: dict[str, Any] | None = None) -> ReadableStorage:
    """A file elsewhere as a place for bytes. Raises what `remote_file` raises.

    Objects of the three large clouds are read by obstore unless there are options, which are fsspec's.
    """
    if is_object(url) and not options:
        from vhdx.storage.objects import object_storage  # noqa: PLC0415  web servers need none of it

        return object_storage(url)
    file = remote_file(url, options or {})
    return StreamStorage(file, file.name)


def remote_file(url: str, options: dict[str, Any]) -> CachedFile:
    """A file elsewhere, open to be read. Raises OSError, and ValueError for an unknown protocol."""
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415  an extra that only remote images need
    except ImportError:
        raise missing_extra("remote") from None
    name = without_secrets(url)
    try:
        file_system, path = url_to_fs(url, **options)
        file = file_system.open(path, "rb", block_size=BLOCK_SIZE, cache_type="none")
    except ImportError as error:
        raise missing_extra("remote", f"{name}: {error}") from error
    except FileNotFoundError as error:  # whatever kept the server from answering
        raise _unreachable(FileNotFoundError, errno.ENOENT, error.__cause__ or "not there", name) from None
    except OSError as error:
        raise _unreachable(OSError, error.errno or errno.EIO, error, name) from None
    except ValueError as error:  # of the words, not of what they lead to
        raise ValueError(f"{name}: {without_secrets(str(error))}") from None
    except Exception as error:  # noqa: BLE001  each protocol has a tree of errors of its own
        raise _unreachable(OSError, errno.EIO, error, name) from None
    if getattr(file, "size", None) is None or not file.seekable():
        raise _no_parts(name)
    return CachedFile(file, name)


def without_secrets(text: str) -> str:
    """A URL, or words with URLs in them, as it may stand in a message: no signed queries, no passwords."""
    return re.sub(r"//[^/@\s]*@", "//", re.sub(r"\?[^\s'\"]*", "", text))


def _unreachable(kind: type[OSError], number: int, error: object, name: str) -> OSError:
    """What is raised ``from None``: a traceback would show the first error, too, with its secrets."""
    return kind(number, f"cannot be fetched ({without_secrets(str(error))})", name)


def _no_parts(name: str) -> OSError:
    return OSError(
        errno.ENOTSUP, "the server does not deliver parts of files (ranges); fetch the whole file", name
    )


class CachedFile:
    """A cursor over a remote file that fetches aligned blocks, neighbours at once, and keeps the latest.

    ``file`` is what `fsspec` opened, without a cache. For one thread at a time, as all file objects.
    """

    def __init__(self, file: Any, name: str) -> None:
        self._file = file
        self.name = name
        self._size: int = file.size
        self._position = 0
        self._kept = KeptBlocks(lambda ranges: [self._fetched(*each) for each in ranges], self._size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move the cursor."""
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}
        self._position = bases[whence] + offset
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes, fewer at the end."""
        start = self._position
        end = self._size if size < 0 else min(start + size, self._size)
        if end <= start:
            return b""
        data = self._kept.read(start, end)
        self._position = end
        return data

    def close(self) -> None:
        """Let go of the remote file."""
        self._kept.clear()
        self._file.close()

    def _fetched(self, start: int, end: int) -> bytes:
        """Exactly these bytes from the server."""
        try:
            self._file.seek(start)
            data: bytes = self._file.read(end - start)
        except ValueError:
            raise _no_parts(self.name) from None
        except OSError as error:
            raise _unreachable(OSError, error.errno or errno.EIO, error, self.name) from None
        except Exception as error:  # noqa: BLE001  as in `_storage`
            raise _unreachable(OSError, errno.EIO, error, self.name) from None
        if len(data) != end - start:
            said = f"the server delivered {len(data)} of {end - start} bytes at offset {start}"
            raise OSError(errno.EIO, said, self.name)
        return data
