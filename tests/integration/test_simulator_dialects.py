"""Every operation over real sockets, in every built-in dialect; forms as browsers send them; long polling."""

import http.client
import json
import threading
import time
from urllib.parse import urlsplit

import pytest

from chatload.protocol.dialect import load_dialect
from chatload.protocol.encode import Part, compose_multipart
from tests.integration.processes import ledger_of
from tests.integration.wire import BASE, Speaker, Wire, opened, started

FILE = bytes(range(256)) * 40
QUIET = ("--agent-wait", 60, 60)


@pytest.fixture(scope="module", params=["gms-v2", "webapi"])
def speaker(request):
    with started("--dialect", request.param, *QUIET) as (_, url):
        speaker = Speaker(url, load_dialect(request.param))
        speaker.url = url
        yield speaker


def fine(answer):
    return answer["statusCode"] == 0 and answer["chatEnded"] is False


def test_a_chat_with_everything(speaker):
    assert fine(speaker.open())
    assert fine(speaker.say("StartTyping", message="grü"))
    assert fine(speaker.say("GetMessages", position="0", message="grüß"))
    assert fine(speaker.say("StopTyping", message=""))
    assert fine(speaker.say("SendMessage", message="grüße & mehr=ja+nein\n", message_type="text"))
    assert fine(speaker.say("UpdateNickname", nickname="Bea"))
    assert speaker.say("UpdateData", **{"user_data.a[b]": "1=2"})["userData"] == {"a[b]": "1=2"}
    assert fine(speaker.say("PushUrl", url="http://x/?a=1&b=2"))
    assert fine(speaker.say("CustomNotice", message="notice"))
    assert fine(speaker.say("ReadReceipt", position="2"))
    seen = speaker.say("GetMessages", position="1")["messages"]
    assert [(event["type"], event["from"]["nickname"], event.get("text")) for event in seen] == [
        ("ParticipantJoined", "Ann", None), ("TypingStarted", "Ann", "grü"), ("TypingStopped", "Ann", None),
        ("Message", "Ann", "grüße & mehr=ja+nein\n"), ("NicknameUpdated", "Bea", None),
        ("PushUrl", "Bea", "http://x/?a=1&b=2"), ("CustomNotice", "Bea", "notice"),
    ]  # fmt: skip
    assert {event["from"]["type"] for event in seen} == {"Client"}
    assert speaker.say("Disconnect")["chatEnded"] is True
    contacts = [row["contacts"] for row in ledger_of(speaker.url) if row["chat_id"] == speaker.keys["chat_id"]]
    assert [operation for _, operation, *_ in contacts[0]] == [
        "RequestChat", "StartTyping", "GetMessages", "StopTyping", "SendMessage", "UpdateNickname", "UpdateData",
        "PushUrl", "CustomNotice", "ReadReceipt", "GetMessages", "Disconnect",
    ]  # fmt: skip


def test_a_file_up_and_down(speaker):
    speaker.open()
    assert fine(speaker.say("FileLimits"))
    taken = speaker.say("FileUpload", FILE, file_name="übung.pdf", file_type="application/pdf")
    assert fine(taken)
    file_id = taken["userData"]["file-id"]
    status, headers, body = speaker.send("FileDownload", file_id=file_id)
    assert (status, body, headers["Content-Type"]) == (200, FILE, "application/pdf")
    assert headers["Content-Disposition"] == "attachment; filename*=UTF-8''%C3%BCbung.pdf"
    assert fine(speaker.say("FileDelete", file_id=file_id))
    assert speaker.say("FileDownload", file_id=file_id)["statusCode"] == 1


def test_a_file_whose_type_is_unfit_for_a_header_comes_back_all_the_same(speaker):
    speaker.open()
    taken = speaker.say("FileUpload", b"x", file_name="a\r\nX: y.txt", file_type="t/é")
    status, headers, body = speaker.send("FileDownload", file_id=taken["userData"]["file-id"])
    assert (status, body, headers["Content-Type"], headers["X"]) == (200, b"x", "application/octet-stream", None)


def test_every_operation_may_come_as_a_multipart_form():
    with started(*QUIET) as (_, url):
        wire, path, keys, _ = opened(url)
        kind = "multipart/form-data; boundary=b0undary"

        def post(where, **fields):
            body = compose_multipart([Part(name, value.encode()) for name, value in fields.items()], "b0undary")
            wire.connection.request("POST", where, body, {"Content-Type": kind})
            return json.loads(wire.connection.getresponse().read())

        assert post(f"{BASE}/", firstName="Ann", lastName="Ö")["statusCode"] == 0
        assert fine(post(f"{path}/send/", **keys, message="a\r\n--b é"))
        assert fine(post(f"{path}/updateData", **keys, **{"userData[k]": "v"}))
        seen = wire.chat(f"{path}/refresh", **keys, transcriptPosition=1)["messages"]
        assert seen[-1]["text"] == "a\r\n--b é"


def test_a_held_refresh_is_answered_by_an_event_by_its_time_or_never_if_the_client_goes():
    with started("--long-poll", 2, "--flex-disconnect-timeout", 3, *QUIET) as (_, url):
        wire, path, keys, first = opened(url)
        position = first["nextPosition"]
        begun = time.monotonic()
        assert wire.chat(f"{path}/refresh", **keys, transcriptPosition=position)["messages"] == []
        assert 2.0 <= time.monotonic() - begun < 10
        speech = threading.Timer(0.5, Wire(url).chat, (f"{path}/send",), {**keys, "message": "now"})
        speech.start()
        begun = time.monotonic()
        answer = wire.chat(f"{path}/refresh", **keys, transcriptPosition=position)
        assert [event["text"] for event in answer["messages"]] == ["now"]
        assert 0.4 <= time.monotonic() - begun < 1.9
        speech.join()
        gone = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        body = "&".join(f"{k}={v}" for k, v in keys.items()) + f"&transcriptPosition={answer['nextPosition']}"
        gone.request("POST", f"{path}/refresh", body, {"Content-Type": "application/x-www-form-urlencoded"})
        time.sleep(0.3)
        gone.close()
        left_at = time.monotonic()
        time.sleep(4)
        (row,) = ledger_of(url)
        assert row["end_reason"] == "expired" and left_at + 2.5 < row["ended_at"] < left_at + 3.5
