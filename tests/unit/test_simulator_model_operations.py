"""What each operation leaves in the transcript, what it answers, and what is refused."""

import pytest

from chatload.protocol.operations import OPERATION_FIELDS
from tests.unit.simulated import TIMEOUT, Client, kinds, service, status

# operation, fields -> (kind, text) of the event it leaves, or None
LEAVES = [
    ("GetMessages", {}, None),
    ("GetMessages", {"message": "hi"}, ("Message", "hi")),
    ("SendMessage", {"message": "grüße"}, ("Message", "grüße")),
    ("StartTyping", {"message": "hel"}, ("TypingStarted", "hel")),
    ("StartTyping", {}, ("TypingStarted", None)),
    ("StopTyping", {"message": "hello"}, ("TypingStopped", "hello")),
    ("Disconnect", {}, ("ParticipantLeft", None)),
    ("UpdateNickname", {"nickname": "Bea"}, ("NicknameUpdated", None)),
    ("UpdateNickname", {"first_name": "Bea", "last_name": "Lee"}, ("NicknameUpdated", None)),
    ("UpdateData", {"user_data.order": "7"}, None),
    ("PushUrl", {"url": "https://x.example/"}, ("PushUrl", "https://x.example/")),
    ("CustomNotice", {"message": "scrolled"}, ("CustomNotice", "scrolled")),
    ("ReadReceipt", {"position": "1"}, None),
    ("FileLimits", {}, None),
    ("FileUpload", {"file_name": "a.txt", "content": b"abc"}, ("FileUploaded", "a.txt")),
]


def test_every_operation_is_tested():
    tested = {"RequestChat", "FileDownload", "FileDelete", *(operation for operation, *_ in LEAVES)}
    assert tested == set(OPERATION_FIELDS)


@pytest.mark.parametrize("operation, fields, event", LEAVES)
def test_what_an_operation_leaves(operation, fields, event):
    client = Client(service())
    answer = client.ask(1.0, operation, **fields)
    assert status(answer) == (0, operation == "Disconnect")
    assert answer["nextPosition"] == (2 if event is None else 3)
    left = client.transcript(2.0)[1:]
    assert [(item["type"], item.get("text"), item["from"]["type"]) for item in left] == ([] if event is None else [
        (*event, "Client"),
    ])  # fmt: skip
    assert client.row(3.0)["contacts"][1] == [1.0, operation]


REFUSED = [
    ("SendMessage", {}, "message is required"),
    ("SendMessage", {"message": "x" * 101}, "message too long; at most 100 bytes"),
    ("SendMessage", {"message": "ü" * 51}, "message too long"),
    ("GetMessages", {"message": "x" * 101}, "message too long"),
    ("StartTyping", {"message": "x" * 101}, "message too long"),
    ("UpdateNickname", {}, "nickname is required"),
    ("UpdateNickname", {"first_name": "Bea"}, "nickname is required"),
    ("UpdateNickname", {"nickname": "x" * 101}, "nickname too long"),
    ("UpdateData", {"user_data.a": "x" * 100}, "too much user data"),
    ("PushUrl", {}, "url is required"),
    ("CustomNotice", {}, "message is required"),
    ("ReadReceipt", {}, "position is required"),
    ("ReadReceipt", {"position": "3"}, "position is required"),
    ("FileUpload", {}, "file is required"),
    ("FileUpload", {"file_name": "a.txt"}, "file is required"),
    ("FileUpload", {"content": b"abc"}, "file is required"),
    ("FileDownload", {"file_id": "nothing"}, "no such file"),
    ("FileDelete", {}, "no such file"),
    ("Dance", {}, "Unknown operation"),
]


@pytest.mark.parametrize("operation, fields, advice", REFUSED)
def test_what_is_refused_does_not_end_the_chat_and_leaves_nothing(operation, fields, advice):
    client = Client(service(message_max_bytes=100))
    refused = client.ask(1.0, operation, **fields)
    assert status(refused) == (1, False) and advice in refused["errors"][0]["advice"]
    assert client.transcript(2.0) == client.first["messages"]


# -- RequestChat ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields, nickname",
    [
        ({"nickname": "Ann"}, "Ann"),
        ({"nickname": "", "first_name": "Ann", "last_name": "Lee"}, "Ann Lee"),
        ({"nickname": "Nan", "first_name": "Ann", "last_name": "Lee"}, "Nan"),
        ({"nickname": "", "first_name": "Ann"}, None),
        ({"nickname": "", "last_name": "Lee"}, None),
        ({"nickname": " "}, None),
    ],
)
def test_who_is_let_in_and_under_what_name(fields, nickname):
    first = Client(service(), **fields).first
    assert first["statusCode"] == (2 if nickname is None else 0)
    assert [item["from"]["nickname"] for item in first["messages"]] == ([] if nickname is None else [nickname])


def test_text_is_the_first_message_and_is_answered_by_the_agent_who_comes():
    client = Client(service(agents=True, agent_wait_s=(1.0, 1.0), agent_answer_s=(2.0, 2.0)), text="help")
    assert kinds(client.first) == [("ParticipantJoined", "Client"), ("Message", "Client")]
    assert client.first["nextPosition"] == 3
    said = [(item["utcTime"] % 100_000, item["from"]["type"]) for item in client.transcript(4.0)[2:]]
    assert said == [(1000, "Agent"), (3000, "Agent")]


def test_a_request_too_large_is_refused_and_is_no_session():
    chats = service(message_max_bytes=10)
    for fields in ({"text": "x" * 11}, {"nickname": "x" * 11}, {"user_data.a": "x" * 10}):
        assert Client(chats, **fields).first["statusCode"] == 2
    assert chats.live_sessions == 0 and not list(chats.ledger_rows(1.0))


def test_user_data_is_kept_and_the_newest_value_counts():
    client = Client(service(), **{"user_data.a": "1", "user_data.b": "2"})
    assert client.ask(1.0, "UpdateData", **{"user_data.b": "3"})["userData"] == {"a": "1", "b": "3"}


# -- what rides on GetMessages -------------------------------------------------------------------


@pytest.mark.parametrize(
    "mode, typing, said",
    [("auto", False, True), ("auto", True, False), ("send", True, True), ("draft", False, False)],
)
def test_message_on_getmessages_is_said_or_a_draft(mode, typing, said):
    client = Client(service(refresh_message=mode, typing_events=False))
    if typing:
        client.ask(1.0, "StartTyping", message="h")
    answer = client.ask(2.0, message="hello", position="2")
    assert [item["text"] for item in answer["messages"]] == (["hello"] if said else [])


@pytest.mark.parametrize("ends_typing", ["StopTyping", "SendMessage"])
def test_after_typing_a_message_on_getmessages_is_said_again(ends_typing):
    client = Client(service())
    client.ask(1.0, "StartTyping", message="h")
    client.ask(2.0, ends_typing, message="hello")
    client.ask(3.0, message="more")
    assert client.transcript(4.0)[-1]["text"] == "more"


def test_a_new_nickname_is_on_later_events_and_not_on_earlier_ones():
    client = Client(service())
    client.ask(1.0, "UpdateNickname", nickname="Bea")
    client.ask(2.0, "SendMessage", message="hi", message_type="text")
    events = client.transcript(3.0)
    assert [item["from"]["nickname"] for item in events] == ["Ann", "Bea", "Bea"]
    assert {item["from"]["participantId"] for item in events} == {1}
    assert events[-1]["messageType"] == "text"


# -- files ---------------------------------------------------------------------------------------


def upload(client, at=1.0, name="a.txt", content=b"abc", **fields):
    return client.ask(at, "FileUpload", file_name=name, content=content, **fields)


def test_a_file_goes_up_and_down_and_away():
    client = Client(service())
    up = upload(client, file_type="text/plain")
    file_id = up["userData"]["file-id"]
    assert client.transcript(2.0)[-1]["userData"] == {
        "file-id": file_id, "file-name": "a.txt", "file-size": "3", "file-type": "text/plain",
    }  # fmt: skip
    down = client.answer(3.0, "FileDownload", file_id=file_id)
    assert (down.raw, down.content_type, down.file_name, down.payload) == (b"abc", "text/plain", "a.txt", None)
    assert status(client.ask(4.0, "FileDelete", file_id=file_id)) == (0, False)
    assert client.transcript(5.0)[-1]["type"] == "FileDeleted"
    assert status(client.ask(6.0, "FileDownload", file_id=file_id)) == (1, False)


def test_limits_tell_what_is_allowed_and_what_is_used_up():
    client = Client(service(file_max_count=3, file_max_bytes=9, file_types="txt:png"))
    file_id = upload(client)["userData"]["file-id"]
    client.answer(2.0, "FileDownload", file_id=file_id)
    (notice,) = client.ask(3.0, "FileLimits")["messages"]
    assert (notice["type"], notice["text"]) == ("Notice", "file-client-cfg-get") and "index" not in notice
    wanted = {
        "upload-max-files": "3", "used-upload-max-files": "1", "upload-max-file-size": "9",
        "used-upload-max-total-size": "3", "used-download-attempts": "1", "upload-file-types": "txt:png",
    }  # fmt: skip
    assert wanted.items() <= notice["userData"].items()


@pytest.mark.parametrize(
    "settings, name, size, taken",
    [
        ({"file_max_bytes": 5}, "a.txt", 5, True),
        ({"file_max_bytes": 5}, "a.txt", 6, False),
        ({"file_max_total_bytes": 8}, "a.txt", 5, True),
        ({"file_max_total_bytes": 7}, "a.txt", 5, False),
        ({"file_max_count": 2}, "a.txt", 5, True),
        ({"file_max_count": 1}, "a.txt", 5, False),
        ({"files_memory_bytes": 11}, "a.txt", 5, True),
        ({"files_memory_bytes": 10}, "a.txt", 5, False),
        ({"file_types": "png:txt"}, "A.TXT", 5, True),
        ({"file_types": "png"}, "a.txt.exe", 5, False),
        ({"file_types": "png"}, "png", 5, False),
        ({"file_types": "*"}, "anything", 5, True),
        ({"file_needs_agent": True}, "a.txt", 5, False),
        ({"file_needs_agent": True, "agents": True, "agent_wait_s": (1.5, 1.5)}, "a.txt", 5, True),
    ],
)
def test_limits_of_files(settings, name, size, taken):
    """The chat has a file of 3 bytes already, and so has another one."""
    chats = service(**settings)
    other, client = Client(chats), Client(chats)
    if not settings.get("file_needs_agent"):
        for earlier in (other, client):
            assert upload(earlier, name="b.png")["statusCode"] == 0
    assert status(upload(client, 2.0, name, b"x" * size)) == ((0, False) if taken else (1, False))


def test_downloads_and_deletes_can_be_limited():
    client = Client(service(file_downloads=1, file_deletes=False))
    file_id = upload(client)["userData"]["file-id"]
    codes = [client.answer(2.0, "FileDownload", file_id=file_id).payload for _ in range(2)]
    assert codes[0] is None and codes[1]["statusCode"] == 1
    assert client.ask(3.0, "FileDelete", file_id=file_id)["statusCode"] == 1


def test_memory_for_files_is_free_again_once_chats_are_forgotten_or_files_deleted():
    chats = service(files_memory_bytes=4, keeps_ended_s=1.0)
    first = Client(chats)
    client = Client(chats)
    file_id = upload(first)["userData"]["file-id"]
    assert upload(client)["statusCode"] == 1
    first.ask(2.0, "FileDelete", file_id=file_id)
    assert upload(client, 3.0)["statusCode"] == 0
    assert upload(first, 4.0)["statusCode"] == 1
    client.ask(5.0, "Disconnect")
    chats.sweep(6.0)
    assert upload(first, 6.0)["statusCode"] == 1
    chats.sweep(6.5)
    assert upload(first, 7.0)["statusCode"] == 0


# -- keys ----------------------------------------------------------------------------------------


def with_keys(client, at, key, operation="GetMessages"):
    return client.ask(at, operation, secure_key=key)


def test_a_new_key_every_n_answers_and_the_old_one_good_for_its_grace():
    client = Client(service(key_rotates_answers=2, old_key_grace_s=3.0))
    keys = [
        client.first["secureKey"],
        *(with_keys(client, at, client.first["secureKey"])["secureKey"] for at in (1, 2, 3)),
    ]
    assert keys[0] == keys[1] != keys[2] == keys[3]
    assert with_keys(client, 5.0, keys[0])["statusCode"] == 0
    assert status(with_keys(client, 5.001, keys[0])) == (2, True)
    row = client.row(6.0)
    assert (row["end_reason"], row["detail"], row["ended_at"]) == ("unrecoverable", "stale secureKey", 5.001)


def test_a_new_key_every_so_many_seconds():
    client = Client(service(key_rotates_s=5.0, old_key_grace_s=0.0))
    key = client.first["secureKey"]
    assert with_keys(client, 4.9, key)["secureKey"] == key
    newer = with_keys(client, 5.0, key)["secureKey"]
    assert newer != key and with_keys(client, 6.0, newer)["statusCode"] == 0


def test_whoever_shows_a_key_that_never_was_good_ends_nothing():
    client = Client(service(key_rotates_answers=1, old_key_grace_s=0.0))
    assert with_keys(client, 1.0, "0" * 16)["statusCode"] == 2
    assert client.row(2.0)["end_reason"] is None


def test_a_stale_key_after_the_timeout_is_a_late_contact():
    client = Client(service(key_rotates_answers=1, old_key_grace_s=0.0))
    client.ask(1.0)
    assert status(client.ask(1.0 + TIMEOUT + 1.0)) == (2, True)
    row = client.row(20.0)
    assert (row["end_reason"], row["late_contact_at"]) == ("expired", 12.0)


# -- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "repeat, position, indices", [(0, "3", [3]), (1, "3", [2, 3]), (9, "3", [1, 2, 3]), (2, "4", [2, 3]), (2, "0", [])]
)
def test_events_may_be_repeated_by_index(repeat, position, indices):
    client = Client(service(repeat_events=repeat))
    for at in (1.0, 2.0):
        client.ask(at, "SendMessage", message="hi")
    answer = client.ask(3.0, position=position)
    assert [item["index"] for item in answer["messages"]] == indices and answer["nextPosition"] == 4
