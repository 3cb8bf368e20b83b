"""The kinds of changes that are made: those of cosmic-ray, without the meaningless ones, and three more."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, ClassVar

from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider
from parso.python.tree import ExprStmt, Keyword, Name
from parso.python.tree import Operator as Sign

#: An operator is replaced by another of its family only: `float ^ float` and `None < 3` fail in whatever test runs
#: the line, and would make the share noticed look better than it is; `is` and `==` hardly ever differ.
_FAMILIES = (
    {"Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow"},
    {"RShift", "LShift", "BitOr", "BitAnd", "BitXor"},
    {"Eq", "NotEq", "Lt", "LtE", "Gt", "GtE"},
    {"Is", "IsNot"},
)
#: These need names of variables as arguments.
_NEEDS_ARGUMENTS = ("VariableReplacer", "VariableInserter")

_Position = tuple[tuple[int, int], tuple[int, int]]


class _Own(Operator):  # type: ignore[misc]
    """A kind of change of ours; cosmic-ray shows examples of its own in its documentation."""

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class _LeafReplacer(_Own):
    """Replaces the value of a leaf by another."""

    REPLACED: ClassVar[dict[str, str]] = {}

    def _applies(self, node: Any) -> bool:
        raise NotImplementedError

    def mutation_positions(self, node: Any) -> Iterator[_Position]:
        if self._applies(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        node.value = self.REPLACED[node.value]
        return node


class ReplaceAugmentedAssignment(_LeafReplacer):
    """`x += y` becomes `x -= y`, and the like."""

    REPLACED: ClassVar[dict[str, str]] = {"+=": "-=", "-=": "+=", "*=": "/=", "/=": "*=", "|=": "&=", "&=": "|="}

    def _applies(self, node: Any) -> bool:
        return isinstance(node, Sign) and node.value in self.REPLACED


class ReplaceMinMax(_LeafReplacer):
    """`min(...)` becomes `max(...)`, and the other way round."""

    REPLACED: ClassVar[dict[str, str]] = {"min": "max", "max": "min"}

    def _applies(self, node: Any) -> bool:
        if not isinstance(node, Name) or node.value not in self.REPLACED:
            return False
        following = node.get_next_sibling()
        return following is not None and following.type == "trailer" and following.children[0].value in "(."


class DropStatement(_Own):
    """A call whose value is not used, or an assignment to an attribute or an item, becomes `pass`."""

    def mutation_positions(self, node: Any) -> Iterator[_Position]:
        if node.type == "simple_stmt" and self._has_effect(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    @staticmethod
    def _has_effect(statement: Any) -> bool:
        if isinstance(statement, ExprStmt):
            target = statement.children[0]
            return target.type in ("atom_expr", "power") and statement.children[1].type != "annassign"
        return statement.type in ("atom_expr", "power")

    def mutate(self, node: Any, index: int) -> Any:
        first = node.children[0].get_first_leaf()
        node.children[0] = Keyword("pass", first.start_pos, first.prefix)
        return node


def _within_family(name: str) -> bool:
    kind, *signs = name.split("_")
    if kind not in ("ReplaceBinaryOperator", "ReplaceComparisonOperator"):
        return True
    return any(set(signs) <= family for family in _FAMILIES)


@cache
def operators() -> dict[str, Operator]:
    """All kinds of changes, by name."""
    provider = OperatorProvider()
    names = [name for name in provider if name not in _NEEDS_ARGUMENTS and _within_family(name)]
    own = (ReplaceAugmentedAssignment, ReplaceMinMax, DropStatement)
    return {**{name: provider[name]() for name in names}, **{kind.__name__: kind() for kind in own}}
