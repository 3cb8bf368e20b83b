"""Fuzzing by hand: `python -m tests.fuzz --seconds 600`. Each target in a child process of its own, bounded in time and
memory for every input. Ends with 1 where anything was found.
"""

from __future__ import annotations

import argparse
import json
import sys

from tests.fuzz.bounded import fuzz
from tests.fuzz.targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="CPU seconds in all, shared by the targets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("targets", nargs="*", default=[], help=f"of {', '.join(TARGETS)}; all by default")
    given = parser.parse_args()
    names = given.targets or list(TARGETS)
    found = 0
    for result in fuzz(names, given.seconds / len(names), given.seed):
        print(json.dumps(result._asdict()), flush=True)
        found += len(result.findings)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
