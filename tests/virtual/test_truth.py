"""Truth in virtual time: no proven verdict is contradicted by the server's own ledger."""

from collections import Counter
from dataclasses import replace

import orjson
from hypothesis import HealthCheck, Phase, given, settings

from chatload.analysis.ledger import FIELDS, LedgerRow
from chatload.analysis.reconcile import reconcile
from tests.virtual.schedules import HABITS, habitual

SCHEDULES, CHATS = 220, 340
seen = Counter()


@settings(
    max_examples=SCHEDULES, deadline=None, database=None, derandomize=True,
    suppress_health_check=list(HealthCheck), phases=[Phase.generate],  # shrinking takes longer than all of it
)  # fmt: skip
@given(habitual())
def check_schedule(schedule):
    # Every second schedule has one habit more, in turn: what is drawn differs from machine to machine.
    turn, plain = divmod(seen["schedules"], 2)
    habit = list(HABITS)[turn % len(HABITS)]
    if not plain:
        schedule = replace(schedule, server=replace(schedule.server, **HABITS[habit]))
    run = schedule.run(CHATS)
    check_run(run)
    check_blame(schedule, {record.blame for record in run.records})
    seen[f"server {habit}"] += not plain
    seen["schedules"] += 1
    seen["sessions"] += len(run.records)
    seen.update(record.verdict for record in run.records)
    seen.update("blame " + record.blame for record in run.records if record.blame)


def check_run(run):
    """Its books balance, and the ledger contradicts nothing."""
    assert run.books.balanced(), run.books.to_dict()
    assert run.books.started == len(run.records)
    result = reconcile(run.records, [LedgerRow(**{name: row[name] for name in FIELDS}) for row in run.ledger])
    assert not result.contradictions, result.contradictions[:3]


def check_blame(schedule, blames):
    """Nobody is blamed for what did not happen in this schedule."""
    kinds = {fault.kind for fault in schedule.faults}
    network = schedule.network
    kind, _, *tuned = schedule.policy
    if kind == "deadline" or not tuned or tuned[-1] == 0.5:  # far from the deadline
        assert "plan" not in blames
    if not schedule.stalls.windows:
        assert "generator" not in blames
    if not kinds and not network.loss:
        assert "server" not in blames
        assert "retries" not in blames
    if not kinds & {"outage", "drop_connection"} and not network.refused:
        assert "network" not in blames


def test_no_proven_verdict_is_contradicted(capsys):
    """At least 200 schedules and 50 000 sessions; every verdict and every blame occurs among them."""
    check_schedule()
    with capsys.disabled():
        dropped = seen["dropped_late"] + seen["dropped_unproven"]
        share = seen["dropped_unproven"] / dropped
        print(f"\n  {seen['schedules']} schedules, {seen['sessions']} sessions, unproven {share:.1%} of {dropped}")
        print("  " + ", ".join(f"{name} {count}" for name, count in sorted(seen.items())))
    assert seen["schedules"] >= SCHEDULES
    assert seen["sessions"] >= 50_000
    for name in (
        "completed", "ended_by_agent", "closed_idle", "dropped_late", "dropped_early", "dropped_unproven",
        "refused", "failed", "gave_up", "cut_off",
        "blame plan", "blame generator", "blame server", "blame retries", "blame network",
        *(f"server {name}" for name in HABITS),
    ):  # fmt: skip
        assert seen[name], name


@settings(max_examples=10, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(habitual())
def test_the_same_seed_gives_the_same_run_byte_for_byte(schedule):
    def image():
        run = schedule.run(60)
        rows = [record.to_dict() for record in run.records]
        return orjson.dumps([rows, run.books.to_dict(), run.ledger])

    assert image() == image()
