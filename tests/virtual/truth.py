"""Truth in virtual time: no proven verdict and no confirmed goodbye is contradicted by the server's own ledger.

By hand, with fresh seeds: python -m tests.virtual.truth --sessions 1000000 [--from SEED] [--processes N]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from math import inf
from typing import Any

from chatload.chat.contacts import ContactLog
from chatload.chat.record import SessionRecord
from chatload.features.reconcile.compute import Contradiction, reconcile
from chatload.features.reconcile.ledger import FIELDS, LedgerRow
from chatload.virtual.driver import VirtualRun
from chatload.vocabulary import Blame, Outcome, Verdict
from tests.virtual.schedules import Schedule, draw

CHATS = 340
#: docs/truth.md: another cause is taken for the timeout within this part of the timeout. It is not the constant of
#: `verdict`, so that a change of that constant is seen here.
NEAR = 0.1
#: What may end a chat beside its timeout and its client.
_OTHER_CAUSES = frozenset({"agent", "idle", "early", "restarted", "unrecoverable"})


def contradictions(
    schedule: Schedule, run: VirtualRun, logs: Mapping[str, ContactLog]
) -> tuple[list[Contradiction], Counter[str]]:
    """Return what the ledger contradicts, and how often it contradicts only what docs/truth.md states as an assumption.

    logs: by chat id, the contacts on which the verdict is based.
    """
    rows = [LedgerRow(**{name: row[name] for name in FIELDS}) for row in run.ledger]
    found = reconcile(run.records, rows, schedule.timeout_s).contradictions
    ledger = {row["chat_id"]: row for row in run.ledger}
    records = {record.chat_id: record for record in run.records}
    beyond, stated = [], Counter[str]()
    for item in found:
        row = ledger.get(item.chat_id)
        assumption = "" if row is None else _assumption(schedule, item, records[item.chat_id], row, logs[item.chat_id])
        if assumption:
            stated[assumption] += 1
        else:
            beyond.append(item)
    return beyond, stated


def misplaced_blames(schedule: Schedule, run: VirtualRun, logs: Mapping[str, ContactLog]) -> tuple[list[str], int]:
    """Return the late drops that a shorter timeout caused, and not the generator or the network that is blamed.

    The number is of those that came before any chat had shown the shorter timeout, which docs/truth.md states as an
    assumption.
    """
    ledger = {row["chat_id"]: row for row in run.ledger}
    sooner = [
        (record, timeout_s)
        for record in run.records
        if record.chat_id and (timeout_s := ledger[record.chat_id]["timeout_s"] or inf) < schedule.timeout_s
    ]
    in_time = (Verdict.DROPPED_EARLY, Verdict.FAILED)
    shown_at = min((record.ended_at for record, _ in sooner if record.verdict in in_time), default=inf)
    wrong, stated = [], 0
    for record, timeout_s in sooner:
        if record.verdict != Verdict.DROPPED_LATE or record.blame not in (Blame.GENERATOR, Blame.NETWORK):
            continue
        share = record.generator_s if record.blame == Blame.GENERATOR else logs[record.chat_id].shares.network
        assert record.gap_lower_s is not None and share is not None
        if record.gap_lower_s - share <= timeout_s:
            continue
        if record.ended_at <= shown_at:
            stated += 1
        else:
            wrong.append(f"chat {record.chat_id} is {record.verdict} with the blame {record.blame}: {record.why}")
    return wrong, stated


def _assumption(
    schedule: Schedule, item: Contradiction, record: SessionRecord, row: Mapping[str, Any], log: ContactLog
) -> str:
    """Return the assumption of docs/truth.md that the server broke and that makes the verdict wrong; "" if none."""
    if item.verdict == Verdict.DROPPED_LATE and item.ledger in _OTHER_CAUSES:
        if _ended_near_deadline(row, log, schedule.timeout_s):
            return "ended near the deadline"
        if record.learned_by == Outcome.UNRECOVERABLE and _failed_after_silence(row, schedule.timeout_s):
            return "failed after the silence"
    # An agent who hands the chat on leaves too, and then silence ends it without an event.
    untold = not schedule.server.customer_left_told and schedule.server.transfer_chance
    if item.verdict == Verdict.ENDED_BY_AGENT and untold and item.ledger == "early":
        return "an agent had left"
    unconfirmed = item.verdict == Verdict.GAVE_UP and not record.goodbye_confirmed
    delays = [fault.delay_s for fault in schedule.faults if fault.kind == "duplicate"]
    if unconfirmed and item.ledger == "dropped_late" and any(_came_again(row, delay_s) for delay_s in delays):
        return "came again after the end"
    return ""


def _ended_near_deadline(row: Mapping[str, Any], log: ContactLog, timeout_s: float) -> bool:
    """Return whether the chat ended at the deadline that its last contact gave it, to within NEAR.

    The last contact is the last answered one, or a failed request after it: the client cannot know whether a failed
    request was a contact.
    """
    last = [released for _, released in _contacts(row) if released >= log.sent]
    last += [attempt.sent for attempt in log.attempts if attempt.sent >= log.sent]
    return any(abs(row["ended_at"] - instant - timeout_s) <= NEAR * timeout_s for instant in last)


def _failed_after_silence(row: Mapping[str, Any], timeout_s: float) -> bool:
    """Return whether the request that ended a silence above the timeout met the error that ended the chat."""
    *before, (arrived, _) = _contacts(row)
    silences = [arrived - released for _, released in before]
    return arrived == row["ended_at"] and bool(silences) and min(silences) > timeout_s


def _came_again(row: Mapping[str, Any], delay_s: float) -> bool:
    """Return whether the late contact was the second copy of a request that had been a contact."""
    return any(arrived + delay_s == row["late_contact_at"] for arrived, _ in _contacts(row))


def _contacts(row: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Return the arrival of each contact, and its release: the same instant if it was not held."""
    return [(contact[0], contact[2] if len(contact) > 2 else contact[0]) for contact in row["contacts"]]


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
    logs: dict[str, ContactLog] = {}
    run = schedule.run(chats, logs)
    if also is not None:
        also(schedule, {record.blame for record in run.records})
    seen: Counter[str] = Counter(record.verdict for record in run.records)
    seen.update("blame " + record.blame for record in run.records if record.blame)
    seen.update("goodbye confirmed" for record in run.records if record.goodbye_confirmed)
    seen.update("habit " + name for name in schedule.habits)
    wrong = [] if run.books.balanced() else [f"seed {seed}: the books do not balance: {run.books.to_dict()}"]
    beyond, stated = contradictions(schedule, run, logs)
    misplaced, changed = misplaced_blames(schedule, run, logs)
    stated["the timeout was not known to be shorter"] = changed
    wrong += [f"seed {seed} {schedule.habits}: {text}" for text in misplaced]
    seen.update({f"stated: {name}": count for name, count in stated.items()})
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
