"""A naive reader of FAT and exFAT: every file by its chain, strictly. Uses no code of the library."""

import hashlib
import struct
from collections.abc import Callable, Iterator

Read = Callable[[int, int], bytes]
Found = tuple[str, bool, int, int, bool]
"""Name, whether it is a directory, first cluster, size, whether it is in one piece."""


class Twin:
    """A volume. ``used`` are the clusters that names lead to, each once."""

    def __init__(self, read: Read) -> None:
        self._read = read
        boot = read(512, 0)
        self.is_exfat = boot[3:11] == b"EXFAT   "
        self.used: set[int] = set()
        self.twice: dict[str, tuple[int, int, bool]] = {}
        """Where else names lead to, of those that a directory has twice."""
        if self.is_exfat:
            fat, _, heap, self.count, root = struct.unpack_from("<5I", boot, 80)
            sector = 1 << boot[108]
            self.fat, self.data, self.cluster = fat * sector, heap * sector, sector << boot[109]
            self.bits, self._root = 32, (root, 0)
            self.is_dirty = bool(boot[106] & 2)
            return
        sector, per_cluster, reserved, fats, entries, few = struct.unpack_from("<HBHBHH", boot, 11)
        length = int.from_bytes(boot[22:24], "little") or int.from_bytes(boot[36:40], "little")
        total = few or int.from_bytes(boot[32:36], "little")
        self.fat, self.cluster = reserved * sector, per_cluster * sector
        start = (reserved + fats * length) * sector
        self.data = start + -(-entries * 32 // sector) * sector
        self.count = (total * sector - self.data) // self.cluster
        self.bits = 12 if self.count < 4085 else 16 if self.count < 65525 else 32
        self._fixed = read(entries * 32, start)
        self._root = (int.from_bytes(boot[44:48], "little"), 0) if self.bits == 32 else (0, 0)
        self.is_dirty = bool(boot[0x41 if self.bits == 32 else 0x25] & 1)

    def entry(self, cluster: int) -> int:
        """What the FAT says of a cluster."""
        if self.bits == 12:
            raw = int.from_bytes(self._read(2, self.fat + cluster * 12 // 8), "little")
            return raw >> 4 if cluster % 2 else raw & 0xFFF
        value = int.from_bytes(self._read(self.bits // 8, self.fat + cluster * self.bits // 8), "little")
        return value if self.is_exfat else value & 0xFFFFFFF

    def chain(self, first: int, length: int | None, *, in_one_piece: bool = False) -> list[int]:
        """The clusters of a file, exactly as many as its bytes need."""
        needed = None if length is None else -(-length // self.cluster)
        if in_one_piece:
            assert needed is not None
            clusters = list(range(first, first + needed))
        else:
            clusters, last = [], 0xFF8 if self.bits == 12 else 0xFFF8 if self.bits == 16 else 0xFFFFFF8
            cluster = first
            while cluster < last and needed != 0:
                assert 2 <= cluster < self.count + 2, f"a chain leads to {cluster}"
                clusters.append(cluster)
                cluster = self.entry(cluster)
        assert needed is None or len(clusters) >= needed, "a chain is too short"
        for cluster in clusters:
            assert cluster not in self.used, f"cluster {cluster} is in two files"
            self.used.add(cluster)
        return clusters

    def bytes_of(self, clusters: list[int]) -> bytes:
        """What stands in clusters."""
        return b"".join(self._read(self.cluster, self.data + (each - 2) * self.cluster) for each in clusters)

    def hashes(self) -> dict[str, str]:
        """The SHA-256 of every file; of directories nothing."""
        self.used.clear()
        found = {}
        root = self._root[0]
        listing = self.bytes_of(self.chain(root, None)) if root else self._fixed
        waiting = [("", listing)]
        while waiting:
            above, slots = waiting.pop()
            for name, is_directory, first, size, whole in (self._sets if self.is_exfat else self._entries)(
                slots
            ):
                path = above + name
                if path in found:
                    self.twice[path] = first, size, whole
                    continue
                length = size if self.is_exfat or not is_directory else None
                data = self.bytes_of(self.chain(first, length, in_one_piece=whole))
                found[path] = "" if is_directory else hashlib.sha256(data[:size]).hexdigest()
                if is_directory:
                    waiting.append((f"{path}/", data))
        return found

    def _entries(self, slots: bytes) -> Iterator[Found]:
        pieces: dict[int, bytes] = {}
        for at in range(0, len(slots), 32):
            slot = slots[at : at + 32]
            if slot[0] == 0:
                return
            if slot[0] == 0xE5:
                pieces = {}
            elif slot[11] == 0x0F:
                pieces[slot[0] & 0x3F] = slot[1:11] + slot[14:26] + slot[28:32]
            else:
                raw = b"".join(pieces[number] for number in sorted(pieces))
                short = slot[:8].decode().rstrip() + ("." + slot[8:11].decode()).rstrip(" .")
                name = raw.decode("utf-16-le").partition("\0")[0] or short
                pieces = {}
                first = int.from_bytes(slot[26:28], "little")
                if self.bits == 32:
                    first |= int.from_bytes(slot[20:22], "little") << 16
                if short not in (".", "..", "") and not slot[11] & 8 and slot[0] != 0x2E:
                    yield name, bool(slot[11] & 16), first, int.from_bytes(slot[28:32], "little"), False

    def _sets(self, slots: bytes) -> Iterator[Found]:
        at = 0
        while at < len(slots) and slots[at]:
            if slots[at] != 0x85:
                at += 32
                continue
            whole = slots[at : at + (slots[at + 1] + 1) * 32]
            total = 0
            for index, byte in enumerate(whole):
                if index not in (2, 3):
                    total = ((total << 15 | total >> 1) & 0xFFFF) + byte & 0xFFFF
            assert total == int.from_bytes(whole[2:4], "little"), "a set is torn"
            assert whole[32] == 0xC0
            raw = b"".join(whole[start + 2 : start + 32] for start in range(64, len(whole), 32))
            first, size = struct.unpack_from("<IQ", whole, 52)
            name = raw[: whole[35] * 2].decode("utf-16-le")
            yield name, bool(whole[4] & 16), first, size, bool(whole[33] & 2) and size > 0
            at += len(whole)
