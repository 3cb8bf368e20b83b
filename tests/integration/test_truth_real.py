"""The tool's word against the server's ledger, over real sockets, with real Locust processes."""

import os
from itertools import product

import pytest

from tests.integration.processes import (
    HASTY,
    assert_balanced,
    chatload_here,
    ledger_of,
    locust,
    simulator,
    summary_of,
)  # fmt: skip

pytestmark = pytest.mark.slow

#: At least eight fault mixes; each is (faults, simulator options, locust options).
AGENTS = ("--agent-wait", "0.1", "0.6", "--agent-answer", "0.1", "0.5")
MIXES = {
    "no faults": ("", (), ()),
    "unsuccessful": ('[[fault]]\nkind = "status_1"\nchance = 0.15\n', (), ()),
    "unsuccessful but taken, and violations": (
        '[[fault]]\nkind = "status_1"\nchance = 0.1\nreaches = true\n'
        '[[fault]]\nkind = "status_1_violation"\nchance = 0.1\n',
        (),
        (),
    ),
    "unrecoverable and early ends": (
        '[[fault]]\nkind = "status_2"\nchance = 0.03\n[[fault]]\nkind = "early_end"\nchance = 0.03\n',
        ("--agent-leaves-chance", "0.3", "--agent-leaves-after", "0.5", "2"),
        (),
    ),
    "an outage longer than the timeout, learned by 0/true": (
        '[[fault]]\nkind = "outage"\nfrom_s = 4.0\nuntil_s = 7.0\n',
        ("--dropped-answer", "0/true"),
        (),
    ),
    "an outage longer than the timeout, learned by 2": (
        '[[fault]]\nkind = "outage"\nfrom_s = 4.0\nuntil_s = 7.0\n',
        ("--dropped-answer", "2"),
        (),
    ),
    "slow answers and stalls": (
        '[[fault]]\nkind = "slow"\nchance = 0.05\ndelay_s = 2.5\noperations = ["GetMessages"]\n'
        '[[fault]]\nkind = "stall"\nchance = 0.05\ndelay_s = 1.5\noperations = ["GetMessages"]\n',
        (),
        ("--request-timeout", "3"),
    ),
    "broken connections and errors": (
        '[[fault]]\nkind = "drop_connection"\nchance = 0.05\n'
        '[[fault]]\nkind = "drop_connection"\nchance = 0.05\nreaches = false\n'
        '[[fault]]\nkind = "http_500"\nchance = 0.05\n[[fault]]\nkind = "http_503"\nchance = 0.05\n',
        (),
        (),
    ),
    "malformed answers, a late plan, learned by 2": (
        '[[fault]]\nkind = "malformed"\nchance = 0.05\n[[fault]]\nkind = "html"\nchance = 0.05\n'
        '[[fault]]\nkind = "unknown_status"\nchance = 0.05\n',
        ("--dropped-answer", "2"),
        ("--refresh-interval", "2.2", "--allow-late-refresh"),
    ),
}


WAYS = tuple(product(("gms-v2", "webapi"), ("lean", "requests")))
#: Every mix one way, in turn; with CHATLOAD_EVERY_WAY set every mix in every way (six minutes).
TURNS = [(mix, *WAYS[i % len(WAYS)]) for i, mix in enumerate(MIXES)]
if os.environ.get("CHATLOAD_EVERY_WAY"):
    TURNS = [(mix, *way) for mix in MIXES for way in WAYS]


@pytest.mark.parametrize("mix, dialect, transport", TURNS)
def test_no_verdict_is_contradicted(mix, dialect, transport, tmp_path):
    faults, server, swarm = MIXES[mix]
    script = tmp_path / "script.toml"
    script.write_text(HASTY)
    run_dir = tmp_path / "run"
    options = ("--flex-disconnect-timeout", "2", "--dialect", dialect, *AGENTS, *server)
    with simulator(*options, faults="seed = 3\n" + faults, tmp_path=tmp_path) as host:
        run = locust(
            host, run_dir, "-u", "50", "-r", "50", "--chats", "120", "-t", "60s",
            "--flex-disconnect-timeout", "2", "--script", script,
            "--dialect", dialect, "--transport", transport, *swarm,
        )  # fmt: skip
        assert "Traceback" not in run.stderr, run.stderr
        reconciled = chatload_here("reconcile", run_dir, "--ledger", host)
        ledger = ledger_of(host)
    assert reconciled.returncode == 0, reconciled.stdout + reconciled.stderr
    summary = summary_of(run_dir)
    assert_balanced(summary)
    assert summary["sessions"]["started"] == 120
    verdicts = rows(run_dir)
    dropped = {
        row["chat_id"] for row in ledger if row["end_reason"] == "expired" and row["late_contact_at"] is not None
    }
    for chat_id in dropped & set(verdicts):
        assert verdicts[chat_id] in ("dropped_late", "dropped_unproven"), chat_id
    assert {chat for chat, verdict in verdicts.items() if verdict == "dropped_late"} <= dropped
    if "outage" in mix or "late plan" in mix:
        assert dropped
    if "0/true" in mix or "late plan" in mix:
        # An outage that is learned by 2 stays unproven: any of the requests it swallowed may have been a contact.
        assert summary["sessions"]["by_verdict"]["dropped_late"] > 0


def rows(run_dir):
    import csv
    import io

    exported = chatload_here("export", run_dir, "sessions")
    assert exported.returncode == 0, exported.stderr
    found = {row["chat_id"]: row["verdict"] for row in csv.DictReader(io.StringIO(exported.stdout))}
    found.pop("", None)
    return found
