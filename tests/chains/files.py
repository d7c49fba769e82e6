"""Files of chains: unchanged ones are recognised by digest; other programs are asked where they are right."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tests.interop.programs import by_seven_zip, pyvhdi_bytes
from tests.support.holes import data_pieces
from tests.support.layout import FULLY_PRESENT, PARTIALLY_PRESENT
from tests.write.model import assert_same

from .twin import ZERO_MIB, Twin, twin_of


def digest(path: Path) -> tuple[int, str]:
    """Length and hash of what is in a file; holes cost nothing, and where they are does not count.

    A host tells of space that is reserved now as a hole and now as data, as it has been read or not.
    """
    found = hashlib.blake2b()
    for at, piece in data_pieces(path):
        if piece == ZERO_MIB[: len(piece)]:
            continue
        for start in range(0, len(piece), 4096):
            page = piece[start : start + 4096]
            if page.strip(b"\0"):
                found.update((at + start).to_bytes(8, "little") + page)
    return path.stat().st_size, found.hexdigest()


def seven_zip_is_right(twin: Twin) -> bool:
    """It refuses parents of another size, and disks of an odd number of sectors."""
    sizes = {layer.size for layer in twin.layers}
    return len(sizes) == 1 and not sizes.pop() % (2 * twin.layers[0].sector_size)


def pyvhdi_is_right(twin: Twin) -> bool:
    """It lets parents through ZERO, UNMAPPED and UNDEFINED, and needs a bitmap in every chunk."""
    sizes = {layer.size for layer in twin.layers}
    for layer in twin.layers:
        if layer.differencing:
            states = layer.states
            if not {*states} <= {0, FULLY_PRESENT, PARTIALLY_PRESENT}:
                return False
            chunks = range(-(-layer.block_count // layer.ratio))
            if any(layer.bitmap(chunk)[0] != FULLY_PRESENT for chunk in chunks):
                return False
    return len(sizes) == 1


def others_agree(files: Sequence[Path], content: bytes) -> list[str]:
    """Compare with 7-Zip and libvhdi where they are right; which of them were."""
    twin, asked = twin_of(*files), []
    if seven_zip_is_right(twin) and len({file.parent for file in files}) == 1:  # it enters no folders
        asked.append("7-Zip")
        assert_same(by_seven_zip(files[0]), content)
    if pyvhdi_is_right(twin):
        asked.append("libvhdi")
        assert_same(pyvhdi_bytes(*files), content)
    return asked
