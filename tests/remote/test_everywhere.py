"""Every kind of image out of and into object stores and blobs: the same bytes, put and fetched by others."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import vhdx
from tests.blobs import azurite
from tests.ops.make.making import write_raw
from tests.ops.make.test_everywhere import KINDS, PIECES, SIZE, TARGETS, Case, Image, held_by
from tests.support.tools import needs

from .store import Store

pytestmark = [needs("qemu-img"), *azurite.needs_service]
NUMBERS = itertools.count()


class Clouds(NamedTuple):
    """A store that speaks S3, for Google's addresses, too, and a blob service."""

    store: Store
    azure: Any


@pytest.fixture(name="images", scope="module")
def _images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    folder = tmp_path_factory.mktemp("images")
    raw = write_raw(folder / "a.raw", SIZE, PIECES)
    return {kind: make(folder, raw) for kind, make in KINDS.items()}


@pytest.fixture(name="azure", scope="module")
def _azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with azurite.running(tmp_path_factory.mktemp("azurite"), memory_mb=4096) as service:
        yield service


@pytest.fixture(name="clouds")
def _clouds(store: Store, azure: Any, monkeypatch: pytest.MonkeyPatch) -> Clouds:
    for name, value in azurite.environment(azure.port).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.proxy.url)
    return Clouds(store, azure)


def from_azure(clouds: Clouds, path: Path) -> str:
    name = f"{next(NUMBERS)}-{path.name}"
    clouds.azure.blob(name).upload_blob(path.read_bytes(), overwrite=True)
    return f"az://{azurite.CONTAINER}/{name}"


SOURCES: dict[str, Callable[[Clouds, Path], str]] = {
    "file": lambda _, path: str(path),
    "s3": lambda clouds, path: clouds.store.put(path.name, path.read_bytes()),
    "az": from_azure,
}


def fetched(clouds: Clouds, target: str, folder: Path) -> Path:
    """What a program of others gets from an address, as a file."""
    scheme, _, rest = target.partition("://")
    if not rest:
        return Path(target)
    key = rest.partition("/")[2]
    made = folder / f"fetched.{key.rpartition('.')[2]}"
    made.write_bytes(clouds.azure.content(key) if scheme == "az" else clouds.store.get(key))
    return made


def cases() -> Iterator[Case]:
    for source, sink, kind, wanted in itertools.product(SOURCES, ("file", "s3", "gs", "az"), KINDS, TARGETS):
        if (source, sink) != ("file", "file"):
            yield Case(kind, source, sink, wanted)


def some() -> Iterator[Case]:
    """One for each pair of places, others for each pair."""
    for number, (_, found) in enumerate(itertools.groupby(cases(), lambda case: (case.source, case.sink))):
        of_pair = list(found)
        yield of_pair[11 * number % len(of_pair)]


def convert(clouds: Clouds, images: dict[str, Image], case: Case, folder: Path) -> None:
    image, (target_format, options) = images[case.kind], TARGETS[case.wanted]
    name = f"{next(NUMBERS)}.{target_format}"
    places = {"file": f"{folder}/{name}", "az": f"az://{azurite.CONTAINER}/{name}"}
    target = places.get(case.sink, f"{case.sink}://{clouds.store.bucket}/{name}")
    vhdx.convert(
        SOURCES[case.source](clouds, image.path),
        target,
        source_format=image.format,
        target_format=target_format,
        options=options,
        parents=image.others or None,
    )
    found = held_by(fetched(clouds, target, folder), target_format, sectors_of_4096=case.kind == "4096")
    assert found == images["raw"].path.read_bytes(), case


@pytest.mark.parametrize("case", list(some()), ids=" ".join)
def test_places_and_kinds(clouds: Clouds, images: dict[str, Image], tmp_path: Path, case: Case) -> None:
    convert(clouds, images, case, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", list(cases()), ids=" ".join)
def test_every_place_and_kind(clouds: Clouds, images: dict[str, Image], tmp_path: Path, case: Case) -> None:
    convert(clouds, images, case, tmp_path)
