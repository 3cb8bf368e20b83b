"""Survivors that were looked at by hand: reasons.toml says why each is not noticed."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.draw import Mutant

_FILE = Path(__file__).with_name("reasons.toml")


@dataclass(frozen=True)
class Reason:
    """module, before, after: the place and its change, as in Mutant. equivalent: nobody can see a difference; a
    survivor that is not equivalent counts as not noticed."""

    module: str
    before: str
    after: str
    reason: str
    equivalent: bool


class Reasons:
    """All of reasons.toml."""

    def __init__(self, file: Path = _FILE) -> None:
        self._reasons = [Reason(**entry) for entry in tomllib.loads(file.read_text()).get("survivor", [])]

    def of(self, mutant: Mutant) -> Reason | None:
        """Why this mutant survives, if somebody found out."""
        wanted = (mutant.path, mutant.before, mutant.after)
        return next((r for r in self._reasons if (r.module, r.before, r.after) == wanted), None)

    def stale(self, tree: Path) -> list[Reason]:
        """Entries whose lines are in their module no longer."""
        return [reason for reason in self._reasons if not _is_there(tree / reason.module, reason.before)]


def _is_there(file: Path, lines: str) -> bool:
    if not file.is_file():
        return False
    return lines in "\n".join(line.strip() for line in file.read_text().splitlines())
