"""What runs first in vhdx.pyz: it is unpacked once, as nothing compiled can be imported out of an archive.

It goes into a directory of its own content in the user's cache, under that name only when all of it is there.
"""

import json
import os
import shutil
import sys
import tempfile
import time
import zipfile

PACKAGES = "packages/"
PAUSES = (0.1, 0.3, 1.0) if os.name == "nt" else ()
"""Seconds: what looks for viruses opens new files, and no directory gets another name meanwhile."""


def cache() -> str:
    """Where programs keep what they can make again."""
    named = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME", "")
    return os.path.join(named or os.path.join(os.path.expanduser("~"), ".cache"), "vhdx-pyz")


def refuse_others(python: str, platform: str) -> None:
    """End where the compiled packages are those of another Python."""
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if here != python or platform.startswith("win") != (os.name == "nt"):
        sys.exit(
            f"vhdx: this file is for Python {python} on {platform}, not for Python {here} on {sys.platform}"
        )


def unpacked(archive: zipfile.ZipFile, name: str) -> str:
    """The directory with the packages, made unless it is there."""
    final = os.path.join(cache(), name)
    if os.path.isdir(final):
        return final
    os.makedirs(cache(), mode=0o700, exist_ok=True)
    part = tempfile.mkdtemp(dir=cache())
    try:
        archive.extractall(part, [entry for entry in archive.namelist() if entry.startswith(PACKAGES)])
        rename(os.path.join(part, PACKAGES), final)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return final


def rename(folder: str, final: str) -> None:
    """Give the directory its name, unless another start was faster."""
    for pause in PAUSES:
        try:
            os.rename(folder, final)
        except OSError:
            if os.path.isdir(final):
                return
            time.sleep(pause)
        else:
            return
    os.rename(folder, final)


def main() -> None:
    """Unpack, and run the command."""
    with zipfile.ZipFile(os.path.dirname(os.path.abspath(__file__))) as archive:
        told = json.loads(archive.read("target.json"))
        refuse_others(told["python"], told["platform"])
        sys.path[0] = unpacked(archive, told["content"])
    from vhdx.cli.start import run  # noqa: PLC0415  it is there only now

    run()


main()
