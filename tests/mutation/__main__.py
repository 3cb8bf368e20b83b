"""Measure whether the tests notice changes of the code: `python -m tests.mutation --n 200`.

Draws places of the core modules at random, changes one at a time in a copy of the tree, and runs the unit and
virtual tests that concern its module, a file at a time, until one fails.
"""

from __future__ import annotations

import argparse
import queue
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.concerns import concerning, modules
from tests.mutation.draw import Mutant, draw
from tests.mutation.reasons import Reasons
from tests.mutation.report import Measurement, Outcome, share, text
from tests.mutation.trial import Copy

_TREE = Path(__file__).resolve().parents[2]
#: The tests of a module use so much CPU at most (seconds, unchanged); a test file that alone needs more is left out.
_BUDGET_S = 60.0
#: Tests that use this many times the CPU that they use unchanged, and so much at least (seconds), do not end.
_PATIENCE, _LEAST_S = 5.0, 10.0


@dataclass(frozen=True)
class Plan:
    """The test files of a module, and the CPU seconds that each may use."""

    tests: tuple[str, ...]
    limits_s: tuple[float, ...]


class Pool:
    """Copies of the tree, each used by one trial at a time."""

    def __init__(self, copies: Sequence[Copy]) -> None:
        self._free: queue.Queue[Copy] = queue.Queue()
        for copy in copies:
            self._free.put(copy)

    def time(self, test: str) -> tuple[str, float | str]:
        """The CPU seconds that a test file uses on the unchanged code, or why it cannot be used."""
        copy = self._free.get()
        try:
            result = copy.run([test], [_BUDGET_S])
        finally:
            self._free.put(copy)
        if result.timed_out:
            return test, f"it uses more than {_BUDGET_S:.0f} s of CPU"
        if result.failed:
            print(result.output, flush=True)
            return test, "it fails on the unchanged code"
        return test, result.cpu_s[test]

    def attempt(self, number: int, mutant: Mutant, plan: Plan, reasons: Reasons) -> Outcome:
        """Try one mutant."""
        copy = self._free.get()
        try:
            result = copy.try_mutant(mutant, plan.tests, plan.limits_s)
        finally:
            self._free.put(copy)
        return Outcome(number, mutant, result, reasons.of(mutant))


def plan(path: str, tests: Sequence[str], seconds: dict[str, float]) -> Plan:
    """The test files for a module within the budget: those named after it, then the others, each the fastest first."""
    module, chosen, spent = Path(path).stem, [], 0.0
    for test in sorted(seconds.keys() & set(tests), key=lambda test: (module not in Path(test).stem, seconds[test])):
        if spent + seconds[test] <= _BUDGET_S:
            chosen.append(test)
            spent += seconds[test]
    return Plan(tuple(chosen), tuple(max(_LEAST_S, _PATIENCE * seconds[test]) for test in chosen))


def measure(given: argparse.Namespace) -> Measurement:
    """Draw, time the tests, try every mutant."""
    paths = modules(_TREE, given.only)
    if not paths:
        raise RuntimeError(f"no core module matches {given.only!r}")
    revision = _revision()
    mutants, sites = draw(_TREE, paths, given.n, given.seed)
    chosen = [(i, m) for i, m in enumerate(mutants, 1) if not given.pick or i in given.pick]
    concerns = concerning(_TREE, {mutant.path for _, mutant in chosen})
    reasons = Reasons()
    with tempfile.TemporaryDirectory(prefix="chatload-mutants-") as folder:
        copies = [Copy(_TREE, Path(folder) / str(i)) for i in range(given.jobs)]
        outcomes, left_out = _try_all(Pool(copies), given.jobs, chosen, concerns, reasons)
        for copy in copies:
            copy.close()
    outcomes.sort(key=lambda outcome: outcome.number)
    for reason in reasons.stale(_TREE):
        print(f"reasons.toml: no longer in {reason.module}: {reason.before!r}")
    return Measurement(_command(given), revision, sites, len(paths), outcomes, left_out)


def _try_all(
    pool: Pool, jobs: int, mutants: Sequence[tuple[int, Mutant]], concerns: dict[str, list[str]], reasons: Reasons
) -> tuple[list[Outcome], list[str]]:
    """The outcome of each mutant, and which test files were left out, with the reason."""
    with ThreadPoolExecutor(jobs) as threads:
        tests = sorted({test for tests in concerns.values() for test in tests})
        print(f"{len(tests)} test files concern {len(concerns)} modules: timing them", flush=True)
        timed = dict(threads.map(pool.time, tests))
        left_out = [f"{test}: {why}" for test, why in timed.items() if isinstance(why, str)]
        print(*(f"left out: {each}" for each in left_out), sep="\n", flush=True)
        seconds = {test: cpu_s for test, cpu_s in timed.items() if isinstance(cpu_s, float)}
        plans = {path: plan(path, tests, seconds) for path, tests in concerns.items()}
        trials = [threads.submit(pool.attempt, i, m, plans[m.path], reasons) for i, m in mutants]
        return [_told(trial.result()) for trial in as_completed(trials)], left_out


def _told(outcome: Outcome) -> Outcome:
    mutant, cpu_s = outcome.mutant, sum(outcome.result.cpu_s.values())
    print(f"{outcome.number:4} {cpu_s:6.1f} s  {outcome.word:12} {mutant.path}:{mutant.line}", flush=True)
    return outcome


def _command(given: argparse.Namespace) -> str:
    only = f" ONLY={given.only}" if given.only else ""
    return f"make mutants N={given.n} SEED={given.seed}{only}"


def _revision() -> str:
    def git(*args: str) -> str:
        return subprocess.run(["git", *args], cwd=_TREE, capture_output=True, text=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--", "chatload", "tests")
    return git("rev-parse", "--short", "HEAD") + (" with uncommitted changes" if changed else "")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--n", type=int, default=200, help="how many mutants to draw (200)")
    parser.add_argument("--seed", type=int, help="of the draw; random by default, and printed")
    parser.add_argument("--only", default="", help="of these modules only, such as trend,run/*")
    parser.add_argument("--pick", type=int, nargs="*", default=[], help="of the draw try these numbers only")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time (2)")
    parser.add_argument("--out", type=Path, default=_TREE / "reports/mutants/report.txt", help="the report's file")
    given = parser.parse_args()
    if given.seed is None:
        given.seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {given.seed}", flush=True)
    try:
        measurement = measure(given)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(text(measurement))
    print(f"{share(measurement.outcomes)}; written to {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
