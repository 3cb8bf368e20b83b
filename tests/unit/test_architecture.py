"""Rules of the house that import-linter cannot check."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import grimp
import pytest

TREE = Path(__file__).resolve().parents[2] / "chatload"
MODULES = {path: ast.parse(path.read_text()) for path in sorted(TREE.rglob("*.py"))}
#: Documented methods of named tuples, and of enumerations, that begin with an underscore; and the one way to end a
#: process at once.
DOCUMENTED = {"_replace", "_asdict", "_fields", "_value_", "_make", "_exit"}
#: Private attributes of libraries that are used because there is no public way: file and attribute.
OF_LIBRARIES: dict[str, set[str]] = {
    "run/settings.py": {"_AppendAction"},
    "swarm/patches/request_statistics.py": {"_handlers", "_cache_response_times"},
    "swarm/patches/stopping.py": {"_users_dispatcher", "_send_stats"},
    "transport/requests_transport.py": {"_new_conn"},
    "sockets.py": {"_read_status"},
}


def circles(imports: dict[str, set[str]]) -> list[set[str]]:
    """The modules that import each other, directly or by others: strongly connected components of more than one."""
    reached: dict[str, set[str]] = {}
    for start in imports:
        found, queue = set[str](), [start]
        while queue:
            for module in imports[queue.pop()] - found:
                found.add(module)
                queue.append(module)
        reached[start] = found
    groups = {frozenset({other for other in found if start in reached[other]}) for start, found in reached.items()}
    return [set(group) for group in groups if len(group) > 1]


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [{"b", "c"}]


def test_no_module_imports_itself_by_others_type_only_imports_included() -> None:
    graph = grimp.build_graph("chatload", cache_dir=None)
    assert circles({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}) == []


def test_a_class_name_is_used_once() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(str(path.relative_to(TREE)))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(TREE)))
def test_no_private_attribute_of_another_object_is_used(path: Path) -> None:
    tree = MODULES[path]
    own = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
    } | {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    own |= {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    allowed = own | DOCUMENTED | OF_LIBRARIES.get(str(path.relative_to(TREE)), set())
    found = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and node.attr not in allowed
    ]
    found += [
        f"line {node.lineno}: {alias.name} of {node.module}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("chatload")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert found == []
