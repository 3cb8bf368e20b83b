"""Truth in virtual time: no proven verdict is contradicted by the server's own ledger."""

import os
from collections import Counter
from dataclasses import asdict

import orjson
import pytest

from tests.virtual import truth
from tests.virtual.schedules import ALL_HABITS, draw

#: `CHATLOAD_SCHEDULES` is for measurements that run the test many times.
SCHEDULES = int(os.environ.get("CHATLOAD_SCHEDULES", "0")) or 2 * len(ALL_HABITS)
CHATS = 345


def check_blame(schedule, blames):
    """Nobody is blamed for what did not happen in this schedule."""
    kinds = {fault.kind for fault in schedule.faults}
    network = schedule.network
    kind, _, *tuned = schedule.policy
    if kind == "deadline" or not tuned or tuned[-1] == 0.5:  # far from the deadline
        assert "plan" not in blames
    if not schedule.stalls.windows:
        assert "generator" not in blames
    if not kinds and not network.loss and not network.late:
        assert "retries" not in blames
        # Where the server's own word proves a drop that the bounds leave open, slow answers are part of the silence.
        if not schedule.server.error_8209 and schedule.server.quit_reasons != "all":
            assert "server" not in blames
    if not kinds & {"outage", "drop_connection", "restart"} and not network.refused:
        assert "network" not in blames


def test_no_proven_verdict_is_contradicted(capsys):
    """Every verdict, every blame and every habit occurs among them."""
    seen, sessions, wrong = Counter(), 0, []
    for seed in range(SCHEDULES):
        count, counts, errors = truth.check(seed, CHATS, check_blame)
        sessions += count
        seen.update(counts)
        wrong += errors
    with capsys.disabled():
        dropped = seen["dropped_late"] + seen["dropped_unproven"]
        share = seen["dropped_unproven"] / max(1, dropped)
        print(f"\n  {SCHEDULES} schedules, {sessions} sessions, unproven {share:.1%} of {dropped}")
        print("  " + ", ".join(f"{name} {n}" for name, n in sorted(seen.items()) if not name.startswith("habit ")))
    assert not wrong, wrong[:5]
    if 2 * len(ALL_HABITS) > SCHEDULES:
        return
    assert sessions >= 50_000
    for name in (
        "completed", "ended_by_agent", "closed_idle", "dropped_late", "dropped_early", "dropped_unproven",
        "refused", "failed", "gave_up", "cut_off", "goodbye confirmed",
        "blame plan", "blame generator", "blame server", "blame retries", "blame network",
        *(f"habit {name}" for name in ALL_HABITS),
    ):  # fmt: skip
        assert seen[name], name


@pytest.mark.parametrize("seed", range(10))
def test_the_same_seed_gives_the_same_run_byte_for_byte(seed):
    def image():
        run = draw(seed).run(60)
        rows = [asdict(record) for record in run.records]
        return orjson.dumps([rows, run.books.to_dict(), run.ledger])

    assert image() == image()
