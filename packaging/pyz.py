"""`make pyz`: one file with vhdx and all that it needs, for machines that have Python and no pip.

    python packaging/pyz.py [--python 3.12] [--platform win_amd64] [--to dist/vhdx.pyz]

Without --platform it is for this Python. numpy is compiled: a file is for one Python and one platform.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""What all files are dated, so that the same content makes the same archive."""


def pip(*arguments: str | Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)],
        check=True,
    )


def install(folder: Path, python: str | None, platform: str | None) -> None:
    """Put vhdx and its packages into a folder, wheels only."""
    with tempfile.TemporaryDirectory() as wheels:
        pip("wheel", "--no-deps", "--wheel-dir", wheels, ROOT)
        target = ["--platform", platform, "--python-version", python or ""] if platform else []
        pip("install", "--target", folder, "--only-binary=:all:", *target, *Path(wheels).iterdir())


def archive(folder: Path, target: dict[str, str], final: Path) -> None:
    """Write the file: Python takes an archive with a `__main__` as a program."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and _is_needed(path))
    names = {f"packages/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in files}
    digest = hashlib.sha256(b"".join(name.encode() + data for name, data in names.items()))
    told = json.dumps({**target, "content": digest.hexdigest()[:16]}).encode()
    names |= {"__main__.py": (ROOT / "packaging" / "pyz_main.py").read_bytes(), "target.json": told}
    final.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(final, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in names.items():
            made.writestr(zipfile.ZipInfo(name, FIRST_DAY), data, zipfile.ZIP_DEFLATED)


def _is_needed(path: Path) -> bool:
    """Whether a file is no trace of this machine: scripts, compiled modules, where a wheel lay."""
    return (
        path.suffix != ".pyc"
        and path.name != "direct_url.json"
        and path.parent.name not in ("bin", "Scripts")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", help="of the machine: 3.12")
    parser.add_argument("--platform", help="of the machine, as wheels call it: win_amd64")
    parser.add_argument("--to", type=Path, default=ROOT / "dist" / "vhdx.pyz")
    told = parser.parse_args()
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    target = {"python": told.python or here, "platform": told.platform or sysconfig.get_platform()}
    with tempfile.TemporaryDirectory() as folder:
        install(Path(folder), target["python"], told.platform)
        archive(Path(folder), target, told.to)
    print(told.to)


if __name__ == "__main__":
    main()
