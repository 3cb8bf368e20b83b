"""What `chatload doctor` found, as a document and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chatload.features.doctor.checks import CheckResult, worst
from chatload.render import words
from chatload.render.document import Block, Document, Section, Sentence, Tone, Verbatim
from chatload.render.output import read_schema

#: `schema_version` of --json.
SCHEMA_VERSION = 1
_TONES = {"ok": Tone.GOOD, "warn": Tone.WARN, "bad": Tone.BAD}


def doctor_document(rows: list[CheckResult]) -> Document:
    """Return the checks as a document: each check, and below it what to change."""
    bad, warn = (sum(row.state == state for row in rows) for state in ("bad", "warn"))
    found = f"{words.number(bad)} bad, {words.plural(warn, 'warning')}" if bad or warn else "nothing stands in the way"
    return Document(Sentence(found, _TONES[worst(rows)]), (Section("Checks", tuple(_checks(rows))),))


def _checks(rows: list[CheckResult]) -> Iterator[Block]:
    for row in rows:
        yield Sentence(f"{row.state:<5} {row.name}: {row.found}", _TONES[row.state], strong=row.state == "bad")
        if row.change:
            yield Verbatim(f"      change: {row.change}")


def to_dict(rows: list[CheckResult], users: int, processes: int) -> dict[str, Any]:
    """Return what --json prints; see `schema`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "state": worst(rows),
        "users": users,
        "processes": processes,
        "checks": [row.to_dict() for row in rows],
    }


def schema() -> dict[str, Any]:
    """Return the published JSON Schema of --json."""
    return read_schema("chatload.features.doctor", "doctor.schema.json")
