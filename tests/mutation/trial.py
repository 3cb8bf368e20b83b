"""Trials: tests run on a copy of the tree, as it is or with one mutant in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.mutation.draw import Mutant
from tests.mutation.server import Result

#: Random schedules of the truth property: fewer than in CI, so that a mutant takes seconds.
SCHEDULES = 120


class Copy:
    """A copy of the tree, in which modules may be changed, and a process that runs its tests."""

    def __init__(self, tree: Path, folder: Path) -> None:
        self._folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=tree, capture_output=True, text=True, check=True,
        )  # fmt: skip
        for name in filter(None, listed.stdout.split("\0")):
            if (tree / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(tree / name, folder / name)
        # Compiled once: no test run writes what it compiles.
        subprocess.run([sys.executable, "-m", "compileall", "-q", "chatload", "tests"], cwd=folder, check=True)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.mutation.server"], cwd=folder, env=self._environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def run(self, tests: Sequence[str], limits_s: Sequence[float]) -> Result:
        """Run test files until the first that fails; limits_s: CPU seconds that each may take."""
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps({"tests": tests, "limits_s": limits_s}) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process that runs the tests ended with {self._server.wait()}")
        return Result(**json.loads(answer))

    def try_mutant(self, mutant: Mutant, tests: Sequence[str], limits_s: Sequence[float]) -> Result:
        """Run test files with a module changed; it is as before afterwards."""
        module = self._folder / mutant.path
        unchanged = module.read_bytes()
        # What was compiled before could be taken for the changed module's: both may be of one second and one size.
        for compiled in (module.parent / "__pycache__").glob(f"{module.stem}.*.pyc"):
            compiled.unlink()
        module.write_text(mutant.code)
        try:
            return self.run(tests, limits_s)
        finally:
            module.write_bytes(unchanged)

    def close(self) -> None:
        """End the process."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(self._folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_ADDOPTS": "",
            "OPENBLAS_NUM_THREADS": "1",
            "CHATLOAD_SCHEDULES": str(SCHEDULES),
        }
