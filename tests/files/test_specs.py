"""Files of guests by URL, through fsspec, as other programs ask for them."""

import tomllib
from pathlib import Path

import fsspec
import pytest
from fsspec.registry import get_filesystem_class

import vhdx
from tests.docs.scenes import guest
from tests.filesystems.making import MIB, need, raw_file, run
from vhdx.files.specs import VhdxFileSystem


@pytest.fixture(autouse=True)
def registered() -> None:
    """As the entry point does where this project is installed anew."""
    fsspec.register_implementation("vhdx", VhdxFileSystem, clobber=True)


def test_the_entry_point_names_the_class() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["fsspec.specs"]["vhdx"].partition(":")
    assert (module, name) == (VhdxFileSystem.__module__, VhdxFileSystem.__name__)


def test_by_url(tmp_path: Path) -> None:
    guest(tmp_path)
    image = f"file://{tmp_path}/ext4.vhdx"
    with fsspec.open(f"vhdx://home/me/latest::{image}", "rt") as file:
        assert file.read() == "remember the milk\n"
    fs, path = fsspec.core.url_to_fs(f"vhdx://home/me::{image}")
    assert sorted(fs.ls(path, detail=False)) == ["home/me/latest", "home/me/notes.txt", "home/me/photos"]
    assert fs.find("home") == ["home/me/latest", "home/me/notes.txt", "home/me/photos/cat.jpg"]
    assert fs.info("home/me/photos/cat.jpg")["size"] == 300_000
    assert fs.isdir("home/me")
    assert not fs.exists("home/nobody")
    assert fs.glob("home/**/*.txt") == ["home/me/notes.txt"]
    with pytest.raises(OSError, match="only read"):
        fs.open("home/me/new", "wb")
    with pytest.raises(IsADirectoryError):
        fs.open("home")


def test_an_image_that_fsspec_opens(tmp_path: Path) -> None:
    guest(tmp_path)
    memory = fsspec.filesystem("memory")
    memory.pipe("/disk.vhdx", (tmp_path / "ext4.vhdx").read_bytes())
    with fsspec.open("vhdx://etc/fstab::memory://disk.vhdx") as file:
        assert file.read().startswith(b"LABEL=root")


@pytest.fixture(name="tables", scope="module")
def _tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ext4 with a table as CSV and as Parquet, in a VHDX."""
    polars = pytest.importorskip("polars", reason="one of the three that read files by URL")
    need("mkfs.ext4")
    folder = tmp_path_factory.mktemp("tables")
    (folder / "tree" / "data").mkdir(parents=True)
    table = polars.DataFrame({"a": range(1000), "b": [number * number for number in range(1000)]})
    table.write_csv(folder / "tree" / "data" / "t.csv")
    table.write_parquet(folder / "tree" / "data" / "t.parquet")
    raw = raw_file(folder / "ext4.raw", 16 * MIB)
    run("mkfs.ext4", "-q", "-d", folder / "tree", raw)
    vhdx.convert(raw, folder / "ext4.vhdx")
    return folder / "ext4.vhdx"


SUM = sum(number * number for number in range(1000))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_pandas(tables: Path, kind: str) -> None:
    pandas = pytest.importorskip("pandas", reason="one of the three that read files by URL")
    table = getattr(pandas, f"read_{kind}")(f"vhdx://data/t.{kind}::file://{tables}")
    assert table["b"].sum() == SUM


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_polars(tables: Path, kind: str) -> None:
    """By URL through pyarrow; its own readers take file objects."""
    polars = pytest.importorskip("polars", reason="one of the three that read files by URL")
    read, url = getattr(polars, f"read_{kind}"), f"vhdx://data/t.{kind}::file://{tables}"
    assert read(url, use_pyarrow=True)["b"].sum() == SUM
    with fsspec.open(url) as file:
        assert read(file)["b"].sum() == SUM


def test_duckdb(tables: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="one of the three that read files by URL")
    with duckdb.connect() as base:
        base.register_filesystem(fsspec.filesystem("vhdx", fo=str(tables)))
        for name in ("t.csv", "t.parquet", "*.csv"):
            assert base.sql(f"select sum(b) from 'vhdx://data/{name}'").fetchall() == [(SUM,)]


def test_times(tables: Path) -> None:
    fs = fsspec.filesystem("vhdx", fo=str(tables))
    mtime = fs.info("data/t.csv")["mtime"]
    assert abs(fs.modified("data/t.csv").timestamp() - mtime) < 1e-3
    assert fs.created("vhdx://data/t.csv").tzinfo is not None


def test_without_an_image() -> None:
    with pytest.raises(ValueError, match="names no image"):
        get_filesystem_class("vhdx")()
