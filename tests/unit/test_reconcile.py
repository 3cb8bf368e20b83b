"""A run against a ledger: every kind of contradiction, and ledgers in other words."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from chatload.chat.record import SessionRecord
from chatload.errors import UsageError
from chatload.features.reconcile.compute import ENDINGS, reconcile
from chatload.features.reconcile.ledger import Columns, LedgerRow, read
from chatload.vocabulary import Verdict

ROWS = {
    "disconnected": LedgerRow("c", "disconnected"),
    "agent": LedgerRow("c", "agent"),
    "idle": LedgerRow("c", "idle"),
    "dropped_late": LedgerRow("c", "expired", late_contact_at=50.0),
    "abandoned": LedgerRow("c", "expired"),
    "unrecoverable": LedgerRow("c", "unrecoverable"),
    "early": LedgerRow("c", "early"),
    "restarted": LedgerRow("c", "restarted"),
    "alive": LedgerRow("c", None),
    "unknown": None,
}
NO_DROP = {"agent", "idle", "early", "restarted", "unrecoverable"}
ALL = set(ROWS) - {"unknown"}
#: The endings each verdict (and whether its goodbye was confirmed) can stand beside.
COMPATIBLE = {
    ("completed", True): {"disconnected"},
    # The end may have come between the last answer and the Disconnect.
    ("completed", False): {"disconnected"} | NO_DROP,
    ("ended_by_agent", False): {"agent"},
    ("closed_idle", False): {"idle"},
    ("dropped_late", False): {"dropped_late"},
    # A server that restarts ends its chats before their deadline.
    ("dropped_early", False): {"early", "restarted"},
    # A statusCode 2 is the end for the client, whatever the server goes on to do with the chat.
    ("failed", False): ALL - {"dropped_late"},
    ("dropped_unproven", False): ALL,
    ("refused", False): ALL - {"dropped_late"},
    ("gave_up", False): ALL - {"dropped_late"},
    # Stopped before its goodbye: what the server did afterwards is no claim of the run's.
    ("cut_off", False): ALL,
    ("gave_up", True): ALL - {"dropped_late", "alive", "abandoned"},
    ("cut_off", True): ALL - {"dropped_late", "alive", "abandoned"},
}


def test_the_table_below_is_whole() -> None:
    assert {verdict for verdict, _ in COMPATIBLE} == {v.value for v in Verdict}
    assert {*ROWS, "no_chat_id"} == set(ENDINGS)


@pytest.mark.parametrize("ending", ROWS)
@pytest.mark.parametrize(("verdict", "confirmed"), COMPATIBLE)
def test_each_verdict_beside_each_ending(verdict: str, confirmed: bool, ending: str) -> None:
    row = ROWS[ending]
    record = SessionRecord("c", verdict, goodbye_confirmed=confirmed)
    result = reconcile([record], [row] if row else [])
    assert result.confusion == {(verdict, ending): 1}
    assert result.agrees is (ending in COMPATIBLE[verdict, confirmed])
    if not result.agrees:
        (item,) = result.contradictions
        assert (item.chat_id, item.verdict, item.ledger) == ("c", verdict, ending)
        assert verdict in item.sentence and "\n" not in item.sentence


@pytest.mark.parametrize("ending", ["agent", "idle", "early", "unrecoverable"])
@pytest.mark.parametrize(("ended_at", "agrees"), [(9.9, False), (10.0, True), (None, False)])
def test_a_confirmed_goodbye_is_contradicted_by_an_end_before_it(ending: str, ended_at: float, agrees: bool) -> None:
    record = SessionRecord("c", "completed", goodbye_confirmed=True, goodbye_at=10.0)
    assert reconcile([record], [LedgerRow("c", ending, ended_at=ended_at)]).agrees is agrees


def test_an_expired_session_of_a_ledger_that_knows_no_late_contacts_counts_as_late() -> None:
    row = LedgerRow("c", "expired", late_contact_known=False)
    assert reconcile([SessionRecord("c", "dropped_late")], [row]).agrees
    assert not reconcile([SessionRecord("c", "completed")], [row]).agrees


def test_unless_the_run_gave_it_up_without_a_goodbye() -> None:
    row = LedgerRow("c", "expired", late_contact_known=False)
    given_up = reconcile([SessionRecord("c", "gave_up")], [row])
    assert given_up.agrees and given_up.confusion == {("gave_up", "abandoned"): 1}
    assert not reconcile([SessionRecord("c", "gave_up", goodbye_confirmed=True)], [row]).agrees


@pytest.mark.parametrize("verdict", ["refused", "failed", "completed", "ended_by_agent"])
def test_no_other_verdict_is_spared_by_a_ledger_that_knows_no_late_contacts(verdict: str) -> None:
    row = LedgerRow("c", "expired", late_contact_known=False)
    result = reconcile([SessionRecord("c", verdict)], [row])
    assert not result.agrees and result.confusion == {(verdict, "dropped_late"): 1}


def test_the_confusion_table_counts() -> None:
    records = [SessionRecord(f"a{i}", "completed") for i in range(3)]
    records += [
        SessionRecord("l1", "dropped_late"),
        SessionRecord("l2", "dropped_unproven"),
        SessionRecord("", "refused"),
    ]
    rows = [LedgerRow(f"a{i}", "disconnected") for i in range(3)]
    rows += [LedgerRow(f"l{i}", "expired", late_contact_at=1.0) for i in (1, 2)]
    result = reconcile(records, rows)
    assert result.agrees
    assert result.to_dict()["confusion"] == {
        "completed": {"disconnected": 3},
        "dropped_late": {"dropped_late": 1},
        "dropped_unproven": {"dropped_late": 1},
        "refused": {"no_chat_id": 1},
    }
    assert (result.silenced, result.unproven, result.to_dict()["unproven_share"]) == (2, 1, 0.5)
    json.dumps(result.to_dict())


def test_what_was_compared_is_counted_on_both_sides() -> None:
    records = [SessionRecord(chat_id, "completed") for chat_id in ("a", "b", "c")]
    lost = [SessionRecord("", "gave_up"), SessionRecord("", "refused")]
    rows = [LedgerRow(chat_id, "disconnected") for chat_id in ("a", "b", "c", "x", "y", "z", "z")]
    told = reconcile([*records, *lost], rows).to_dict()
    names = ("agrees", "sessions", "ledger_sessions", "without_chat_id", "orphans", "unproven_share")
    assert [told[name] for name in names] == [True, 5, 7, 2, 3, None]
    assert any("chat z is in the ledger more than once" in note for note in told["notes"])


def test_one_chat_twice_in_a_run_contradicts_though_both_are_plausible() -> None:
    result = reconcile([SessionRecord("c", "completed")] * 2, [ROWS["disconnected"]])  # type: ignore[list-item]
    (item,) = result.contradictions
    assert "more than once" in item.sentence


def test_orphans_up_to_the_lost_answers_are_silent_more_are_a_note() -> None:
    rows = [LedgerRow("c", "disconnected"), LedgerRow("x", "expired")]
    lost = SessionRecord("", "gave_up")
    explained = reconcile([SessionRecord("c", "completed"), lost], rows)
    assert (explained.orphans, explained.notes, explained.agrees) == (1, [], True)
    foreign = reconcile([SessionRecord("c", "completed"), lost], [*rows, LedgerRow("y", "agent")])
    assert (foreign.orphans, len(foreign.notes), foreign.agrees) == (2, 1, True)


def test_nothing_to_compare_is_said() -> None:
    assert "nothing to compare" in reconcile([], []).notes[0]


def test_ndjson_as_the_simulator_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    rows = [
        {"chat_id": "a", "started_at": 1.0, "ended_at": 9.0, "end_reason": "expired", "late_contact_at": 10.5,
         "max_gap_s": 8.0, "contacts": [[1.0, "RequestChat"]]},
        {"chat_id": "b", "started_at": 2.0, "ended_at": None, "end_reason": None, "late_contact_at": None,
         "max_gap_s": 0.0},
    ]  # fmt: skip
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    assert list(read(str(path))) == [
        LedgerRow("a", "expired", 1.0, 9.0, 10.5, 8.0),
        LedgerRow("b", None, 2.0, None, None, 0.0),
    ]


def test_csv_with_other_column_names(tmp_path: Path) -> None:
    path = tmp_path / "export.CSV"
    path.write_text(
        "\ufeffID,Reason,Begun\r\n7f,timeout,2026-01-01T00:00:00Z\r\n8a,agent,2026-01-01 01:00:00+01:00\r\n9b,,\r\n"
    )
    columns = Columns({"chat_id": "ID", "end_reason": "Reason", "started_at": "Begun"}, {"timeout": "expired"})
    late, agent, alive = read(str(path), columns)
    assert (late.chat_id, late.end_reason, late.late_contact_known) == ("7f", "expired", False)
    assert late.started_at == agent.started_at == 1767225600.0
    assert (alive.chat_id, alive.end_reason, alive.started_at) == ("9b", None, None)
    assert reconcile([SessionRecord("7f", "dropped_late")], [late]).agrees


def test_an_empty_cell_of_a_late_contact_column_is_none(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("chat_id,end_reason,late_contact_at\na,expired,\nb,expired,12.5\n")
    away, late = read(str(path))
    assert (away.late_contact_at, away.late_contact_known, late.late_contact_at) == (None, True, 12.5)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("l.ndjson", '{"chat_id": "a"}\n', "line 1: end_reason: missing"),
        ("l.ndjson", '{"chat_id": "a", "end_reason": null}\nnope\n', "line 2: expected a JSON object"),
        ("l.ndjson", '{"chat_id": null, "end_reason": null}', "line 1: chat_id: expected"),
        ("l.ndjson", '{"chat_id": "a", "end_reason": "bored"}', "'bored' is none of disconnected"),
        (
            "l.ndjson",
            '{"chat_id": "a", "end_reason": "agent", "ended_at": "soon"}',
            "ended_at: expected seconds",
        ),
        (
            "l.ndjson",
            '{"chat_id": "a", "end_reason": "agent", "ended_at": NaN}',
            "ended_at: expected seconds",
        ),
        ("l.csv", "id,end_reason\na,agent\n", "no column 'chat_id'; it has id, end_reason"),
        ("l.csv", "", "no header line"),
        ("l.csv", "chat_id,end_reason\na,agent\n,agent\n", "line 3: chat_id"),
        ("l.csv", "chat_id,end_reason\na\n", "line 2: expected 2 cells, as in the header"),
    ],
)
def test_a_ledger_that_says_something_unexpected(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError) as caught:
        list(read(str(tmp_path / name)))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_unreadable_ledgers(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for source in (
        str(tmp_path / "no"),
        str(tmp_path / "binary"),
        str(tmp_path),
        "http://127.0.0.1:1",
        "http://[x",
    ):
        with pytest.raises(UsageError) as caught:
            list(read(source))
        assert "\n" not in str(caught.value)


def test_wrong_mappings() -> None:
    with pytest.raises(UsageError, match="no column 'colour'"):
        Columns({"colour": "x"})
    with pytest.raises(UsageError, match="no end reason 'bored'"):
        Columns({}, {"x": "bored"})


class _Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.path in ("/simulator/ledger", "/own/ledger?x=1")
        known |= self.path == "/guarded" and self.headers["Authorization"] == "Basic dXNlcjp3QHJk"
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"chat_id": self.path, "end_reason": "agent"}).encode() + b"\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    httpd = HTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_a_url(server: str) -> None:
    for url, path in [
        ("", "/simulator/ledger"),
        ("/", "/simulator/ledger"),
        ("/own/ledger?x=1", "/own/ledger?x=1"),
    ]:
        assert [row.chat_id for row in read(server + url)] == [path]
    with pytest.raises(UsageError, match="cannot be read"):
        list(read(server + "/other"))


def test_the_login_in_a_url_is_used_and_never_shown(server: str) -> None:
    with_login = server.replace("://", "://user:w%40rd@")
    assert [row.chat_id for row in read(f"{with_login}/guarded")] == ["/guarded"]
    for url in (f"{with_login}/other", "http://user:w%40rd@127.0.0.1:1/x", "http://user:w%40rd@127.0.0.1:bad/x"):
        with pytest.raises(UsageError, match="cannot be read") as caught:
            list(read(url))
        assert "w%40rd" not in str(caught.value) and "w@rd" not in str(caught.value)


@pytest.mark.parametrize("verdict", ["dropped_early", "failed", "completed", "dropped_late", "dropped_unproven"])
def test_a_session_that_a_shorter_timeout_ended_was_ended_early(verdict):
    def agrees(timeout_s, told_s):
        row = LedgerRow("c", "expired", ended_at=5.0, late_contact_at=9.0, timeout_s=timeout_s)
        return reconcile([SessionRecord("c", verdict, ended_at=10.0)], [row], told_s).agrees

    late = verdict in ("dropped_late", "dropped_unproven")
    assert agrees(2.0, 5.0)
    assert agrees(5.0, 5.0) is agrees(None, 5.0) is agrees(2.0, None) is late
