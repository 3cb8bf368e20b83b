"""The result of a check, and all results as a document and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from chatload.render import words
from chatload.render.document import Block, Document, Section, Sentence, Tone, Verbatim

State = Literal["ok", "warn", "bad"]
_TONES = {"ok": Tone.GOOD, "warn": Tone.WARN, "bad": Tone.BAD}


@dataclass(frozen=True)
class CheckResult:
    """The result of one check. found: the facts; change: what to do, with the command; empty if nothing."""

    name: str
    state: State
    found: str
    change: str = ""


def check(name: str, found: str, change: str = "", *, warn: bool = False, bad: bool = False) -> CheckResult:
    """Return the result of a check. change: what to do if it is a warning or bad."""
    return CheckResult(name, "bad" if bad else "warn" if warn else "ok", found, change if bad or warn else "")


def worst(rows: Sequence[CheckResult]) -> State:
    return max((row.state for row in rows), key=("ok", "warn", "bad").index, default="ok")


def doctor_document(rows: Sequence[CheckResult]) -> Document:
    """Return the checks as a document: each check, and below it what to change."""
    bad, warn = (sum(row.state == state for row in rows) for state in ("bad", "warn"))
    found = f"{words.number(bad)} bad, {words.plural(warn, 'warning')}" if bad or warn else "nothing bad"
    blocks: list[Block] = []
    for row in rows:
        said = f"{row.state:<5} {row.name}: {row.found}"
        blocks.append(Sentence(said, _TONES[row.state], strong=row.state == "bad"))
        if row.change:
            blocks.append(Verbatim(f"      change: {row.change}"))
    return Document(Sentence(found, _TONES[worst(rows)]), (Section("Checks", blocks),))


def to_dict(rows: Sequence[CheckResult], users: int, processes: int) -> dict[str, Any]:
    """Return what --json prints; see doctor.schema.json."""
    checks = [asdict(row) for row in rows]
    return {"schema_version": 1, "state": worst(rows), "users": users, "processes": processes, "checks": checks}
