"""Truth in virtual time: no proven verdict and no confirmed goodbye is contradicted by the server's own ledger.

By hand, with fresh seeds: python -m tests.virtual.truth --sessions 1000000 [--from SEED] [--processes N]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

from chatload.chat.verdict import STAMP_TOLERANCE
from chatload.features.reconcile.compute import Contradiction, reconcile
from chatload.features.reconcile.ledger import FIELDS, LedgerRow
from chatload.virtual.driver import VirtualRun
from tests.virtual.schedules import Schedule, draw

CHATS = 340


def contradictions(
    schedule: Schedule, run: VirtualRun, sent: Mapping[str, list[float]]
) -> tuple[list[Contradiction], int]:
    """Return what the ledger contradicts, and how many contradictions more README's stated assumptions allow.

    They are late drops of two kinds: another cause ended the chat within STAMP_TOLERANCE of its deadline; or the
    silence was too long, the server had not looked for it yet, and ended the chat at its next request by statusCode 2.

    sent: when the last requests of each chat left, those that were lost included.
    """
    rows = [LedgerRow(**{name: row[name] for name in FIELDS}) for row in run.ledger]
    found = reconcile(run.records, rows).contradictions
    if 0 < schedule.server.flex_disconnect_timeout_s < schedule.timeout_s:
        # By the timeout that the client was told, a chat that expired may have been ended early.
        early = [replace(row, end_reason="early") if row.end_reason == "expired" else row for row in rows]
        also = {item.chat_id for item in reconcile(run.records, early).contradictions}
        found = [item for item in found if item.chat_id in also]
    ledger = {row["chat_id"]: row for row in run.ledger}
    beyond = [
        item
        for item in found
        if not _is_stated(item, ledger.get(item.chat_id), schedule.timeout_s, sent.get(item.chat_id, []))
    ]
    if any(fault.kind == "duplicate" and fault.delay_s for fault in schedule.faults):
        # What came too late may have been a second copy. The client gave up and claims nothing.
        beyond = [item for item in beyond if item.verdict != "gave_up"]
    return beyond, len(found) - len(beyond)


def _is_stated(item: Contradiction, row: Mapping[str, Any] | None, timeout_s: float, sent: list[float]) -> bool:
    if item.verdict != "dropped_late" or row is None or row["ended_at"] is None:
        return False
    # A failed request may have been a contact, or not: the client cannot know, so each is looked at.
    contacts = [contact[2] if len(contact) > 2 else contact[0] for contact in row["contacts"]]
    silences = [row["ended_at"] - contact for contact in contacts]
    since_requests = [row["ended_at"] - instant for instant in sent]
    if any(abs(silence - timeout_s) <= STAMP_TOLERANCE * timeout_s for silence in silences + since_requests):
        return True
    # The request that met the error is the last contact: the one before it began the silence.
    ended_by_its_request = row["end_reason"] == "unrecoverable" and silences[-1] == 0
    return ended_by_its_request and len(silences) > 1 and silences[-2] > timeout_s


def check_run(run: VirtualRun) -> None:
    """Its books balance, and the ledger contradicts nothing."""
    assert run.books.balanced(), run.books.to_dict()
    assert run.books.started == len(run.records)
    rows = [LedgerRow(**{name: row[name] for name in FIELDS}) for row in run.ledger]
    found = reconcile(run.records, rows).contradictions
    assert not found, found[:3]


def check(
    seed: int, chats: int = CHATS, also: Callable[[Schedule, set[str]], None] | None = None
) -> tuple[int, Counter[str], list[str]]:
    """Run the schedule of a seed; its number of sessions, what was seen, and what is wrong.

    also: a further check of the blames that occurred.
    """
    schedule = draw(seed)
    sent: dict[str, list[float]] = {}
    run = schedule.run(chats, sent)
    if also is not None:
        also(schedule, {record.blame for record in run.records})
    seen: Counter[str] = Counter(record.verdict for record in run.records)
    seen.update("blame " + record.blame for record in run.records if record.blame)
    seen.update("goodbye confirmed" for record in run.records if record.goodbye_confirmed)
    seen.update("habit " + name for name in schedule.habits)
    wrong = [] if run.books.balanced() else [f"seed {seed}: the books do not balance: {run.books.to_dict()}"]
    beyond, within = contradictions(schedule, run, sent)
    seen["within the stated assumptions"] += within
    why = {record.chat_id: record.why for record in run.records}
    wrong += [f"seed {seed} {schedule.habits}: {item.sentence} ({why[item.chat_id]})" for item in beyond]
    return len(run.records), seen, wrong


def main() -> None:
    """Draw schedules until so many sessions are checked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--from", dest="first", type=int, default=int(time.time()))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    sessions, schedules, seen, wrong = 0, 0, Counter[str](), []
    with ProcessPoolExecutor(options.processes) as pool:
        seed = options.first
        while sessions < options.sessions:
            for count, counts, errors in pool.map(check, range(seed, seed + 100), chunksize=5):
                sessions, schedules = sessions + count, schedules + 1
                seen.update(counts)
                wrong += errors
                for line in errors[:2]:
                    print(line, flush=True)
            seed += 100
            print(f"{sessions} sessions, {len(wrong)} contradicted", flush=True)
    print(f"{schedules} schedules from seed {options.first}, {sessions} sessions, {len(wrong)} contradicted")
    print(", ".join(f"{name} {count}" for name, count in sorted(seen.items()) if not name.startswith("habit ")))
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
