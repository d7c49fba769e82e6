"""The longer run: scenarios with one seed after the other, until the time is up or a promise is broken.

    python -m tests.crash --seconds 600 [--jobs N] [--seed N] [--only PART-OF-A-NAME]

A seed and the name of a scenario reproduce a failure. Exit code 1 if a promise is broken, 64 for wrong usage.
"""

import argparse
import itertools
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator

from .explore import CrashError, Density, Explorer
from .promises import watch
from .promises.scene import BrokenPromiseError
from .scenarios import ALL

Task = tuple[int, str, float]


def explored(task: Task) -> tuple[str, int, str]:
    """The name of a scenario, how many states were examined, and what was found wrong."""
    seed, name, until = task
    scenario = next(scenario for scenario in ALL if scenario.name == name)
    if time.monotonic() > until:
        return name, 0, ""
    density = Density(scenario.samples, one_in=scenario.one_in, recover=12, naive=30, nested_samples=2)
    explorer = Explorer(
        random.Random(seed), density, scenario.warnings, limit=lambda: time.monotonic() > until
    )
    try:
        session = scenario.recorded(seed)
        watch(session.record, session.story)
        explorer.explore(session)
    except (CrashError, BrokenPromiseError) as error:
        return name, explorer.distinct, f"seed {seed}: {error}"
    except Exception as error:  # noqa: BLE001  whatever it is, it is shown
        return name, explorer.distinct, f"seed {seed}: {error!r}"
    return name, explorer.distinct, ""


def tasks(first_seed: int, only: str, until: float) -> Iterator[Task]:
    """Every scenario with the first seed, then with the next, as long as there is time."""
    for seed in itertools.count(first_seed):
        for scenario in ALL:
            if only in scenario.name:
                yield seed, scenario.name, until
        if time.monotonic() > until:
            return


def main() -> int:
    """Run, and print one line for each scenario."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", metavar="PART-OF-A-NAME")
    arguments = parser.parse_args()
    if not any(arguments.only in scenario.name for scenario in ALL):
        sys.stderr.write(f"no scenario is called {arguments.only!r}\n")
        return 64
    until = time.monotonic() + arguments.seconds
    states: Counter[str] = Counter()
    rounds: Counter[str] = Counter()
    wrong = ""
    with multiprocessing.Pool(arguments.jobs) as pool:
        for name, distinct, found in pool.imap(explored, tasks(arguments.seed, arguments.only, until)):
            states[name] += distinct
            rounds[name] += distinct > 0
            if found:
                wrong = f"{name}: {found}"
                break
    for name, distinct in states.items():
        sys.stdout.write(f"{name:56} {rounds[name]:5} rounds {distinct:9} states\n")
    sys.stdout.write(f"{'all':56} {sum(rounds.values()):5} rounds {states.total():9} states\n")
    if wrong:
        sys.stderr.write(f"\n{wrong}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
