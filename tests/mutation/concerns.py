"""Which modules are measured, and which test files concern each of them."""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Iterable, Mapping
from pathlib import Path

#: The packages whose modules are measured: protocol, engine, store, thresholds and statistics.
CORE = ("chatload/protocol", "chatload/session", "chatload/store", "chatload/analysis")
#: Tests are looked for here; the slower kinds (real sockets, browsers) are not run.
TESTS = ("tests/unit", "tests/virtual")
#: These take too long for each mutant to be tried on.
SLOW = {
    f"tests/{name}.py"
    for name in (
        "unit/test_report_page", "unit/test_tune_command", "virtual/test_forecast_fit", "virtual/test_large_report",
        "virtual/test_probe", "virtual/test_soak", "virtual/test_tune",
    )
}  # fmt: skip
#: Test files that concern a module that they do not import, by a pattern of module paths.
BESIDE: dict[str, tuple[str, ...]] = {
    "chatload/session/*": ("tests/unit/test_lifecycle.py", "tests/virtual/test_findings.py"),
    "chatload/session/[bltvr]*": ("tests/unit/test_trail.py", "tests/virtual/test_truth.py", "tests/unit/test_live.py"),
    "chatload/session/p*": ("tests/virtual/test_widget_trace.py",),
    "chatload/session/[aest]*": ("tests/unit/test_open_workload.py", "tests/virtual/test_widget_trace.py"),
    "chatload/session/settings.py": ("tests/unit/test_ceiling.py",),
    "chatload/protocol/*": (
        "tests/unit/test_dialect.py", "tests/unit/test_round_trip.py", "tests/unit/test_status_table.py",
        "tests/unit/test_answer_names.py", "tests/unit/test_dialect_secrets.py", "tests/unit/test_resending.py",
        "tests/unit/test_extras.py", "tests/unit/test_simulator_protocol.py", "tests/unit/test_hostile_files.py",
        "tests/unit/test_hot_path.py", "tests/unit/test_simulator_known_heads.py",
    ),
    "chatload/protocol/toml_file.py": (
        "tests/unit/test_policy_script.py", "tests/unit/test_plan.py", "tests/unit/test_service_time.py",
        "tests/unit/test_simulator_faults.py", "tests/unit/test_target.py", "tests/unit/test_ceiling.py",
    ),
    "chatload/store/*": (
        "tests/unit/test_store.py", "tests/unit/test_export.py", "tests/unit/test_windows_timelines.py",
        "tests/unit/test_retention.py", "tests/unit/test_hostile_files.py", "tests/unit/test_handover.py",
    ),
    "chatload/analysis/capacity*": ("tests/unit/test_capacity.py", "tests/unit/test_capacity_report.py"),
    "chatload/analysis/plan*": (
        "tests/unit/test_plan.py", "tests/unit/test_plan_command.py", "tests/unit/test_plan_queueing.py",
    ),
    "chatload/analysis/[cs]*": ("tests/unit/test_compare_command.py",),
    "chatload/analysis/[grm]*": ("tests/unit/test_report_figures.py", "tests/unit/test_summary.py"),
    "chatload/analysis/[tgmrs]*": ("tests/unit/test_thresholds.py", "tests/unit/test_sequential.py"),
    "chatload/analysis/t*": ("tests/unit/test_drift.py",),
}  # fmt: skip


def modules(tree: Path, only: str = "") -> list[str]:
    """The modules to measure. only: patterns with commas between, such as `trend,store/*`; "" is all of them."""
    paths = [str(path.relative_to(tree)) for folder in CORE for path in sorted((tree / folder).rglob("*.py"))]
    wanted = [f"*{pattern.strip().removesuffix('.py')}" for pattern in only.split(",") if pattern.strip()]
    return [path for path in paths if not wanted or any(_matches(path, pattern) for pattern in wanted)]


def _matches(path: str, pattern: str) -> bool:
    module = "/" + path.removesuffix(".py")
    return fnmatch.fnmatch(module, f"*/{pattern.lstrip('*')}")


def concerning(tree: Path, paths: Iterable[str]) -> dict[str, list[str]]:
    """Per module the test files that import it, by themselves or by a helper, and those that BESIDE names."""
    imports = {test: _imports(tree, test, {}) for test in _test_files(tree)}
    return {path: _of(path, imports) for path in paths}


def _of(path: str, imports: Mapping[str, set[str]]) -> list[str]:
    named = {test for pattern, tests in BESIDE.items() if fnmatch.fnmatch(path, pattern) for test in tests}
    return sorted((named & imports.keys()) | {test for test, imported in imports.items() if path in imported})


def _test_files(tree: Path) -> list[str]:
    found = [str(path.relative_to(tree)) for folder in TESTS for path in sorted((tree / folder).glob("test_*.py"))]
    return [path for path in found if path not in SLOW]


def _imports(tree: Path, path: str, seen: dict[str, set[str]]) -> set[str]:
    """The files of ours that a test file imports, helpers of tests followed."""
    if path in seen:
        return seen[path]
    found = seen[path] = set()
    for node in ast.walk(ast.parse((tree / path).read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            other = name.replace(".", "/") + ".py"
            if not (tree / other).is_file():
                continue
            found.add(other)
            if other.startswith("tests/"):
                found |= _imports(tree, other, seen)
    return found
