"""Mutants: copies of a module in which one place is changed, drawn at random."""

from __future__ import annotations

import ast
import difflib
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import MutationVisitor

from tests.mutation.operators import operators

#: Arguments that guard against mistakes of ours or save memory: no user sees a difference.
_UNSEEN = re.compile(r"\b(frozen|slots|strict)=True")


@dataclass(frozen=True)
class Mutant:
    """One change. path: of the module, relative to the tree. line: from 1. before, after: the lines that differ,
    without indentation. code: the whole module, changed."""

    path: str
    line: int
    operator: str
    before: str
    after: str
    code: str


@dataclass(frozen=True)
class _Site:
    """A place that a kind of change applies to, and the ways in which it does: operator and its occurrence."""

    path: str
    ways: tuple[tuple[str, int], ...]


def draw(tree: Path, paths: Sequence[str], count: int, seed: int) -> tuple[list[Mutant], int]:
    """At most `count` mutants of the modules at `paths`, and the number of sites they were drawn from.

    Sites are drawn without replacement, each with the same probability, then one of its ways: so `+`, which can
    become eleven other operators, counts as `not` does, which can only be left out.
    """
    sites = [site for path in sorted(paths) for site in _sites(path, (tree / path).read_text())]
    chance = random.Random(seed)
    chance.shuffle(sites)
    drawn: list[Mutant] = []
    for site in sites:
        if len(drawn) >= count:
            break
        ways = list(site.ways)
        chance.shuffle(ways)
        mutant = next(filter(None, (_changed(tree, site.path, *way) for way in ways)), None)
        if mutant is not None:
            drawn.append(mutant)
    return drawn, len(sites)


def _sites(path: str, source: str) -> Iterator[_Site]:
    nodes = list(ast_nodes(get_ast(source)))
    ways: dict[tuple[object, str], list[tuple[str, int]]] = defaultdict(list)
    for name, operator in operators().items():
        positions = (position for node in nodes for position in operator.mutation_positions(node))
        for occurrence, position in enumerate(positions):
            ways[position, name.partition("_")[0]].append((name, occurrence))
    for _, found in sorted(ways.items(), key=lambda item: str(item[0])):
        yield _Site(path, tuple(found))


def _changed(tree: Path, path: str, operator: str, occurrence: int) -> Mutant | None:
    """The mutant; None where it is no Python, or differs only in annotations, assertions or what is _UNSEEN."""
    source = (tree / path).read_text()
    try:
        code = MutationVisitor.mutate_code(source, operators()[operator], occurrence)
        if code is None or _meaning(code) == _meaning(source):
            return None
    except (SyntaxError, ValueError, AttributeError):  # AttributeError: cosmic-ray's of `except module.Error`
        return None
    line, before, after = _difference(source, code)
    if _UNSEEN.sub(r"\1=False", before) == _UNSEEN.sub(r"\1=False", after):
        return None
    return Mutant(path, line, operator, before, after, code)


class _Behaviour(ast.NodeTransformer):
    """Leaves out what no user sees: annotations, which are not evaluated, and `assert`, which tells the type checker
    what is so anyway."""

    def visit_Assert(self, node: ast.Assert) -> ast.Pass:
        return ast.Pass()

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign:
        self.generic_visit(node)
        node.annotation = ast.Constant(0)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        node.returns = None
        return node


def _meaning(source: str) -> str:
    """The syntax tree of what a user can see."""
    return ast.dump(_Behaviour().visit(ast.parse(source)))


def _difference(source: str, code: str) -> tuple[int, str, str]:
    """The first line that differs, and the lines before and after."""
    old, new = source.splitlines(), code.splitlines()
    changes = [c for c in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if c[0] != "equal"]
    first, last = changes[0], changes[-1]
    before, after = old[first[1] : last[2]], new[first[3] : last[4]]
    return first[1] + 1, _flat(before), _flat(after)


def _flat(lines: Sequence[str]) -> str:
    return "\n".join(line.strip() for line in lines).strip()
