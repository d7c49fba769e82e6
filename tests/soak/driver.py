"""Era after era: an image begins, things are done to it, after each of them everything must hold."""

import random
import shutil
import time
from pathlib import Path

from .actions import chosen
from .begin import begin
from .judge import verify
from .report import Report
from .scene import Scene

ACTIONS_OF_AN_ERA = 30


class SoakError(Exception):
    """Something did not hold; the folder is left as it is."""


def run_era(folder: Path, seed: int, report: Report, until: float) -> None:
    """One image from its creation on. The seed decides everything but when signals arrive."""
    folder.mkdir(parents=True)
    scene = Scene(folder, random.Random(seed), report)
    report.say(f"era with seed {seed}")
    try:
        begin(scene)
        verify(scene)
        for number in range(ACTIONS_OF_AN_ERA):
            if time.monotonic() > until:
                break
            _act(scene, number)
    except Exception as error:
        raise SoakError(f"seed {seed}: {error!r}") from error
    scene.close()
    report.count("eras")


def _act(scene: Scene, number: int) -> None:
    action = chosen(scene)
    scene.report.say(f"action {number}: {action.name}; {len(scene.layers)} layers, {scene.size} bytes")
    action.do(scene)
    scene.report.count(f"action: {action.name}")
    for left in scene.only_known_files():
        scene.report.count(f"left behind by signals: {left.suffix}")
    verify(scene)


def has_room(folder: Path) -> bool:
    """Whether the folder has the space that an era may take."""
    folder.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(folder).free > 4 << 30
