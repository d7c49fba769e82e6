"""Whether the host's disk was waited for is what the host counts, in this thread alone."""

import os
import sys
import threading
from pathlib import Path

import pytest

from vhdx.nbd.watch import DiskWatch


@pytest.mark.skipif(sys.platform != "linux", reason="other hosts do not tell")
def test_reads_from_the_disk_are_noticed_once_and_in_their_own_thread(tmp_path: Path) -> None:
    import resource  # noqa: PLC0415  Unix only

    (tmp_path / "file").write_bytes(os.urandom(1 << 20))
    watch = DiskWatch()
    watch.has_waited()
    with (tmp_path / "file").open("rb", buffering=0) as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_inblock
        other = threading.Thread(target=os.pread, args=(file.fileno(), 4096, 0))
        other.start()
        other.join()
        assert not watch.has_waited()
        os.pread(file.fileno(), 4096, 900_000)
        if resource.getrusage(resource.RUSAGE_THREAD).ru_inblock == before:
            pytest.skip("the temporary directory is in memory")
        assert watch.has_waited()
        assert not watch.has_waited()
