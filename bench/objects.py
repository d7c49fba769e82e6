"""A disk into S3, here moto in a process of its own: whole processes, from a file to the completed object."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

import vhdx
from bench.conversion import MIB, fill
from bench.harness import OURS, Aim, Row, command, our_command, rows_of, take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.harness import Contestant

SIZE, LARGE = 512 * MIB, 4096 * MIB
AIMS = {"boto3, the full VHD": Aim("5x as fast", lambda ours, theirs: 5 * ours <= theirs)}
_SERVER = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
_BOTO3 = """
import sys
import boto3
client = boto3.client("s3")
client.create_bucket(Bucket="disks")
if len(sys.argv) > 1:
    client.upload_file(sys.argv[1], "disks", "full.vhd")
"""


def measure(folder: Path) -> Iterator[Row]:
    """A VHDX of 512 MiB with 1 % data, as a VHDX; against the fixed VHD of it as a file by boto3.

    Of 4 GiB moto takes only what we send: it joins the parts of the full VHD in 10 GB of memory, for longer
    than clients wait.
    """
    if find_spec("moto") is None or find_spec("boto3") is None:
        return
    raw, image, full = folder / "source.raw", folder / "source.vhdx", folder / "full.vhd"
    fill(raw, SIZE, 0.01)
    vhdx.convert(raw, image, options=vhdx.ImageOptions(block_size=MIB))
    vhdx.convert(raw, full)
    with _store():
        line = ("convert", "--force", "--block-size", "1M", image, "s3://disks/disk.vhdx")
        contestants: dict[str, Contestant] = {
            OURS: command(*our_command(), *line),
            "boto3, the full VHD": command(sys.executable, "-c", _BOTO3, full),
        }
        yield from rows_of("VHDX of 512 MiB, 1 % of it data, to S3 (moto)", take_turns(contestants), AIMS)
        image.unlink()
        fill(raw, LARGE, 0.01)
        vhdx.convert(raw, image, options=vhdx.ImageOptions(block_size=MIB))
        begin = time.perf_counter()
        contestants[OURS]()
        yield Row("VHDX of 4 GiB, 1 % of it data, to S3 (moto), once", time.perf_counter() - begin, "", None)


@contextlib.contextmanager
def _store() -> Iterator[None]:
    """A store of this host, and the environment that leads there."""
    before = dict(os.environ)
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        os.environ.update(
            AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.stdout.readline().strip()}",
            AWS_ACCESS_KEY_ID="bench",
            AWS_SECRET_ACCESS_KEY="bench",
            AWS_REGION="us-east-1",
            AWS_DEFAULT_REGION="us-east-1",
        )
        try:
            subprocess.run([sys.executable, "-c", _BOTO3], check=True)
            yield
        finally:
            server.kill()
            os.environ.clear()
            os.environ.update(before)
