"""What Locust is told and asked at less cost comes to the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["locust_side", "patches_side", "web_side", "classes_side"])
def test_in_a_process_that_imported_locust_first(name):
    file = str(Path(__file__).parent / f"{name}.py")
    code = f"import locust, sys, pytest; sys.exit(pytest.main(['-q', {file!r}]))"
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=110, check=False, env=environment
    )
    assert run.returncode == 0 and " passed" in run.stdout, run.stdout + run.stderr
