"""What `make mutants` runs: each core module is tried by some test, and every test that is named exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation.concerns import BESIDE, CORE, SLOW, concerning, modules

TREE = Path(__file__).resolve().parents[2]


def test_each_core_module_concerns_some_test_file() -> None:
    paths = modules(TREE)
    assert {path.rpartition("/")[0] for path in paths} >= set(CORE)
    concerns = concerning(TREE, [path for path in paths if not path.endswith("__init__.py")])
    assert [path for path, tests in concerns.items() if not tests] == []
    assert "tests/unit/test_trend.py" in concerns["chatload/stats/trend.py"], "it imports it"
    assert "tests/unit/test_capacity.py" in concerns["chatload/features/capacity/search.py"], "its helper imports it"


def test_every_test_file_and_module_that_is_named_exists() -> None:
    named = {test for _, tests in BESIDE for test in tests} | set(SLOW)
    assert sorted(test for test in named if not (TREE / f"tests/{test}.py").is_file()) == []
    patterns = [pattern for patterns, _ in BESIDE for pattern in patterns]
    assert [pattern for pattern in patterns if not modules(TREE, pattern)] == []


@pytest.mark.parametrize(
    ("only", "found"),
    [
        ("trend", ["chatload/stats/trend.py"]),
        ("run/reader.py, plan/inp*", ["chatload/run/reader.py", "chatload/features/plan/inputs.py"]),
        ("no/such", []),
    ],
)
def test_modules_are_chosen_by_name(only: str, found: list[str]) -> None:
    assert modules(TREE, only) == found
