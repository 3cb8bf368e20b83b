"""Which modules are measured, and which test files concern each of them."""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Iterable, Mapping
from pathlib import Path

#: The packages whose modules are measured: protocol, engine, run file, statistics, thresholds, and the features that
#: compute.
CORE = (
    "chatload/protocol", "chatload/chat", "chatload/run", "chatload/stats", "chatload/thresholds",
    "chatload/features/compare", "chatload/features/capacity", "chatload/features/plan", "chatload/features/reconcile",
    "chatload/features/tune", "chatload/features/combine",
)  # fmt: skip
#: What a feature shows and starts is not measured.
NOT_CORE = ("command", "load", "view")
#: Tests are looked for here; the slower kinds (real sockets, browsers) are not run.
TESTS = ("tests/unit", "tests/virtual")
#: These take too long to try each mutant on.
SLOW = (
    "unit/test_report_page", "unit/test_tune_command", "virtual/test_forecast_fit", "virtual/test_large_report",
    "virtual/test_probe", "virtual/test_soak", "virtual/test_tune",
)  # fmt: skip

_ENGINE = (
    "unit/test_lifecycle", "unit/test_placed_chats", "unit/test_verdict", "unit/test_contacts", "unit/test_resending",
    "unit/test_hot_path", "virtual/test_findings", "virtual/test_habits", "virtual/test_widget_trace",
    "virtual/test_truth",
)  # fmt: skip
_PROTOCOL = (
    "unit/test_dialect", "unit/test_round_trip", "unit/test_status_table", "unit/test_answer_names",
    "unit/test_dialect_secrets", "unit/test_resending", "unit/test_extras", "unit/test_simulator_protocol",
    "unit/test_hostile_files", "unit/test_hot_path", "unit/test_simulator_known_heads",
)  # fmt: skip
_TOML = (
    "unit/test_policy_script", "unit/test_plan", "unit/test_service_time", "unit/test_simulator_faults",
    "unit/test_target", "unit/test_ceiling",
)  # fmt: skip
_STORE = (
    "unit/test_store", "unit/test_export", "unit/test_windows_timelines", "unit/test_retention",
    "unit/test_hostile_files", "unit/test_handover",
)  # fmt: skip
_JUDGING = (
    "unit/test_thresholds", "unit/test_threshold_grammar", "unit/test_sequential", "unit/test_summary",
    "unit/test_dependence",
)  # fmt: skip
#: Test files that concern a module beside those that import it, by patterns of module names.
BESIDE: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("chat/*", "run/*"), _ENGINE),
    (("chat/settings",), ("unit/test_ceiling", "unit/test_policy_script", "unit/test_sweep")),
    (("chat/record", "chat/script", "chat/policy"), ("virtual/test_widget_trace",)),
    (("run/arrivals",), ("unit/test_open_workload",)),
    (("protocol/*",), _PROTOCOL),
    (("protocol/toml_file",), _TOML),
    (("run/*",), _STORE),
    (("features/capacity/*", "stats/usl", "stats/response"), ("unit/test_capacity", "unit/test_capacity_report")),
    (("features/plan/*",), ("unit/test_plan", "unit/test_plan_command", "unit/test_plan_queueing")),
    (("features/compare/compute", "run/settings"), ("unit/test_compare_command",)),
    (("thresholds/*", "stats/rates", "stats/clusters", "features/combine/*"), _JUDGING),
    (("features/compare/compute", "thresholds/metrics"), ("unit/test_report_figures",)),
    (("stats/trend", "features/tune/compute"), ("unit/test_drift",)),
    (("run/reader",), ("unit/test_summary", "unit/test_junit", "unit/test_drift")),
)


def modules(tree: Path, only: str = "") -> list[str]:
    """The modules to measure. only: patterns with commas between, such as `trend,run/*`; "" is all of them."""
    paths = [
        str(path.relative_to(tree))
        for folder in CORE
        for path in sorted((tree / folder).rglob("*.py"))
        if path.stem not in NOT_CORE
    ]
    wanted = [f"*/{pattern.strip().removesuffix('.py')}" for pattern in only.split(",") if pattern.strip()]
    return [path for path in paths if not wanted or any(_matches(path, pattern) for pattern in wanted)]


def _matches(path: str, pattern: str) -> bool:
    return fnmatch.fnmatch("/" + path.removesuffix(".py"), pattern)


def concerning(tree: Path, paths: Iterable[str]) -> dict[str, list[str]]:
    """Per module the test files that import it, by themselves or by a helper, and those that BESIDE names."""
    imports = {test: _imports(tree, test, {}) for test in _test_files(tree)}
    return {path: _of(path, imports) for path in paths}


def _of(path: str, imports: Mapping[str, set[str]]) -> list[str]:
    module = path.removeprefix("chatload/").removesuffix(".py")
    rows = (tests for patterns, tests in BESIDE if any(fnmatch.fnmatch(module, pattern) for pattern in patterns))
    named = {f"tests/{test}.py" for tests in rows for test in tests}
    return sorted((named & imports.keys()) | {test for test, imported in imports.items() if path in imported})


def _test_files(tree: Path) -> list[str]:
    found = [str(path.relative_to(tree)) for folder in TESTS for path in sorted((tree / folder).glob("test_*.py"))]
    return [path for path in found if path.removeprefix("tests/").removesuffix(".py") not in SLOW]


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
