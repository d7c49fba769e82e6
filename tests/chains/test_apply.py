"""`export_changes` and `apply_increment`: what changed through a pipe, merged whole or to be completed."""

import io
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vhdx
from tests.chains.test_increment import SIZE, image, random_bytes
from tests.chains.twin import assert_sound, twin_of
from tests.cli.running import COMMAND, run, succeed
from tests.interop.programs import by_seven_zip
from tests.support.holes import data_pieces
from tests.support.layout import MIB
from vhdx.disk.chain import VhdxDisk
from vhdx.disk.open import lone_disk
from vhdx.ops import apply as applying
from vhdx.ops.apply import KEPT_SUFFIX, apply_increment
from vhdx.ops.info import ImageInfo, info
from vhdx.ops.make.increment import export_changes
from vhdx.ops.make.plan import ImageOptions


class Pipe(io.RawIOBase):
    """Takes bytes in order and gives them in order, never more than some; nothing can be sought in it."""

    def __init__(self, data: bytes = b"") -> None:
        self.data, self._at = bytearray(data), 0

    def write(self, data: object) -> int:
        taken = bytes(data)[:700_000]  # type: ignore[call-overload]
        self.data += taken
        return len(taken)

    def read(self, size: int = -1) -> bytes:
        piece = bytes(self.data[self._at : self._at + min(size, 300_000)])
        self._at += len(piece)
        return piece

    def seekable(self) -> bool:
        return False


class Scene:
    """Base, Monday and Tuesday in one folder, a copy of the base in another."""

    def __init__(self, folder: Path) -> None:
        self.home, self.away = folder / "home", folder / "away"
        self.home.mkdir()
        self.away.mkdir()
        contents = bytearray(random_bytes(1))
        self.files, self.contents = [image(self.home / "base.vhdx", bytes(contents))], [bytes(contents)]
        for number, name in enumerate(("monday", "tuesday"), 1):
            self.files.append(self.home / f"{name}.avhdx")
            vhdx.create(self.files[-1], parent=self.files[-2])
            with vhdx.open(self.files[-1], "r+") as disk:
                piece = random.Random(number).randbytes(5000)
                disk.pwrite(piece, 777_777 * number)
                contents[777_777 * number : 777_777 * number + 5000] = piece
                disk.zero(offset=6 * MIB, length=number * MIB)
                contents[6 * MIB : (6 + number) * MIB] = bytes(number * MIB)
            self.contents.append(bytes(contents))
        self.copy = self.away / "copy.vhdx"
        self.copy.write_bytes(self.files[0].read_bytes())

    def stream(self, number: int, since: int | None = None) -> bytes:
        """The increment of a day as it goes through the pipe."""
        pipe = Pipe()
        ancestor = None if since is None else self.files[since]
        export_changes(self.files[number], pipe, since=ancestor)  # type: ignore[arg-type]
        return bytes(pipe.data)

    def read(self) -> bytes:
        """What the copy holds, by a reader that is not ours."""
        return twin_of(self.copy).read(SIZE, 0)

    def names(self) -> list[str]:
        """The files beside the copy."""
        return sorted(os.listdir(self.away))


@pytest.fixture(name="scene")
def _scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def identity(path: Path) -> object:
    """The DataWriteGuid of an image."""
    found = info(path)
    assert isinstance(found, ImageInfo)
    return found.data_write_guid


def apply(scene: Scene, stream: bytes) -> applying.ApplyResult:
    return apply_increment(scene.copy, Pipe(stream))  # type: ignore[arg-type]


def test_what_goes_through_the_pipe_is_an_ordinary_image(scene: Scene, tmp_path: Path) -> None:
    stream = scene.stream(2, since=0)
    (tmp_path / "home" / "through.avhdx").write_bytes(stream)
    assert_sound(tmp_path / "home" / "through.avhdx")
    assert by_seven_zip(tmp_path / "home" / "through.avhdx") == scene.contents[2]
    with vhdx.open(tmp_path / "home" / "through.avhdx") as disk:
        assert disk.pread(SIZE, 0) == scene.contents[2]
    assert identity(tmp_path / "home" / "through.avhdx") == identity(scene.files[2])


def test_day_after_day(scene: Scene) -> None:
    for number in (1, 2):
        done = apply(scene, scene.stream(number))
        assert (done.applied, done.completed) == (True, False)
        assert scene.read() == scene.contents[number]
        assert scene.names() == ["copy.vhdx"]
        assert done.data_write_guid == identity(scene.files[number])
    assert_sound(scene.copy)


def test_two_days_at_once_and_once_more(scene: Scene) -> None:
    stream = scene.stream(2, since=0)
    assert apply(scene, stream).applied
    before = scene.copy.read_bytes()
    again = apply(scene, stream)
    assert (again.applied, again.copied_size) == (False, 0)
    assert scene.copy.read_bytes() == before


def test_into_a_file_and_from_a_file(scene: Scene) -> None:
    made = export_changes(scene.files[1], scene.home / "day.avhdx", options=ImageOptions(block_size=MIB))
    assert made.path == str(scene.home / "day.avhdx")
    assert made.file_size == (scene.home / "day.avhdx").stat().st_size
    before = (scene.home / "day.avhdx").read_bytes()
    apply_increment(scene.copy, scene.home / "day.avhdx")
    assert scene.read() == scene.contents[1]
    assert (scene.home / "day.avhdx").read_bytes() == before


def test_an_image_of_the_host_is_an_increment_too(scene: Scene) -> None:
    apply(scene, scene.files[1].read_bytes())
    assert scene.read() == scene.contents[1]


def test_a_child_of_another_size(scene: Scene) -> None:
    vhdx.resize(scene.files[2], SIZE + 3 * MIB)
    apply(scene, scene.stream(2, since=0))
    assert twin_of(scene.copy).read(SIZE + 3 * MIB, 0) == scene.contents[2] + bytes(3 * MIB)


# what is refused, and leaves everything as it was ------------------------------------------------


def untouched(scene: Scene, attempt: Callable[[], object], error: type[Exception], match: str) -> None:
    before = list(data_pieces(scene.copy))
    with pytest.raises(error, match=match):
        attempt()
    assert list(data_pieces(scene.copy)) == before
    assert scene.names() == ["copy.vhdx"]


def test_days_in_the_wrong_order(scene: Scene) -> None:
    stream = scene.stream(2)
    untouched(scene, lambda: apply(scene, stream), vhdx.ParentMismatchError, "increments between are missing")


def test_a_copy_that_was_changed(scene: Scene) -> None:
    stream = scene.stream(1)
    with vhdx.open(scene.copy, "r+") as disk:
        disk.pwrite(b"x", 0)
    untouched(scene, lambda: apply(scene, stream), vhdx.ParentMismatchError, "changed since")


def test_a_stream_that_ends_anywhere(scene: Scene) -> None:
    stream = scene.stream(1)
    for length in (1, 9, MIB - 1, *range(MIB, len(stream), MIB), len(stream) - 1):
        untouched(scene, lambda: apply(scene, stream[:length]), vhdx.VhdxError, ".")  # noqa: B023  called at once


def test_what_is_no_increment(scene: Scene) -> None:
    base = scene.files[0].read_bytes()
    other = scene.home / "other.vhdx"
    vhdx.create(other, SIZE)
    for stream, error, match in (
        (b"", vhdx.CorruptImageError, "nothing came"),
        (b"conectix" + bytes(5000), vhdx.CorruptImageError, "does not begin as a VHDX"),
        (other.read_bytes(), vhdx.UnsupportedImageError, "a whole disk and no increment"),
        (base, vhdx.UnsupportedImageError, "a whole disk and no increment"),
    ):
        untouched(scene, lambda: apply(scene, stream), error, match)  # noqa: B023  called at once


def test_targets_that_are_no_vhdx(scene: Scene) -> None:
    stream = scene.stream(1)
    raw = scene.home / "base.raw"
    with pytest.raises(vhdx.VhdxError):
        apply_increment(raw, Pipe(stream))  # type: ignore[arg-type]
    with vhdx.open(scene.copy, "r+"), pytest.raises(vhdx.ImageLockedError):
        apply(scene, stream)


def test_a_merge_that_is_refused_leaves_nothing(scene: Scene) -> None:
    vhdx.create(scene.away / "child.avhdx", parent=scene.copy)
    stream = scene.stream(1)
    with pytest.raises(vhdx.UnsupportedImageError, match="lose their parent"):
        apply(scene, stream)
    assert scene.names() == ["child.avhdx", "copy.vhdx"]
    assert scene.read() == scene.contents[0]


@pytest.mark.parametrize("way", ["path", "file"])
def test_an_increment_beside_the_target_is_no_child_that_needs_it(scene: Scene, way: str) -> None:
    beside = scene.away / "increment.avhdx"
    beside.write_bytes(scene.stream(1))
    scene.copy.rename(scene.away / "base.vhdx")
    target = scene.away / "base.vhdx"
    with beside.open("rb") as file:
        assert apply_increment(target, beside if way == "path" else file).applied
    with vhdx.open(target) as disk:
        assert disk.pread(disk.size, 0) == scene.contents[1]


def test_what_breaks_off_in_its_structures_says_so(scene: Scene) -> None:
    with pytest.raises(vhdx.CorruptImageError, match="the increment: it is not whole: ") as caught:
        apply(scene, scene.stream(1)[: MIB // 2])
    assert KEPT_SUFFIX not in str(caught.value)
    assert scene.names() == ["copy.vhdx"]


# broken off --------------------------------------------------------------------------------------


class _PowerLossError(BaseException):
    """What stands for the end of the process."""


@pytest.mark.parametrize(
    ("place", "real", "before"),
    [
        ("vhdx.ops.fold.resize_storage", None, 0),
        ("vhdx.ops.fold._copy", None, 0),
        ("vhdx.ops.fold._replace_items", None, 0),
        ("vhdx.ops.apply.lone_disk", lone_disk, 2),
        ("vhdx.ops.apply.braced", None, 0),
        ("vhdx.disk.chain.VhdxDisk.take_identity", VhdxDisk.take_identity, 1),
        ("vhdx.ops.apply.remove_file", None, 0),
    ],
)
def test_whoever_applies_again_completes_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, place: str, real: Callable[..., Any], before: int
) -> None:
    """The next increment is given, not the one that was broken off: that is beside the target, whole."""
    monday, tuesday = scene.stream(1), scene.stream(2)
    calls = iter(range(before))

    def dies(*of: Any, **named: Any) -> Any:
        if next(calls, None) is None:
            raise _PowerLossError
        return real(*of, **named)

    with monkeypatch.context() as patched:
        patched.setattr(place, dies)
        with pytest.raises(_PowerLossError):
            apply(scene, monday)
    kept = scene.copy.with_name(scene.copy.name + KEPT_SUFFIX)
    if not kept.exists():  # nothing was changed, so that nothing is to be completed
        assert scene.read() == scene.contents[0]
        apply(scene, monday)
    elif place != "vhdx.ops.apply.remove_file":
        with vhdx.open(kept) as disk:  # reads right at every instant
            assert disk.pread(SIZE, 0) == scene.contents[1]
    done = apply(scene, tuesday)
    assert done.applied
    assert done.completed is (place != "vhdx.ops.fold.resize_storage")
    assert scene.read() == scene.contents[2]
    assert scene.names() == ["copy.vhdx"]


def test_a_target_that_was_written_to_before_it_was_completed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise _PowerLossError

    with monkeypatch.context() as patched:
        patched.setattr("vhdx.ops.fold._replace_items", dies)
        with pytest.raises(_PowerLossError):
            apply(scene, scene.stream(1))
    with vhdx.open(scene.copy, "r+") as disk:
        disk.pwrite(b"x", 0)
    with pytest.raises(vhdx.ParentMismatchError, match="move it away"):
        apply(scene, scene.stream(1))


# the commands ------------------------------------------------------------------------------------


def test_through_a_pipe_of_the_host(scene: Scene) -> None:
    with subprocess.Popen(
        [*COMMAND, "diff", scene.files[1], "--export", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as exporting:
        done = subprocess.run(
            [*COMMAND, "apply", scene.copy], stdin=exporting.stdout, capture_output=True, check=False
        )
        assert exporting.stdout is not None
        exporting.stdout.close()
        assert exporting.stderr is not None
        assert b"told by the tables" in exporting.stderr.read()
    assert done.returncode == exporting.returncode == 0, done.stderr
    assert b"is kept in" in done.stderr
    assert b"were merged" in done.stdout
    assert scene.read() == scene.contents[1]


def test_the_command_says_what_is_wrong(scene: Scene) -> None:
    failed = run("apply", scene.copy, scene.files[2])
    assert failed.code == 1
    assert "increments between are missing" in failed.err
    assert "has this increment already" not in succeed("apply", scene.copy, scene.files[1])
    assert "has this increment already" in succeed("apply", scene.copy, scene.files[1])
