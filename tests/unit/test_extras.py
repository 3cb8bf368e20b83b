"""Other operations in a customer's script: how they are written, and what goes over the wire for them."""

from collections import Counter

import pytest

from chatload.chat.policy import make_policy
from chatload.chat.script import EXTRA_FIELDS, Customer, CustomerScript, Distribution, Extra, load_script
from chatload.chat.settings import SessionSettings
from chatload.errors import FileError
from chatload.random_numbers import SplitMix64
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.service import ChatService
from chatload.virtual.driver import VirtualSwarm
from tests.virtual.truth import check_run

EVERYTHING = """
chat_length = 20.0
messages = 2
[[extras]]
operation = "UpdateNickname"
nickname = "Zoe"
[[extras]]
operation = "UpdateData"
user_data = { plan = "gold" }
[[extras]]
operation = "PushUrl"
url = "https://example.com/x"
[[extras]]
operation = "CustomNotice"
message = "hello"
[[extras]]
operation = "ReadReceipt"
[[extras]]
operation = "FileLimits"
[[extras]]
operation = "FileUpload"
size = 1000
file_name = "a.txt"
[[extras]]
operation = "FileDownload"
[[extras]]
operation = "FileDelete"
"""


def script_of(tmp_path, text):
    file = tmp_path / "script.toml"
    file.write_text(text)
    return load_script(file)


@pytest.mark.parametrize("persona", ["strict", "widget"])
def test_every_operation_is_done_once_a_chat_and_understood(tmp_path, persona):
    script = script_of(tmp_path, EVERYTHING)
    settings = SessionSettings(make_policy("fixed", 10.0, 3.0), 3.0, script, persona=persona)
    asked = []

    class Noting(ChatService):
        def process(self, now, operation, chat_id, fields, fault=None, content=None):
            asked.append((operation, dict(fields), content))
            return super().process(now, operation, chat_id, fields, fault, content)

    service = Noting(SimulatorConfig(flex_disconnect_timeout_s=10.0))
    run = VirtualSwarm(settings, service, users=5, chats=20, seed=1).run()
    check_run(run)
    counts = Counter(operation for operation, _, _ in asked)
    assert {operation: counts[operation] for operation in EXTRA_FIELDS} == dict.fromkeys(EXTRA_FIELDS, 20)
    for operation, by_outcome in run.books.outcomes.items():
        assert set(+by_outcome) <= {"0/false", "0/true"}, operation
    fields = {operation: (said, content) for operation, said, content in asked}
    assert fields["UpdateNickname"][0]["nickname"] == "Zoe"
    assert fields["UpdateData"][0]["user_data.plan"] == "gold"
    assert fields["FileUpload"][0]["file_name"] == "a.txt" and len(fields["FileUpload"][1]) == 1000
    assert fields["FileDownload"][0]["file_id"] == fields["FileDelete"][0]["file_id"]
    assert int(fields["ReadReceipt"][0]["position"]) >= 1


def test_what_wants_a_file_is_left_out_where_there_is_none(tmp_path):
    script = script_of(tmp_path, '[[extras]]\noperation = "FileDownload"\n')
    settings = SessionSettings(make_policy("fixed", 10.0), 3.0, script)
    run = VirtualSwarm(settings, ChatService(SimulatorConfig(flex_disconnect_timeout_s=10.0)), users=5, chats=10).run()
    assert run.books.balanced() and not run.books.sent["FileDownload"]


def test_chances_and_order():
    extras = (
        Extra("PushUrl", 0.25),
        Extra("FileUpload", 1.0, size=Distribution("fixed", 3.0)),
        Extra("FileDelete", 1.0),
    )
    script = CustomerScript(chat_length=Distribution("fixed", 10.0), extras=extras)
    customers = [Customer(script, SplitMix64(i)) for i in range(2000)]
    for customer in customers:
        customer.begin(10.0)
    drawn = [[(action.due, action) for action in customer.extras] for customer in customers]
    pushed = sum(extra.operation == "PushUrl" for planned in drawn for _, extra in planned)
    assert 400 < pushed < 600
    for planned in drawn:
        assert [at for at, _ in planned] == sorted(at for at, _ in planned)
        assert [extra.operation for _, extra in planned][-2:] == ["FileUpload", "FileDelete"]
        assert all(10.0 <= at <= 20.0 for at, _ in planned)
    assert extras[1].content(SplitMix64(0)) == b"..." and extras[0].content(SplitMix64(0)) is None


@pytest.mark.parametrize(
    "text, key",
    [
        ("extras = 3", "extras"),
        ('[[extras]]\noperation = "Dance"', "extras[1].operation"),
        ('[[extras]]\noperation = "SendMessage"', "extras[1].operation"),
        ('[[extras]]\noperation = "PushUrl"\nchance = 2', "extras[1].chance"),
        ('[[extras]]\noperation = "PushUrl"\nsize = 2', "extras[1].size"),
        ('[[extras]]\noperation = "PushUrl"\nurl = 2', "extras[1].url"),
        ('[[extras]]\noperation = "FileUpload"\nsize = "big"', "extras[1].size"),
        ('[[extras]]\noperation = "FileUpload"\nfile_id = "x"', "extras[1].file_id"),
    ],
)
def test_mistakes_are_named(tmp_path, text, key):
    with pytest.raises(FileError) as caught:
        script_of(tmp_path, text)
    assert f"{key}: " in str(caught.value) and "\n" not in str(caught.value)


def test_a_script_without_extras_has_none():
    assert CustomerScript().extras == ()


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('operation = "UpdateNickname"\nnickname = "Zoe"', {"nickname": "Zoe"}),
        ('operation = "CustomNotice"\nmessage = "hello"', {"message": "hello"}),
        ('operation = "PushUrl"\nurl = "u"', {"url": "u"}),
        ('operation = "UpdateData"\nuser_data = { a = "1", b = 2 }', {"user_data.a": "1", "user_data.b": "2"}),
        ('operation = "ReadReceipt"', {}),
        ('operation = "FileUpload"', {"file_name": "chatload.txt", "file_type": "text/plain"}),
        ('operation = "FileUpload"\nfile_name = "a"', {"file_name": "a", "file_type": "text/plain"}),
        ('operation = "FileLimits"', {}),
    ],
)
def test_an_operation_carries_what_the_script_says_and_no_more(tmp_path, text, fields):
    (extra,) = script_of(tmp_path, f"[[extras]]\n{text}\n").extras
    assert (extra.fields, extra.chance, extra.size) == (fields, 1.0, None)


@pytest.mark.parametrize(("size", "length"), [(None, 1), (0.2, 1), (2.6, 3), (70 * 2**20, 64 * 2**20)])
def test_an_upload_has_from_one_byte_to_64_mib(size, length):
    extra = Extra("FileUpload", size=None if size is None else Distribution("fixed", float(size)))
    assert len(extra.content(SplitMix64(0))) == length
