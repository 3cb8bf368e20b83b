"""What Locust is told and asked at less cost comes to the same."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["locust_side", "patches_side"])
def test_in_a_process_that_imported_locust_first(name):
    file = str(Path(__file__).parent / f"{name}.py")
    code = f"import locust, sys, pytest; sys.exit(pytest.main(['-q', '-p', 'no:xdist', {file!r}]))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=110, check=False)
    assert run.returncode == 0 and " passed" in run.stdout, run.stdout + run.stderr
