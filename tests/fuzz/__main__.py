"""Run one target with coverage guidance: ``python -m tests.fuzz TARGET --seconds N``.

What it finds grows in `.fuzz/TARGET`; inputs that break a promise go to `.fuzz/found`, one file each, and
end the run. `--replay FILE` runs one of them again without the fuzzer.
"""

import argparse
import hashlib
import os
import random
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

from .limits import MEMORY, SECONDS
from .replay import corpus_of, module_of, target_names

WORK = Path(".fuzz")
LONGEST_INPUT = 4096
ROUND = 60
"""Seconds of a process."""
_OUR_MUTATIONS = 0.6


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=target_names())
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--replay", type=Path, help="run this input once and let the exception out")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.replay:
        module_of(options.target).run(options.replay.read_bytes())
        return 0
    if options.inside:
        _fuzz(options.target, options.seconds)
    return _watch(options.target, options.seconds)


def _watch(name: str, seconds: int) -> int:
    """Run the fuzzer round after round, each in a process of its own; say what was done in all.

    In rounds, so that whatever the fuzzer itself gathers in memory is given back after each.
    """
    command = [sys.executable, "-m", "tests.fuzz", name, "--inside", "--seconds"]
    runs, words, status = 0, "", 0
    before, end = _cpu_of_children(), time.monotonic() + seconds
    while not status and (left := int(end - time.monotonic())) > 0:
        ran = subprocess.run([*command, str(min(left, ROUND))], capture_output=True, text=True, check=False)
        words, status = ran.stdout + ran.stderr, ran.returncode
        done = re.search(r"stat::number_of_executed_units: (\d+)", words)
        runs += int(done[1]) if done else 0
    (WORK / f"{name}.txt").write_text(words)
    sys.stdout.write(_summary(name, runs, words, _cpu_of_children() - before) + "\n")
    if status:
        sys.stderr.write(f"{words[:2000]}\n…\n{words[-2000:]}\n")
    return status


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _summary(name: str, runs: int, words: str, used: float) -> str:
    lines = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", words)
    covered, features, inputs = lines[-1] if lines else ("0", "0", "0")
    return (
        f"{name}: {runs} executions in {used:.0f} s of CPU, {runs / max(used, 1):.0f} a second; "
        f"{covered} branches, {features} features, {inputs} inputs"
    )


def _fuzz(name: str, seconds: int) -> None:
    import atheris  # noqa: PLC0415  an optional dependency: replaying goes without

    with atheris.instrument_imports(include=["vhdx"]):
        module = module_of(name)
    grown, found = WORK / name, WORK / "found"
    for folder in (grown, found):
        folder.mkdir(parents=True, exist_ok=True)
    for data in corpus_of(name):
        (grown / hashlib.sha1(data).hexdigest()).write_bytes(data)  # as libFuzzer names what it finds
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if hasattr(module, "mutated") and chance.random() < _OUR_MUTATIONS:
            return bytes(module.mutated(data, chance))[:longest]
        return bytes(atheris.Mutate(data, longest))

    options = {
        "max_total_time": seconds,
        "max_len": LONGEST_INPUT,
        "timeout": SECONDS,
        "rss_limit_mb": 0,
        "len_control": 0,
        "print_final_stats": 1,
        "artifact_prefix": f"{found}{os.sep}{name}-",
    }
    arguments = [sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), str(grown)]
    atheris.Setup(arguments, module.run, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
