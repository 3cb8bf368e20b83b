"""Whatever customers do: transcripts, clocks, counters and determinism of the model hold."""

from itertools import pairwise

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import Fault
from chatload.simulator.model.service import ChatService
from tests.unit.simulated import Client

CONFIGS = st.builds(
    SimulatorConfig,
    flex_disconnect_timeout_s=st.sampled_from([2.0, 5.0]),
    user_register_timeout_s=st.sampled_from([0.0, 0.0, 1.0]),
    long_poll_s=st.sampled_from([0.0, 1.5, 8.0]),
    idle_alert_s=st.sampled_from([0.0, 3.0]),
    idle_alert2_s=st.sampled_from([0.0, 1.0]),
    idle_close_s=st.sampled_from([0.0, 2.0]),
    keeps_ended_s=st.sampled_from([0.0, 4.0, 60.0]),
    agents=st.booleans(),
    agent_leaves_chance=st.sampled_from([0.0, 0.5]),
    agent_leaves_after_s=st.just((0.5, 4.0)),
    agent_types=st.booleans(),
    agent_pushes_chance=st.sampled_from([0.0, 0.5]),
    transfer_chance=st.sampled_from([0.0, 0.7]),
    transfer_after_s=st.just((0.5, 3.0)),
    transfer_overlaps=st.booleans(),
    bot_chance=st.sampled_from([0.0, 0.5]),
    supervisor_chance=st.sampled_from([0.0, 0.5]),
    supervisor_after_s=st.just((0.1, 2.0)),
    notice_every_s=st.sampled_from([0.0, 1.3]),
    key_rotates_answers=st.sampled_from([0, 3]),
    one_user_per_email=st.booleans(),
    seed=st.integers(0, 99),
)
FIELDS = {
    "SendMessage": {"message": "hi"},
    "UpdateNickname": {"nickname": "B"},
    "PushUrl": {"url": "u"},
    "CustomNotice": {"message": "n"},
    "FileUpload": {"file_name": "a.txt", "content": b"abc"},
    "FileDelete": {"file_id": "00000001FILE"},
    "StartTyping": {"message": "d"},
}
OPERATIONS = st.sampled_from(
    ["GetMessages"] * 8 + ["StopTyping", "UpdateData", "ReadReceipt", "FileLimits", "Disconnect", *FIELDS]
)
FAULTS = st.sampled_from([None] * 8 + ["status_1", "drop_connection", "status_2", "early_end", "malformed"])
STEPS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0, 3.7]), st.integers(0, 3), OPERATIONS, FAULTS),
    min_size=5, max_size=40,
)  # fmt: skip
SPEECH = ("Message", "PushUrl", "FileUploaded")


class Play:
    """Four customers of one service, one request at a time; held requests are answered when due."""

    def __init__(self, config, sweeps=True):
        self.chats = ChatService(config)
        self.sweeps, self.now, self.held, self.answers = sweeps, 0.0, {}, []
        self.clients = [Client(self.chats, 0.0, email=f"{number % 2}@x.example") for number in range(4)]
        self.cursors = [client.first["nextPosition"] for client in self.clients]

    def run(self, steps):
        for wait, number, operation, fault in steps:
            self.until(self.now + wait)
            client = self.clients[number]
            kind = None if fault is None else Fault(fault)
            fields = {"position": str(self.cursors[number]), **FIELDS.get(operation, {})}
            answer = client.answer(self.now, operation, fault=kind, **fields)
            if answer.held is not None:
                self.held[number] = answer.held
            else:
                self.take(number, answer)
            if self.sweeps:
                self.check()
        self.until(self.now + 100.0)
        return self

    def until(self, now):
        """Time passes: what is held is answered at its instant."""
        while True:
            due = [(self.chats.hold_due(hold), number) for number, hold in self.held.items()]
            at, number = min(due, default=(now + 1, 0))
            if at > now:
                break
            self.now = max(self.now, at)
            answer = self.chats.resume(self.now, self.held[number])
            if answer.held is None:
                del self.held[number]
                self.take(number, answer)
        self.now = now
        if self.sweeps:
            self.chats.sweep(now)

    def take(self, number, answer):
        payload = answer.payload
        self.answers.append((number, payload))
        if payload is None or payload["statusCode"] != 0:
            return
        self.clients[number].first.update(secureKey=payload["secureKey"])
        indices = [item["index"] for item in payload["messages"] if "index" in item]
        if indices:
            assert indices == list(range(indices[0], payload["nextPosition"]))
        self.cursors[number] = payload["nextPosition"]

    def check(self):
        self.chats.sweep(self.now)
        rows = [row for row in self.chats.ledger_rows(self.now) if row["end_reason"] is None]
        assert self.chats.live_sessions == len(rows)
        live = {row["chat_id"] for row in rows}
        assert len(self.chats.limits.users) == len({c.first["userId"] for c in self.clients if c.chat_id in live})

    def transcripts(self):
        """Every chat's whole transcript that the service still knows, from inside: asking is a contact."""
        return {chat_id: chat.events_from(1) for chat_id, chat in self.chats._chats.items()}

    def image(self):
        return orjson.dumps([self.answers, list(self.chats.ledger_rows(self.now)), self.transcripts()])


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(CONFIGS, STEPS)
def test_transcripts_and_clocks(config, steps):
    play = Play(config).run(steps)
    rows = {row["chat_id"]: row for row in play.chats.ledger_rows(play.now)}
    for row in rows.values():
        check_end(config, row)
    for chat_id, events in play.transcripts().items():
        times = [item["utcTime"] for item in events]
        assert times == sorted(times)
        assert [item["index"] for item in events] == list(range(1, len(events) + 1))
        ended_at = rows[chat_id]["ended_at"]
        if ended_at is not None:
            assert times[-1] <= (ended_at + 1_700_000_000) * 1000
        check_idle(config, rows[chat_id], events)


def check_end(config, row):
    """A session expires one timeout after its last contact was over, never before and never later."""
    over = [contact[-1] if len(contact) == 3 else contact[0] for contact in row["contacts"]]
    silence_from = max(over)
    if row["end_reason"] == "expired":
        assert row["ended_at"] == silence_from + config.flex_disconnect_timeout_s
    elif row["ended_at"] is not None:
        assert row["ended_at"] <= silence_from + config.flex_disconnect_timeout_s
    else:
        raise AssertionError("a chat is alive after a hundred seconds of silence")
    assert row["max_gap_s"] <= config.flex_disconnect_timeout_s
    assert row["late_contact_at"] is None or row["late_contact_at"] >= row["ended_at"]
    assert [a[0] for a in row["contacts"]] == sorted(a[0] for a in row["contacts"])


def check_idle(config, row, events):
    """Inactivity control closes so long after the last words, and gives its alerts before."""
    if row["end_reason"] != "idle":
        return
    words = [
        item["utcTime"]
        for item in events
        if item["type"] in SPEECH or (item["type"] == "ParticipantJoined" and item["from"]["type"] == "Agent")
    ]
    wait = config.idle_alert_s + config.idle_alert2_s + config.idle_close_s
    last = max(words, default=(row["started_at"] + 1_700_000_000) * 1000)
    assert abs((row["ended_at"] + 1_700_000_000) * 1000 - last - wait * 1000) <= 1
    kinds = [item["type"] for item in events if item["type"].startswith("Idle") and item["utcTime"] > last]
    assert kinds == ["IdleAlert"] * (2 if config.idle_alert2_s else 1) + ["IdleClose"]


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(CONFIGS, STEPS)
def test_the_same_requests_give_the_same_bytes(config, steps):
    assert Play(config).run(steps).image() == Play(config).run(steps).image()


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(CONFIGS, STEPS)
def test_sweeping_changes_nothing_but_what_is_still_known(config, steps):
    def account(sweeps):
        play = Play(config, sweeps).run(steps)
        return orjson.dumps([play.answers, list(play.chats.ledger_rows(play.now))])

    assert account(True) == account(False)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(CONFIGS, STEPS)
def test_memory_of_files_is_what_the_known_chats_hold(config, steps):
    chats = Play(config).run(steps).chats
    sizes = [
        int(item["userData"]["file-size"]) * (1 if item["type"] == "FileUploaded" else -1)
        for chat in chats._chats.values()
        for item in chat.events_from(1)
        if item["type"] in ("FileUploaded", "FileDeleted")
    ]
    assert chats._shared.files_bytes == sum(sizes)


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(st.lists(st.floats(0.01, 3.0), min_size=2, max_size=30), st.integers(0, 9))
def test_a_client_always_in_time_is_never_dropped_and_polling_never_stirs_inactivity(waits, seed):
    config = SimulatorConfig(
        flex_disconnect_timeout_s=3.0, agents=False, idle_alert_s=4.0, idle_close_s=2.0, seed=seed
    )  # fmt: skip
    client, now = Client(ChatService(config)), 0.0
    for wait in waits:
        now += wait
        assert client.ask(now)["chatEnded"] is (now >= 6.0)
    assert client.row(now)["end_reason"] == ("idle" if now >= 6.0 else None)


def test_a_sweep_looks_only_at_what_is_due():
    chats = ChatService(SimulatorConfig(flex_disconnect_timeout_s=10.0, agents=False))
    clients = [Client(chats, number / 100) for number in range(500)]
    looked = []
    for client in clients:
        chat = chats._chats[client.chat_id]
        looked.append(chat)
    before = [chat.due for chat in looked]
    assert all(earlier <= later for earlier, later in pairwise(before))
    chats.sweep(10.5)
    assert [chat.ended for chat in looked] == [number / 100 + 10.0 < 10.5 for number in range(500)]
    assert chats.live_sessions == 450
    assert [chat.due for chat in looked[51:]] == before[51:]
