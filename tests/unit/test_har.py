"""Recordings: what is read of one, and that none can do harm."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatload.chat.script import CustomerScript, load_script
from chatload.errors import FileError, UsageError
from chatload.features import script as har
from chatload.features.script import RecordedChat, read_chats, write_script
from chatload.protocol.dialect import load_dialect
from tests.integration.processes import chatload_here

DIALECT = load_dialect("gms-v2", None)
FORM = "application/x-www-form-urlencoded"


def entry(second, path, body, answer, took=10, **more):
    content = {"text": json.dumps(answer) if isinstance(answer, dict) else answer, "mimeType": "application/json"}
    return {
        "startedDateTime": f"2026-11-23T10:00:{second:06.3f}Z", "time": took,
        "request": {"method": "POST", "url": f"https://secret.example{path}", "postData": {"mimeType": FORM, **body}},
        "response": {"status": 200, "content": content}, **more,
    }  # fmt: skip


def said(text):
    return {"text": text}


def fine(*events, **more):
    messages = [
        {"from": {"type": who, "nickname": "Bob"}, "index": i, "type": kind} for i, (who, kind) in enumerate(events)
    ]
    return {"statusCode": 0, "chatEnded": False, "messages": messages, **more}


BASE = "/gateway/genesys/2/chat/sales"
CHAT = [
    entry(0, f"{BASE}/", said("nickname=Zoe+Private&subject=debts"), fine(chatId="C1", userId="U1", secureKey="K1")),
    entry(
        1,
        f"{BASE}/C1/refresh",
        said("userId=U1&secureKey=K1&transcriptPosition=1"),
        fine(("Agent", "ParticipantJoined")),
    ),
    entry(3, f"{BASE}/C1/startTyping", {"params": [{"name": "userId", "value": "U1"}]}, fine()),
    entry(4, f"{BASE}/C1/refresh", said("userId=U1&transcriptPosition=2"), fine()),
    entry(5, f"{BASE}/C1/send", said("userId=U1&message=twelve+bytes"), fine()),
    entry(7, f"{BASE}/C1/refresh", said("userId=U1"), fine()),
    entry(8, f"{BASE}/C1/pushUrl", said("pushUrl=https%3A%2F%2Fsecret.example"), fine()),
    entry(20, f"{BASE}/C1/disconnect", said("userId=U1"), {"statusCode": 0, "chatEnded": True, "messages": []}),
    entry(2, "/logo.png", said(""), "not json"),
]


def recording(tmp_path, entries):
    file = tmp_path / "chat.har"
    file.write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}))
    return file


def test_a_chat_is_measured(tmp_path):
    (chat,) = read_chats(recording(tmp_path, CHAT), DIALECT)
    assert chat.messages == [12]
    assert chat.thinking == [pytest.approx(3 - 1.01)]
    assert chat.typing == [pytest.approx(2.0)]
    assert [b - a for a, b in zip(chat.polls, chat.polls[1:], strict=False)] == [pytest.approx(3.0)] * 2
    assert chat.last - chat.opened == pytest.approx(20.0)
    assert chat.operations["PushUrl"] == 1


def test_the_script_holds_what_was_measured_and_no_word_of_it(tmp_path):
    text = write_script(read_chats(recording(tmp_path, CHAT), DIALECT))
    for secret in ("Zoe", "Private", "debts", "twelve", "secret", "C1", "U1", "K1", "Bob", "sales"):
        assert secret not in text
    (tmp_path / "s.toml").write_text(text)
    script = load_script(tmp_path / "s.toml")
    assert script.chat_length.mean() == pytest.approx(20.0, rel=0.01)
    assert (script.messages.a, script.message_bytes.a, script.typing.a) == (1.0, 12.0, pytest.approx(2.0, rel=0.01))
    assert [(extra.operation, extra.chance) for extra in script.extras] == [("PushUrl", 1.0)]
    assert "--refresh-interval 3" in text


def without_bodies(entries):
    return [{**item, "request": {**item["request"], "postData": {"mimeType": FORM}}} for item in entries]


def test_messages_whose_bodies_are_missing_keep_the_default_length_and_it_is_said(tmp_path):
    file = recording(tmp_path, without_bodies(CHAT))
    run = chatload_here("script", "from-har", file)
    said_so = "The bodies of 1 of 1 messages are not in the recording: message_bytes is the default."
    assert (run.returncode, run.stderr) == (0, f"chatload: {said_so}\n")
    assert f"# {said_so}" in run.stdout
    (tmp_path / "s.toml").write_text(run.stdout)
    script = load_script(tmp_path / "s.toml")
    assert (script.messages.a, script.message_bytes) == (1.0, CustomerScript().message_bytes)


def test_where_some_bodies_are_missing_the_others_count(tmp_path):
    empty = entry(5.5, f"{BASE}/C1/send", said("userId=U1&message="), fine())
    (lost,) = without_bodies([entry(6, f"{BASE}/C1/send", said(""), fine())])
    (chat,) = read_chats(recording(tmp_path, [*CHAT, empty, lost]), DIALECT)
    assert chat.messages == [12, 0, None]
    text = write_script([chat])
    assert "# The bodies of 1 of 3 messages are not in the recording: message_bytes is that of the others." in text
    assert 'message_bytes = { shape = "uniform", low = 0, high = 12 }' in text


def test_an_upload_without_its_body_is_an_upload(tmp_path):
    upload = entry(6, f"{BASE}/C1/file", {"mimeType": "multipart/form-data; boundary=x"}, fine())
    text = write_script(read_chats(recording(tmp_path, [*CHAT, upload]), DIALECT))
    assert 'operation = "FileUpload"' in text
    assert "# The bodies of 1 of 1 uploads are not in the recording: size is the default." in text


def test_where_the_operation_is_in_the_body_a_recording_without_bodies_is_refused_with_the_reason(tmp_path):
    with pytest.raises(FileError, match="no chat of the dialect webapi is in it: none of its requests has a body"):
        read_chats(recording(tmp_path, without_bodies(CHAT)), load_dialect("webapi", None))


def test_a_byte_order_mark_is_passed_over(tmp_path):
    file = recording(tmp_path, CHAT)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert read_chats(file, DIALECT)[0].messages == [12]


def test_spreads_are_fitted(tmp_path):
    chats = [RecordedChat(0.0, length, typing=[1.0, 4.0]) for length in (10.0, 40.0)]
    (tmp_path / "s.toml").write_text(write_script(chats))
    script = load_script(tmp_path / "s.toml")
    assert (script.chat_length.a, script.chat_length.b) == (
        pytest.approx(20.0, rel=0.01),
        pytest.approx(0.693, rel=0.01),
    )
    assert script.typing.a == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize(
    "content",
    ["", "no json", "[]", "{}", '{"log": {}}', '{"log": {"entries": {}}}', '{"log": {"entries": []}}', "[" * 100_000,
     '{"log": {"entries": [1, null, {"request": 5}]}}'],
)  # fmt: skip
def test_what_is_no_recording_is_refused_in_one_line(tmp_path, content):
    file = tmp_path / "x.har"
    file.write_text(content)
    run = chatload_here("script", "from-har", file)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1 and "x.har" in run.stderr and "Traceback" not in run.stderr


def test_too_large_a_recording_and_one_that_is_not_there_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(har, "MOST_BYTES", 10)
    with pytest.raises(FileError, match="larger than"):
        read_chats(recording(tmp_path, CHAT), DIALECT)
    with pytest.raises(FileError, match="cannot be read"):
        read_chats(tmp_path / "missing.har", DIALECT)
    with pytest.raises(UsageError):
        write_script([])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(CHAT) - 1), st.sampled_from(["startedDateTime", "time", "request", "response"]), JSON)
def test_a_broken_entry_breaks_nothing(tmp_path, which, key, junk):
    broken = [dict(item) for item in CHAT]
    broken[which][key] = junk
    file = recording(tmp_path, broken)
    try:
        text = write_script(read_chats(file, DIALECT))
    except FileError:
        return
    (tmp_path / "s.toml").write_text(text)
    load_script(tmp_path / "s.toml")
