"""Disks whose files come over a network: many reads on their way at once, answered in order.

Most of the time goes by until an answer begins; which places come next the disk's map tells before.
"""

from __future__ import annotations

from collections import deque

from vhdx.storage.stream import is_export, is_url
from vhdx.typed import TYPE_CHECKING
from vhdx.waiting import result_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from concurrent.futures import Future
    from typing import TypeVar

    from vhdx.disk.base import VirtualDisk

    Read = TypeVar("Read")

AT_ONCE = 16


def is_afar(disk: VirtualDisk) -> bool:
    """Whether a file of its chain is behind a URL, other than that of an NBD server."""
    return any(is_url(name) and not is_export(name) for name in getattr(disk, "chain", ()))


def read_ahead(
    read: Callable[[int, int], Read], places: Iterable[tuple[int, int]]
) -> Generator[Read, None, None]:
    """What ``read`` gives for each (offset, length), in order; called by threads, for some places ahead.

    Closing it waits for the calls that run.
    """
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  most disks are on this host

    with ThreadPoolExecutor(AT_ONCE, "read ahead") as pool:
        coming: deque[Future[Read]] = deque()
        try:
            for place in places:
                coming.append(pool.submit(read, *place))
                if len(coming) == AT_ONCE:
                    yield result_of(coming.popleft())
            while coming:
                yield result_of(coming.popleft())
        finally:
            pool.shutdown(cancel_futures=True)
