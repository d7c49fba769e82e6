"""Names in directories of NTFS: whole ones, and what is left where a block of an index is damaged."""

import json
import struct
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import COMMAND
from tests.cli.running import run as ran
from tests.files.trees import at_work, volume_in
from tests.filesystems.making import MIB, need, raw_file, run

BLOCK, SECTOR_END, PLACE_AT, ENTRIES_AT, USED_AT = 4096, 510, 16, 24, 28
NAMES = [f"a name of which many need several blocks {number:03}" for number in range(150)]
HALF = "half\ud83d"


@pytest.fixture(name="image", scope="module", params=[4096, 65536])
def _image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With clusters as long as blocks of indices, and with longer ones."""
    need("mkfs.ntfs", "ntfs-3g")
    image = raw_file(tmp_path_factory.mktemp("names") / "n.raw", 32 * MIB)
    run("mkfs.ntfs", "-F", "-q", "-Q", "-c", str(request.param), image)
    with at_work(image, "NTFS") as root:
        (root / "many").mkdir()
        for name in NAMES:
            (root / "many" / name).touch()
        (root / "half").write_bytes(b"another")
        (root / "half#").write_bytes(b"this")
    data, whole = image.read_bytes(), "half#".encode("utf-16-le")
    assert whole in data
    image.write_bytes(data.replace(whole, HALF.encode("utf-16-le", "surrogatepass")))
    return image


def test_half_a_character_at_the_end_of_a_name_is_part_of_it(image: Path) -> None:
    with volume_in(image) as volume:
        contents = {
            each.name: volume.tree.content(each).pread(9, 0)
            for each in volume.tree.entries(volume.tree.root)
            if not each.is_directory
        }
        assert contents == {"half": b"another", HALF: b"this"}


def test_it_is_escaped_where_names_are_utf8(image: Path, tmp_path: Path) -> None:
    assert "written as half%uD83D" in ran("cp", "-R", f"{image}:/", tmp_path).err
    assert (tmp_path / "half%uD83D").read_bytes() == b"this"
    archive = tmp_path / "a.tar"
    with archive.open("wb") as file:
        subprocess.run([*COMMAND, "tar", image], stdout=file, stderr=subprocess.DEVNULL, check=False)
    with tarfile.open(archive) as members:
        found = members.extractfile("half%uD83D")
        assert found is not None
        assert found.read() == b"this"
    done = ran("du", "--ncdu", image)
    assert done.code == 0
    assert {"half", "half\ufffd"} <= {
        row["name"] for row in json.loads(done.out)[3][1:] if isinstance(row, dict)
    }


def _torn(block: bytearray) -> None:
    block[SECTOR_END] ^= 1


def _of_another_place(block: bytearray) -> None:
    block[PLACE_AT] ^= 1


def _empty(block: bytearray) -> None:
    struct.pack_into("<I", block, ENTRIES_AT, 1 << 20)


def _cut_off(block: bytearray) -> None:
    (used,) = struct.unpack_from("<I", block, USED_AT)
    struct.pack_into("<I", block, USED_AT, used - 16)


def _swallowed(block: bytearray) -> None:
    """The second entry becomes a part of the first."""
    first = 24 + struct.unpack_from("<I", block, 24)[0]
    lengths = struct.unpack_from("<H", block, first + 8)[0]
    struct.pack_into(
        "<H", block, first + 8, lengths + struct.unpack_from("<H", block, first + lengths + 8)[0]
    )


@pytest.mark.parametrize(
    ("damage", "lost", "why"),
    [
        (_torn, 11, "not written whole"),
        (_of_another_place, 11, "holds another"),
        (_empty, 11, "does not say where it ends"),
        (_cut_off, 0, "does not say where it ends"),
        (_swallowed, 1, "not as long as its name makes it"),
    ],
)
def test_a_damaged_block_costs_what_is_in_it(
    image: Path, tmp_path: Path, damage: Callable[[bytearray], None], lost: int, why: str
) -> None:
    data = bytearray(image.read_bytes())
    start = next(
        place
        for place in range(0, len(data), BLOCK)
        if data.startswith(b"INDX", place) and NAMES[70].encode("utf-16-le") in data[place : place + BLOCK]
    )
    block = data[start : start + BLOCK]
    damage(block)
    data[start : start + BLOCK] = block
    damaged = tmp_path / "damaged.raw"
    damaged.write_bytes(data)
    with volume_in(damaged) as volume:
        found = [entry.name for entry in volume.tree.entries(volume.find("/many").entry)]
        missing = [number for number, name in enumerate(NAMES) if name not in found]
        assert (len(found) + len(missing), set(found) - set(NAMES)) == (len(NAMES), set())
        assert missing == list(range(min(missing), max(missing) + 1)) if lost else not missing
        assert lost <= len(missing) <= 2 * lost
        (sentence,) = volume.told
        assert "the directory 'many'" in sentence
        assert why in sentence
