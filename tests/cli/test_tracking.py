"""Files of Windows' change tracking beside an image: `info` names them, and who writes is warned."""

from pathlib import Path

import pytest

import vhdx
from tests.cli.running import run
from tests.support.layout import MIB
from vhdx.cli.verbs import called
from vhdx.ops.info import ImageInfo
from vhdx.ops.tracking import tracking_files

WARNING = "the change tracking of Windows, which backups of Hyper-V go by, does not see what is changed here"


@pytest.fixture(name="image")
def _image(tmp_path: Path) -> Path:
    image = tmp_path / "vm.vhdx"
    vhdx.create(image, 8 * MIB)
    for suffix in ("rct", "mrt"):
        (tmp_path / f"vm.vhdx.{suffix}").write_bytes(b"of Windows")
    return image


def test_info_names_them(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = vhdx.info(image)
    assert isinstance(found, ImageInfo)
    assert found.tracking_files == ("vm.vhdx.rct", "vm.vhdx.mrt")
    assert called(["info", str(image)]) in (0, None)
    assert "vm.vhdx.rct, vm.vhdx.mrt" in capsys.readouterr().out
    (image.parent / "vm.vhdx.mrt").unlink()
    assert tracking_files(str(image)) == ("vm.vhdx.rct",)


@pytest.mark.parametrize(
    ("line", "warned"),
    [
        ("zero {} 0 1M", True),
        ("trim {} 0 1M", True),
        ("resize {} 16M", True),
        ("compact {}", True),
        ("compact --dry-run {}", False),
        ("read {} 0 512", False),
        ("check {}", False),
        ("metadata list {}", False),
    ],
)
def test_who_changes_the_image_is_warned(
    image: Path, capsys: pytest.CaptureFixture[str], line: str, warned: bool
) -> None:
    called(line.format(image).split())
    assert capsys.readouterr().err.count(WARNING) == warned


def test_a_merge_warns_of_the_parent(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vhdx.create(image.parent / "child.avhdx", parent=image)
    called(["merge", str(image.parent / "child.avhdx")])
    assert capsys.readouterr().err.count(WARNING) == 1


def test_a_server_that_lets_clients_write_warns(image: Path) -> None:
    for word, warned in (("--write", True), ("--snapshot", False)):
        served = run("serve", image, word, "--run", "exit 0")
        assert served.code == 0
        assert served.err.count(WARNING) == warned
