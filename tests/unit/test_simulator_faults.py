"""Faults of the simulated service: what each kind answers and books, windows, and mistakes in the file."""

import pytest

from chatload.errors import FileError
from chatload.protocol.operations import OPERATION_FIELDS
from chatload.simulator.model.answers import NoAnswer
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import KINDS, Fault, FaultPlan
from chatload.simulator.model.service import ChatService

CONFIG = SimulatorConfig(flex_disconnect_timeout_s=10.0, agents=False, idle_alert_s=0.0)


class Chat:
    def __init__(self, *faults):
        self.service = ChatService(CONFIG, FaultPlan(faults))
        self.service.start_at(0.0)
        self.first = self.service.process(0.0, "RequestChat", None, {"nickname": "Ann"}, None).payload

    def ask(self, at, operation="GetMessages", **fields):
        keys = {"user_id": self.first["userId"], "secure_key": self.first["secureKey"], **fields}
        fault = self.service.draw(at, operation)
        return self.service.process(at, operation, self.first["chatId"], keys, fault)

    def row(self, now):
        return next(self.service.ledger_rows(now))


# kind -> (what is seen of the answer, instants of the contacts it is)
SEEN = {
    "status_1": ((1, False), ()),
    "status_1_violation": ((1, True), ()),
    "status_2": ((2, True), (4.0,)),
    "http_500": (500, ()),
    "http_503": (503, ()),
    "malformed": ("garbled", (4.0,)),
    "html": ("garbled", ()),
    "unknown_status": ((7, False), (4.0,)),
    "slow": ((0, False), (4.0,)),
    "stall": ((0, False), (4.0,)),
    "drop_connection": ("closed", (4.0,)),
    "early_end": ((0, True), (4.0,)),
    "outage": ("closed", ()),
    "status_2_open": ((2, False), ()),
    "failed_restoration": ((0, True), (4.0,)),
    "duplicate": ((0, False), (4.0, 4.25)),
    "lost": ("nothing", ()),
    "restart": ("refused", ()),
    "timeout_change": ((0, False), (4.0,)),
}


def seen(answer):
    if answer.silence is not None:
        assert answer.payload is None and answer.raw is None
        return {NoAnswer.LOST: "nothing", NoAnswer.REFUSED: "refused", NoAnswer.CLOSED: "closed"}[answer.silence]
    if answer.http_status != 200:
        return answer.http_status
    if answer.payload is None:
        assert answer.raw
        return "garbled"
    return answer.payload["statusCode"], answer.payload["chatEnded"]


def test_every_kind_is_tested():
    assert set(SEEN) == set(KINDS)


@pytest.mark.parametrize("kind", SEEN)
def test_what_each_kind_answers_and_whether_it_is_a_contact(kind):
    chat = Chat(Fault(kind, delay_s=0.25, from_s=1.0, timeout_s=10.0))
    expected, contacts = SEEN[kind]
    answer = chat.ask(4.0)
    assert seen(answer) == expected
    assert answer.delay_s == (0.25 if kind in ("slow", "drop_connection") else 0.0)
    assert chat.row(5.0)["contacts"][1:] == [[at, "GetMessages"] for at in contacts]


@pytest.mark.parametrize("kind", ["status_1", "status_1_violation", "http_500", "http_503", "malformed", "html",
                                  "unknown_status", "drop_connection", "status_2_open",
                                  "lost"])  # fmt: skip
@pytest.mark.parametrize("reaches", [False, True])
def test_reaches_decides_whether_it_is_a_contact_and_the_answer_is_the_same(kind, reaches):
    chat = Chat(Fault(kind, reaches=reaches))
    assert seen(chat.ask(4.0)) == SEEN[kind][0]
    assert (len(chat.row(5.0)["contacts"]) == 2) is reaches
    assert chat.row(12.0)["end_reason"] == (None if reaches else "expired")


@pytest.mark.parametrize("kind, reason", [("status_2", "unrecoverable"), ("early_end", "early")])
def test_kinds_that_end_a_chat_do_so_at_that_contact(kind, reason):
    row = (chat := Chat(Fault(kind)), chat.ask(4.0), chat.row(5.0))[2]
    assert (row["end_reason"], row["ended_at"], row["late_contact_at"]) == (reason, 4.0, None)


@pytest.mark.parametrize("kind", ["status_2", "early_end"])
def test_a_chat_already_expired_is_expired_first(kind):
    chat = Chat(Fault(kind))
    assert seen(chat.ask(10.5)) == (0, True)
    row = chat.row(11.0)
    assert (row["end_reason"], row["ended_at"], row["late_contact_at"]) == ("expired", 10.0, 10.5)


def test_early_end_says_the_customer_left():
    answer = Chat(Fault("early_end")).ask(4.0, position="2")
    assert [(event["type"], event["from"]["type"]) for event in answer.payload["messages"]] == [
        ("ParticipantLeft", "Client")
    ]


@pytest.mark.parametrize("kind", ["outage", "http_500", "status_1", "drop_connection"])
def test_a_late_request_is_booked_even_if_it_goes_unanswered(kind):
    chat = Chat(Fault(kind, reaches=False))
    chat.ask(12.0)
    assert chat.row(13.0)["late_contact_at"] == 12.0


def test_requestchat_meets_status_2_as_a_refusal_and_early_end_not_at_all():
    service = ChatService(CONFIG)
    refused = service.process(0.0, "RequestChat", None, {"nickname": "A"}, Fault("status_2"))
    assert seen(refused)[0] == 2 and not list(service.ledger_rows(0.0))
    assert seen(service.process(0.0, "RequestChat", None, {"nickname": "A"}, Fault("early_end"))) == (
        0,
        False,
    )


def changed(timeout_s, until_s=None, open_chats=True):
    return Chat(Fault("timeout_change", from_s=6.0, until_s=until_s, timeout_s=timeout_s, open_chats=open_chats))


@pytest.mark.parametrize(
    "fault, last, end",
    [
        ((4.0,), 3.0, 7.0),  # the silence counts from the last contact, not from the change
        ((4.0,), 0.0, 6.0),  # a chat that has been silent for longer is dropped at the change, not before it
        ((15.0,), 1.0, 16.0),
        ((0.0,), 1.0, None),
        ((4.0, 6.5), 3.0, 13.0),  # the timeout is the configured one again before the new one is over
        ((15.0, 12.0), 1.0, 12.0),
        ((4.0, None, False), 3.0, 13.0),
    ],
)
def test_a_changed_timeout_drops_an_open_chat_when_the_ledger_says(fault, last, end):
    chat = changed(*fault)
    if last:
        chat.ask(last)
    row = chat.row(40.0)
    assert (row["ended_at"], row["end_reason"]) == (end, None if end is None else "expired")
    back = len(fault) == 3 or end in (13.0, 12.0)
    assert row["timeout_s"] == (None if end is None else 10.0 if back else fault[0])


def test_a_timeout_that_is_changed_for_new_chats_only_is_theirs_for_all_their_life():
    chat = changed(4.0, 8.0, open_chats=False)
    for at in (7.0, 9.0):
        chat.service.process(at, "RequestChat", None, {"nickname": "Bea"})
    assert [row["ended_at"] for row in chat.service.ledger_rows(30.0)] == [10.0, 11.0, 19.0]


# -- the plan ----------------------------------------------------------------------------------


def test_the_first_open_fault_whose_chance_comes_up_strikes():
    never, window, rest = Fault("html", chance=0.0), Fault("outage", from_s=2.0, until_s=4.0), Fault("slow")
    plan = FaultPlan([never, window, rest])
    assert [plan.draw(at, "GetMessages") for at in (1.999, 2.0, 3.999, 4.0)] == [rest, window, window, rest]


def test_windows_count_from_the_first_draw_unless_told():
    service = ChatService(CONFIG, FaultPlan([Fault("outage", from_s=2.0)]))
    assert service.draw(1000.0, "GetMessages") is None
    assert service.draw(1002.0, "GetMessages") is not None


def test_windows_count_from_the_first_process_too():
    service = ChatService(CONFIG, FaultPlan([Fault("outage", from_s=2.0)]))
    service.process(1000.0, "RequestChat", None, {"nickname": "A"}, None)
    assert service.draw(1002.0, "GetMessages") is not None


def test_operations_narrow_a_fault():
    plan = FaultPlan([Fault("outage", operations=frozenset({"SendMessage"}))])
    assert plan.draw(0.0, "GetMessages") is None and plan.draw(0.0, "SendMessage")


def test_every_operation_can_be_named_in_a_fault(tmp_path):
    file = tmp_path / "faults.toml"
    file.write_text(f'[[fault]]\nkind = "http_500"\noperations = {list(OPERATION_FIELDS)}\n')
    plan = FaultPlan.load(file)
    assert all(plan.draw(0.0, operation) for operation in OPERATION_FIELDS)


def test_a_fault_hides_a_download_too():
    chat = Chat(Fault("malformed", operations=frozenset({"FileDownload"})))
    keys = {"user_id": chat.first["userId"], "secure_key": chat.first["secureKey"], "file_name": "a.txt"}
    up = chat.service.process(1.0, "FileUpload", chat.first["chatId"], keys, None, b"secret").payload
    answer = chat.ask(2.0, "FileDownload", file_id=up["userData"]["file-id"])
    assert seen(answer) == "garbled" and b"secret" not in answer.raw and not answer.file_name


def test_chance_is_drawn_from_the_seed():
    def strikes(seed):
        plan = FaultPlan([Fault("status_1", chance=0.3)], seed)
        return [plan.draw(0.0, "GetMessages") is not None for _ in range(2000)]

    assert strikes(1) == strikes(1) != strikes(2)
    assert 500 < sum(strikes(1)) < 700


def test_a_whole_file_is_read(tmp_path):
    file = tmp_path / "faults.toml"
    file.write_text(
        'seed = 7\n[[fault]]\nkind = "slow"\nchance = 1\ndelay_s = 3\noperations = ["GetMessages"]\n'
        '[[fault]]\nkind = "drop_connection"\nreaches = false\nfrom_s = 1.5\nuntil_s = 2\n'
    )
    assert FaultPlan.load(file).faults == (
        Fault("slow", 1, frozenset({"GetMessages"}), delay_s=3),
        Fault("drop_connection", from_s=1.5, until_s=2, reaches=False),
    )


MISTAKES = [
    ("kind = ", "", "not valid TOML"),
    ("sead = 1", "sead", "unknown key"),
    ('seed = "1"', "seed", "whole number"),
    ("seed = true", "seed", "whole number"),
    ("fault = 3", "fault", "[[fault]]"),
    ("fault = [3]", "fault[1]", "table"),
    ("[[fault]]", "fault[1].kind", "expected one of"),
    ('[[fault]]\nkind = "gremlin"', "fault[1].kind", "expected one of"),
    ("[[fault]]\nkind = []", "fault[1].kind", "expected one of"),
    ('[[fault]]\nkind = "slow"\n[[fault]]\nkind = "slow"\ndelay = 1', "fault[2].delay", "unknown key"),
    ('[[fault]]\nkind = "slow"\nchance = 1.5', "fault[1].chance", "0 to 1"),
    ('[[fault]]\nkind = "slow"\nchance = -0.1', "fault[1].chance", "0 to 1"),
    ('[[fault]]\nkind = "slow"\nchance = true', "fault[1].chance", "0 to 1"),
    ('[[fault]]\nkind = "slow"\nchance = nan', "fault[1].chance", "0 to 1"),
    ('[[fault]]\nkind = "slow"\ndelay_s = "soon"', "fault[1].delay_s", "a duration such as 45s"),
    ('[[fault]]\nkind = "slow"\ndelay_s = inf', "fault[1].delay_s", "a duration"),
    ('[[fault]]\nkind = "slow"\ngrowth_per_hour = "fast"', "fault[1].growth_per_hour", "part an hour"),
    ('[[fault]]\nkind = "slow"\nfrom_s = -1', "fault[1].from_s", "a duration"),
    ('[[fault]]\nkind = "slow"\noperations = "GetMessages"', "fault[1].operations", "a list"),
    ('[[fault]]\nkind = "slow"\noperations = ["Refresh"]', "fault[1].operations", "a list"),
    ('[[fault]]\nkind = "slow"\noperations = [["GetMessages"]]', "fault[1].operations", "a list"),
    ('[[fault]]\nkind = "slow"\nreaches = 1', "fault[1].reaches", "true or false"),
    ('[[fault]]\nkind = "slow"\nreaches = false', "fault[1].reaches", "slow"),
    ('[[fault]]\nkind = "early_end"\nreaches = false', "fault[1].reaches", "early_end"),
    ('[[fault]]\nkind = "outage"\nreaches = true', "fault[1].reaches", "outage"),
    ('[[fault]]\nkind = "restart"\nreaches = true', "fault[1].reaches", "restart"),
    ('[[fault]]\nkind = "restart"\nchance = 0.5', "fault[1].kind", "no chance"),
    ('[[fault]]\nkind = "restart"\noperations = ["GetMessages"]', "fault[1].kind", "no operations"),
    ('[[fault]]\nkind = "duplicate"\nreaches = false', "fault[1].reaches", "duplicate"),
    ('[[fault]]\nkind = "timeout_change"', "fault[1].timeout_s", "the new timeout"),
    ('[[fault]]\nkind = "timeout_change"\ntimeout_s = 0.5', "fault[1].timeout_s", "1..1728000 s"),
    ('[[fault]]\nkind = "timeout_change"\ntimeout_s = 5\nchance = 0.5', "fault[1].kind", "no chance"),
    ('[[fault]]\nkind = "timeout_change"\ntimeout_s = 5\nopen_chats = 1', "fault[1].open_chats", "true or false"),
    ('[[fault]]\nkind = "slow"\ntimeout_s = 5', "fault[1].timeout_s", "timeout_change"),
    ('[[fault]]\nkind = "slow"\nopen_chats = false', "fault[1].open_chats", "timeout_change"),
]


@pytest.mark.parametrize("text, key, expected", MISTAKES)
def test_mistakes_name_file_key_and_what_was_expected(tmp_path, text, key, expected):
    file = tmp_path / "faults.toml"
    file.write_text(text)
    with pytest.raises(FileError) as caught:
        FaultPlan.load(file)
    line = str(caught.value)
    assert line.startswith(f"{file}: {key}: " if key else f"{file}: ") and expected in line
    assert "\n" not in line


def test_a_missing_or_unreadable_file(tmp_path):
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    for file in (tmp_path / "none.toml", tmp_path, binary):
        with pytest.raises(FileError) as caught:
            FaultPlan.load(file)
        assert str(caught.value).startswith(f"{file}: ") and "\n" not in str(caught.value)


def test_a_leak_grows_by_its_part_every_hour():
    leak = Fault("slow", delay_s=0.1, from_s=100.0, growth_per_hour=0.01)
    plan = FaultPlan([leak])
    assert plan.draw(100.0, "GetMessages").delay_s == pytest.approx(0.1)
    assert plan.draw(100.0 + 7200, "GetMessages").delay_s == pytest.approx(0.1 * 1.01**2)
    assert plan.draw(100.0 + 1e12, "GetMessages").delay_s < float("inf")
