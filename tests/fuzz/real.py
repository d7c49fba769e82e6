"""Real images as inputs: ``python -m tests.fuzz.real FOLDER`` adds those of a folder to `.fuzz/image`.

Of each only what its small structures say differently than the seed that is nearest to it, and its length: no
contents, and a few hundred bytes.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from .case import LENGTH, Change, Seed, packed, write
from .seeds import seeds

_AREAS = {
    "identifier": 520,
    "header 1": 80,
    "header 2": 80,
    "region table 1": 112,
    "region table 2": 112,
    "metadata table": 256,
    "items": 512,
    "BAT": 256,
    "log": 256,
}
"""How many bytes from the start of an area are looked at."""
_GAP = 8


def changes_to(seed: Seed, file: int) -> Iterator[Change]:
    """What makes the seed say what the open file says."""
    yield Change(LENGTH, 0, 0, os.fstat(file).st_size.to_bytes(8, "little"))
    for area in seed.areas:
        length = _AREAS.get(area.name, 0)
        wanted = os.pread(file, length, area.offset)
        there = seed.content.read(length, area.offset) if length else b""
        for start, end in _differences(there, wanted):
            yield from write(seed, area.name, start, wanted[start:end])


def _differences(one: bytes, other: bytes) -> Iterator[tuple[int, int]]:
    """Runs in which two texts differ; runs that nearly touch are one."""
    places = [at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b]
    while places:
        length = next((n for n in range(1, len(places)) if places[n] - places[n - 1] > _GAP), len(places))
        yield places[0], places[length - 1] + 1
        places = places[length:]


def case_of(path: Path) -> bytes:
    """The shortest case that says what an image's structures say."""
    file = os.open(path, os.O_RDONLY)
    try:
        cases = [packed(n, list(changes_to(seed, file))) for n, seed in enumerate(seeds())]
    finally:
        os.close(file)
    return min(cases, key=len)


def main() -> None:
    """The command."""
    folder = Path(".fuzz", "image")
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(Path(sys.argv[1]).glob("*.vhdx")):
        data = case_of(path)
        (folder / f"real-{path.stem}").write_bytes(data)
        sys.stdout.write(f"{path.name}: {len(data)} bytes\n")


if __name__ == "__main__":
    main()
