"""Changes of cases that know the format: fields of structures get values that matter to somebody.

libFuzzer's own mutations of the bytes come on top of these; they find what nobody thought of.
"""

from collections.abc import Sequence
from random import Random

from tests.support.layout import BAT_GUID, ITEM_GUIDS, KIB, METADATA_GUID, MIB, SECTOR, TIB, ZERO_GUID, Field

from .case import COPY, LENGTH, LONGEST, WRITE, Area, Case, Change, Seed, unpack

_ROWS = 12
_OTHER_SEED = 0.05
_MOST_CHANGES = 24
_GUIDS = (BAT_GUID, METADATA_GUID, ZERO_GUID, *ITEM_GUIDS.values())
_NUMBERS: tuple[int, ...] = (
    *range(10),
    *(1 << bit for bit in range(64)),
    *((1 << bit) - 1 for bit in range(8, 65)),
    *(unit * count for unit in (512, SECTOR, 64 * KIB, MIB) for count in (1, 2, 3, 4, 5, 7)),
    64 * TIB,
    64 * TIB + 512,
    256 * TIB - MIB,
    2047,
    2048,
    *(int.from_bytes(text, "little") for text in (b"zero", b"desc", b"data", b"loge", b"head", b"regi")),
)


def mutated(data: bytes, chance: Random, seeds: Sequence[Seed]) -> bytes:
    """A case that differs from this one in one step."""
    case = unpack(data)
    if chance.random() < _OTHER_SEED:
        return case._replace(seed=chance.randrange(len(seeds))).pack()
    step = chance.choice(_STEPS)
    changed: Case = step(case, seeds[case.seed % len(seeds)], chance)
    return changed.pack()


def _set_field(case: Case, seed: Seed, chance: Random) -> Case:
    number = chance.randrange(len(seed.areas))
    area = seed.areas[number]
    field, start = _any_field(area, chance)
    if field is None:
        where = chance.randrange(area.size)
        return _with(case, Change(WRITE, number, where, _number(seed, chance, chance.choice((1, 2, 4, 8)))))
    guid: bytes = chance.choice(_GUIDS).bytes_le
    value = guid if field.kind == "guid" else _number(seed, chance, field.size)
    return _with(case, Change(WRITE, number, start + field.offset, value[: min(field.size, LONGEST)]))


def _any_field(area: Area, chance: Random) -> tuple[Field | None, int]:
    """A field of the area, and where the structure that it is in begins."""
    if area.rows is not None and (area.head is None or chance.random() < 0.7):
        row = chance.randrange(min(_ROWS, max(1, area.size // area.rows.size)))
        return chance.choice(area.rows.fields), area.first_row + row * area.rows.size
    return (None, 0) if area.head is None else (chance.choice(area.head.fields), 0)


def _number(seed: Seed, chance: Random, size: int) -> bytes:
    """A number that means something: a limit, a place in the image, an entry of a table."""
    kind = chance.randrange(4)
    if kind == 0:
        value: int = chance.choice(_NUMBERS)
    elif kind == 1:
        value = chance.choice(_NUMBERS) + chance.randint(-2, 2)
    elif kind == 2:
        value = chance.choice(seed.areas).offset // MIB * MIB | chance.randrange(8)
    else:
        value = seed.content.size + chance.choice((-MIB, -SECTOR, -512, -1, 0, 1, 512, SECTOR, MIB))
    return (value % (1 << 64)).to_bytes(8, "little")[:size].ljust(size, b"\0")


def _copy_part(case: Case, seed: Seed, chance: Random) -> Case:
    source, target = (chance.randrange(len(seed.areas)) for _ in range(2))
    pages = seed.areas[source].size // SECTOR, seed.areas[target].size // SECTOR
    places = [chance.randrange(max(1, count)) * SECTOR for count in pages]
    data = bytes((source,)) + places[0].to_bytes(2, "little") + bytes((16 * chance.randint(1, 4) - 1,))
    return _with(case, Change(COPY, target, places[1], data))


def _set_length(case: Case, seed: Seed, chance: Random) -> Case:
    return _with(case, Change(LENGTH, 0, 0, _number(seed, chance, 8)))


def _drop(case: Case, seed: Seed, chance: Random) -> Case:
    if not case.changes:
        return case
    gone = chance.randrange(len(case.changes))
    return case._replace(changes=case.changes[:gone] + case.changes[gone + 1 :])


def _shift(case: Case, seed: Seed, chance: Random) -> Case:
    """The same change at another place."""
    if not case.changes:
        return _set_field(case, seed, chance)
    number = chance.randrange(len(case.changes))
    change = case.changes[number]
    where = (change.where + chance.choice((-32, -16, -8, -1, 1, 8, 16, 32, 4096))) % (1 << 16)
    moved = change._replace(where=where)
    return case._replace(changes=(*case.changes[:number], moved, *case.changes[number + 1 :]))


def _break(case: Case, seed: Seed, chance: Random) -> Case:
    return case._replace(broken=case.broken ^ 1 << chance.choice((0, 1, 2, 3, 7)))


def _with(case: Case, change: Change) -> Case:
    return case._replace(changes=(*case.changes[-_MOST_CHANGES:], change))


_STEPS = (*[_set_field] * 10, _copy_part, _copy_part, _set_length, _drop, _drop, _shift, _break)
