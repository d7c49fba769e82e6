"""Files of guests as libraries built for Windows read them: the same archive as on Linux."""

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.files.trees import at_work, made, plant, plant_fat
from tests.windows.test_judged import ROOT, SECONDS, WINE

pytestmark = pytest.mark.skipif(not WINE, reason="`make windows` runs it: it needs a Python under Wine")


def archive(command: Sequence[str], image: Path) -> str:
    """The hash of what `vhdx tar` writes there."""
    words = [*command, "-m", "vhdx", "tar", "--devices", f"{image}:/"]
    done = subprocess.run(words, capture_output=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-1000:]
    assert len(done.stdout) > 3_000_000
    return hashlib.sha256(done.stdout).hexdigest()


@pytest.mark.parametrize("kind", ["ext4", "NTFS", "FAT32"])
def test_every_library(kind: str, tmp_path: Path) -> None:
    image = made(kind, tmp_path)
    if kind == "FAT32":
        plant_fat(image, tmp_path)
    else:
        with at_work(image, kind) as root:
            plant(root, kind)
    windows = archive(["sh", str(ROOT / ".ci" / "windows")], image)
    assert windows == archive([sys.executable], image)
