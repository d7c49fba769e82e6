"""Files on web servers and in object stores, read in blocks that are kept. Needs ``vhdx[remote]``."""

from __future__ import annotations

import errno
import io
import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from vhdx.storage.stream import StreamStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK_SIZE = 64 * 1024
"""What is fetched at least."""
_CACHED_BLOCKS = 128
_LARGEST_CACHED_READ = 16 * BLOCK_SIZE


def remote_storage(url: str, options: dict[str, Any] | None = None) -> StreamStorage:
    """A file elsewhere as a place for bytes. Raises what `remote_file` raises."""
    file = remote_file(url, options or {})
    return StreamStorage(file, file.name)


def remote_file(url: str, options: dict[str, Any]) -> CachedFile:
    """A file elsewhere, open to be read. Raises ImportError, OSError, ValueError for an unknown protocol."""
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415  an extra that only remote images need
    except ImportError:
        raise ImportError(
            "remote images need packages that are not installed; try: pip install 'vhdx[remote]'"
        ) from None
    name = without_secrets(url)
    try:
        file_system, path = url_to_fs(url, **options)
        file = file_system.open(path, "rb", block_size=BLOCK_SIZE, cache_type="none")
    except ImportError as error:
        raise ImportError(f"{name}: {error}; try: pip install 'vhdx[remote]'") from error
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
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

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
        data = self._fetched(start, end) if end - start > _LARGEST_CACHED_READ else self._cached(start, end)
        self._position = end
        return data

    def close(self) -> None:
        """Let go of the remote file."""
        self._blocks.clear()
        self._file.close()

    def _cached(self, start: int, end: int) -> bytes:
        wanted = range(start // BLOCK_SIZE, -(-end // BLOCK_SIZE))
        for run in self._missing(wanted):
            first = run.start * BLOCK_SIZE
            data = self._fetched(first, min(run.stop * BLOCK_SIZE, self._size))
            for block in run:
                self._blocks[block] = data[block * BLOCK_SIZE - first :][:BLOCK_SIZE]
        for block in wanted:
            self._blocks.move_to_end(block)
        data = b"".join(self._blocks[block] for block in wanted)
        while len(self._blocks) > _CACHED_BLOCKS:
            self._blocks.popitem(last=False)
        moved = wanted.start * BLOCK_SIZE
        return data[start - moved : end - moved]

    def _missing(self, wanted: range) -> Iterator[range]:
        """The runs of blocks that are not kept."""
        start = None
        for block in wanted:
            if block in self._blocks:
                if start is not None:
                    yield range(start, block)
                start = None
            elif start is None:
                start = block
        if start is not None:
            yield range(start, wanted.stop)

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
