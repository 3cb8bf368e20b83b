"""Habits of real servers, faults and networks that a simulated one can take on, by name.

Times suit timeouts of a few seconds, as in `tests.virtual.schedules`.
"""

from collections.abc import Mapping
from typing import Any

from chatload.simulator.model.faults import Fault

Overrides = Mapping[str, Any]

_ANOTHER_CLIENT = {
    "other_client_chance": 0.7,
    "other_client_after_s": (0.1, 2.0),
    "other_client_stays_s": (0.1, 2.0),
}
_TWO_NODES = {"nodes": 2, "node_offset_s": 0.4}
_AGENTS_LEAVE = {"agent_leaves_chance": 0.5, "agent_leaves_after_s": (0.3, 4.0)}
_GOES_IDLE = {"idle_alert_s": 1.0, "idle_close_s": 0.7}

#: Name -> overrides of a SimulatorConfig.
SERVER_HABITS: dict[str, Overrides] = {
    # Clocks
    "stamps to 10 ms": {"utc_resolution_s": 0.01},
    "stamps to 10 ms, to the nearest": {"utc_resolution_s": 0.01, "utc_rounds": "nearest"},
    "stamps to the second": {"utc_resolution_s": 1.0},
    "stamps to the second, to the nearest": {"utc_resolution_s": 1.0, "utc_rounds": "nearest"},
    "stamps to the minute": {"utc_resolution_s": 60.0},
    "clock steps back": {"clock_step_s": -3.0, "clock_step_at_s": 6.0},
    "clock steps back a little": {"clock_step_s": -0.3, "clock_step_at_s": 4.0},
    "clock steps on": {"clock_step_s": 3.0, "clock_step_at_s": 6.0},
    "clock steps back in whole seconds": {"clock_step_s": -3.0, "clock_step_at_s": 6.0, "utc_resolution_s": 1.0},
    "clock gains": {"clock_drift_ppm": 500.0},
    "clock gains much": {"clock_drift_ppm": 20_000.0},
    "clock loses much": {"clock_drift_ppm": -20_000.0},
    "clock is hours ahead": {"clock_offset_s": 7200.0},
    "clock is hours behind": {"clock_offset_s": -7200.0, "utc_resolution_s": 1.0},
    "two nodes stamp events": _TWO_NODES,
    "five nodes stamp events": {"nodes": 5, "node_offset_s": 2.0},
    "chats move to another node": {**_TWO_NODES, "node_changes": "chat", "node_moves_after_s": (0.5, 4.0)},
    "chats move to a node far off": {
        "nodes": 3,
        "node_offset_s": -5.0,
        "node_changes": "chat",
        "node_moves_after_s": (0.5, 4.0),
    },
    "nodes in step": {"nodes": 3, "node_changes": "chat", "node_moves_after_s": (0.5, 4.0)},
    # Transcripts
    "some events undated": {"undated_chance": 0.3},
    "all events undated": {"undated_chance": 1.0},
    "opening events come later": {"opening_events": "later"},
    "opening events never come": {"opening_events": "skipped"},
    "customer never joins": {"customer_join_told": False},
    "customer never leaves": {"customer_left_told": False},
    "no participant ids": {"participant_ids": False},
    "no participant ids, but another Client": {"participant_ids": False, **_ANOTHER_CLIENT},
    "another Client": _ANOTHER_CLIENT,
    "another Client, and agents who leave": {**_ANOTHER_CLIENT, **_AGENTS_LEAVE},
    "another Client of the same name": {**_ANOTHER_CLIENT, "other_client_shares_name": True},
    # Ends
    "agent leaves, then the customer": {**_AGENTS_LEAVE, "removed_customer_leaves": True},
    "customer leaves, then the agent": {
        **_AGENTS_LEAVE,
        "removed_customer_leaves": True,
        "agent_left_told": "after",
    },
    "customer leaves for the agent": {**_AGENTS_LEAVE, "removed_customer_leaves": True, "agent_left_told": "never"},
    "agent ends without a trace": {**_AGENTS_LEAVE, "agent_left_told": "never"},
    "idle closed without a trace": {**_GOES_IDLE, "idle_close_told": False},
    "quit reasons": {**_AGENTS_LEAVE, **_GOES_IDLE, "quit_reasons": "documented"},
    "quit reasons, all": {**_AGENTS_LEAVE, **_GOES_IDLE, "quit_reasons": "all"},
    "quit reasons as numbers": {**_AGENTS_LEAVE, "quit_reasons": "documented", "quit_reason_number": True},
    "quit reasons before the agent": {**_AGENTS_LEAVE, "quit_reasons": "documented", "agent_left_told": "after"},
    "quit reasons without the agent": {**_AGENTS_LEAVE, "quit_reasons": "documented", "agent_left_told": "never"},
    "quit reasons without IdleClose": {**_GOES_IDLE, "quit_reasons": "documented", "idle_close_told": False},
    # Error codes
    "error codes, 0/true": {
        "error_8201": True,
        "error_8209": True,
        "error_8210": True,
        "dropped_answer": "0/true",
    },
    "error codes, 2": {"error_8201": True, "error_8209": True, "error_8210": True, "dropped_answer": "2"},
    "error code 8209 alone": {"error_8209": True},
    "bad keys removed": {"error_8210": True, "key_rotates_answers": 2, "old_key_grace_s": 0.0},
    # Fields
    "null fields": {"answer_fields": "null", "chat_ended_told": "true"},
    "sparse fields": {"answer_fields": "sparse", "chat_ended_told": "true"},
    "chatEnded never told": {"chat_ended_told": "never"},
    "chatEnded never told, dropped chats forgotten": {"chat_ended_told": "never", "dropped_answer": "2"},
    "Disconnect answered barely": {"disconnect_answer": "bare"},
    "Disconnect answered with nulls": {"disconnect_answer": "null", "answer_fields": "null", "chat_ended_told": "true"},
    "ends told without transcript": {"end_transcript": False},
    "says nothing it need not": {
        "answer_fields": "sparse",
        "chat_ended_told": "true",
        "disconnect_answer": "bare",
        "end_transcript": False,
        "undated_chance": 1.0,
    },
    "ends chats whose client never came back": {"user_register_timeout_s": 0.7},
}

#: The same, of servers whose timeout is not the one told: what their ledger calls expired was in time by that.
TIMEOUT_HABITS: dict[str, Overrides] = {
    "times out sooner than told": {"flex_disconnect_timeout_s": 0.8},
    "times out later than told": {"flex_disconnect_timeout_s": 8.0},
    "never times out": {"flex_disconnect_timeout_s": 0.0},
}

#: Name -> faults.
FAULT_HABITS: dict[str, tuple[Fault, ...]] = {
    "restarts at once": (Fault("restart", from_s=5.0, until_s=5.0),),
    "restarts": (Fault("restart", from_s=4.0, until_s=7.2),),
    "restarts twice": (Fault("restart", from_s=3.0, until_s=3.4), Fault("restart", from_s=8.0, until_s=12.0)),
    "dies": (Fault("restart", from_s=9.0),),
    "restarts behind a gateway": (
        Fault("restart", from_s=4.0, until_s=4.5),
        Fault("http_503", from_s=4.5, until_s=6.0),
    ),
    "says 2 and means 1": (Fault("status_2_open", chance=0.05),),
    "says 2 and means 0": (Fault("status_2_open", chance=0.05, reaches=True),),
    "loses requests": (Fault("lost", chance=0.05),),
    "loses answers": (Fault("lost", chance=0.05, reaches=True),),
    "takes lost requests late": (Fault("lost", chance=0.05, delay_s=2.5, reaches=True),),
    "loses goodbyes and ends early": (
        Fault("lost", chance=0.3, operations=frozenset({"Disconnect"})),
        Fault("early_end", chance=0.05),
    ),
    "takes requests twice": (Fault("duplicate", chance=0.2),),
    "takes requests twice, again late": (Fault("duplicate", chance=0.2, delay_s=1.3),),
    "fails to restore chats": (Fault("failed_restoration", chance=0.05),),
    "shortens its timeout": (Fault("timeout_change", from_s=4.0, timeout_s=1.0),),
    "shortens its timeout for new chats, for a while": (
        Fault("timeout_change", from_s=3.0, until_s=12.0, timeout_s=1.0, open_chats=False),
    ),
    "lengthens its timeout": (Fault("timeout_change", from_s=4.0, timeout_s=8.0),),
    "drops answered requests": (Fault("drop_connection", chance=0.05),),
    "drops requests": (Fault("drop_connection", chance=0.05, reaches=False),),
}

#: Name -> overrides of a NetworkModel.
NETWORK_HABITS: dict[str, Overrides] = {
    "duplicates requests": {"duplicated": 0.1},
    "delivers requests late": {"late": 0.05},
    "duplicates and loses": {"duplicated": 0.05, "late": 0.03, "loss": 0.02},
    "refuses": {"refused": 0.05},
    "closes kept connections": {"stale": 0.05},
}

#: Instants at which virtual clocks begin: a process, before its epoch, a machine up for a year, Unix time.
STARTS = (0.0, -1000.0, -3.0, 31_536_000.0, 1_700_000_000.0)
