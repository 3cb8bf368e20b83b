"""Dialects: what goes on the wire, and every mistake in a file named by file, key and expectation."""

from importlib import resources

import pytest

from chatload.errors import FileError, UsageError
from chatload.protocol.dialect import load_dialect, parse_dialect
from chatload.protocol.encode import Encoder

GMS = (resources.files("chatload.protocol") / "dialects" / "gms-v2.toml").read_text(encoding="utf-8")


def test_gms_requests():
    encoder = Encoder(load_dialect("gms-v2"), "my service")
    opening = encoder.encode("RequestChat", {"nickname": "Ann Ö", "subject": "a&b"})
    assert (opening.method, opening.path) == ("POST", "/genesys/2/chat/my%20service")
    assert opening.body == b"nickname=Ann+%C3%96&subject=a%26b"
    assert dict(opening.headers)["Content-Type"] == "application/x-www-form-urlencoded"
    keys = {"chat_id": "0a/b", "user_id": "u", "secure_key": "s", "alias": "7", "position": "4"}
    poll = encoder.encode("GetMessages", keys)
    assert poll.path == "/genesys/2/chat/my%20service/0a%2Fb/refresh"
    assert poll.body == b"userId=u&secureKey=s&alias=7&transcriptPosition=4"


KEYED = {"chat_id": "c", "user_id": "u", "secure_key": "s", "alias": "7"}
IN_FORM = b"userId=u&secureKey=s&alias=7"
IN_JSON = b'"credentials":{"userId":"u","secureKey":"s"},"alias":"7"'

#: Operation, fields -> path after the chat's and body in gms-v2, body in webapi.
EXACT = [
    ("GetMessages", {"position": "4", "message": "dra ft"}, "refresh", b"&transcriptPosition=4&message=dra+ft",
     b'"refreshChat","sessionId":"c",%b,"scriptPosition":4,"messageText":"dra ft"'),
    ("SendMessage", {"message": "a&b=\u00e9", "message_type": "text"}, "send",
     b"&message=a%26b%3D%C3%A9&messageType=text",
     b'"sendMessage","sessionId":"c",%b,"messageText":"a&b=\xc3\xa9","messageType":"text"'),
    ("StartTyping", {"message": "d"}, "startTyping", b"&message=d",
     b'"typingStarted","sessionId":"c",%b,"messageText":"d"'),
    ("StopTyping", {}, "stopTyping", b"", b'"typingStopped","sessionId":"c",%b'),
    ("Disconnect", {}, "disconnect", b"", b'"logout","sessionId":"c",%b'),
    ("UpdateNickname", {"nickname": "Bea"}, "updateNickname", b"&nickname=Bea",
     b'"updateNickname","sessionId":"c",%b,"nickName":"Bea"'),
    ("UpdateData", {"user_data.a[b]": "1", "user_data.": ""}, "updateData",
     b"&userData%5Ba%5Bb%5D%5D=1&userData%5B%5D=",
     b'"updateUserData","sessionId":"c",%b,"userData":{"a[b]":"1","":""}'),
    ("PushUrl", {"url": "http://x/?a=1"}, "pushUrl", b"&pushUrl=http%3A%2F%2Fx%2F%3Fa%3D1",
     b'"pushUrl","sessionId":"c",%b,"url":"http://x/?a=1"'),
    ("CustomNotice", {"message": "n"}, "customNotice", b"&message=n",
     b'"customNotice","sessionId":"c",%b,"messageText":"n"'),
    ("ReadReceipt", {"position": "3"}, "readReceipt", b"&transcriptPosition=3",
     b'"readReceipt","sessionId":"c",%b,"scriptPosition":3'),
    ("FileLimits", {}, "file/limits", b"", b'"fileLimits","sessionId":"c",%b'),
    ("FileDownload", {"file_id": "f/1"}, "file/f%2F1/download", b"",
     b'"fileDownload","sessionId":"c",%b,"file":{"id":"f/1"}'),
    ("FileDelete", {"file_id": "f"}, "file/f/delete", b"", b'"fileDelete","sessionId":"c",%b,"file":{"id":"f"}'),
]  # fmt: skip


@pytest.mark.parametrize("operation, fields, path, form, json", EXACT, ids=[case[0] for case in EXACT])
def test_the_exact_bytes_of_every_operation(operation, fields, path, form, json):
    gms = Encoder(load_dialect("gms-v2"), "s").encode(operation, {**KEYED, **fields})
    assert (gms.method, gms.path) == ("POST", f"/genesys/2/chat/s/c/{path}")
    assert gms.body == IN_FORM + form
    webapi = Encoder(load_dialect("webapi"), "s").encode(operation, {**KEYED, **fields})
    assert (webapi.method, webapi.path) == ("POST", "/WebAPI/services/chat")
    assert webapi.headers == (("Content-Type", "application/json"),)
    assert webapi.body == b'{"serviceName":"s","operationName":%b}' % (json % IN_JSON)


def test_opening_with_both_names_and_user_data():
    fields = {"first_name": "A", "last_name": "B", "email": "a@b", "user_data.k": "v"}
    gms = Encoder(load_dialect("gms-v2"), "s").encode("RequestChat", fields)
    assert gms.body == b"firstName=A&lastName=B&emailAddress=a%40b&userData%5Bk%5D=v"
    webapi = Encoder(load_dialect("webapi"), "s").encode("RequestChat", fields)
    assert webapi.body == (
        b'{"serviceName":"s","operationName":"requestChat","firstName":"A","lastName":"B",'
        b'"emailAddress":"a@b","userData":{"k":"v"}}'
    )


def test_an_upload():
    file = {**KEYED, "file_name": 'a".txt', "file_type": "text/plain"}
    request = Encoder(load_dialect("gms-v2"), "s").encode("FileUpload", file, b"\r\n--x")
    kind, _, boundary = dict(request.headers)["Content-Type"].partition("; boundary=")
    assert kind == "multipart/form-data"
    assert request.body.count(b"--" + boundary.encode()) == 5
    head = b'Content-Disposition: form-data; name="file"; filename="a%22.txt"\r\nContent-Type: text/plain\r\n'
    assert head + b"\r\n\r\n--x\r\n" in request.body
    assert b'Content-Disposition: form-data; name="secureKey"\r\n\r\ns\r\n' in request.body
    webapi = Encoder(load_dialect("webapi"), "s").encode("FileUpload", file, b"\x00\xff")
    assert b'"file":{"name":"a\\".txt","type":"text/plain","base64":"AP8="}' in webapi.body


def test_json_encoding_and_fixed_values(tmp_path):
    text = GMS.replace('encoding = "form"', 'encoding = "json"').replace(
        'path = "/{chat_id}/disconnect"',
        'path = "/one"\nfixed = { operationName = "Disconnect", head = { v = 2, to = "{service}" } }',
    )
    file = tmp_path / "other.toml"
    file.write_text(text)
    request = Encoder(load_dialect(str(file)), "s").encode("Disconnect", {"user_id": "u"})
    assert request.path == "/genesys/2/chat/s/one"
    assert request.body == b'{"operationName":"Disconnect","head":{"v":2,"to":"s"},"userId":"u"}'


def test_a_field_cannot_be_within_a_fixed_value_that_is_no_table():
    text = GMS.replace('encoding = "form"', 'encoding = "json"').replace(
        'disconnect"\nparameters = { user_id = "userId"',
        'disconnect"\nfixed = { head = 2 }\nparameters = { user_id = ["head", "userId"]',
    )
    with pytest.raises(FileError, match=r"user_id: expected a name of its own; head userId is"):
        parse_dialect(text, "d.toml")
    parse_dialect(text.replace("head = 2", "head = { v = 2 }"), "d.toml")


def test_a_slash_goes_to_the_end_of_a_path_that_names_an_operation_and_of_no_other():
    gms = load_dialect("gms-v2")
    for _ in range(2):
        gms = gms.with_trailing_slash("SendMessage")
    paths = [Encoder(gms, "s").encode(name, KEYED).path for name in ("SendMessage", "GetMessages")]
    assert paths == ["/genesys/2/chat/s/c/send/", "/genesys/2/chat/s/c/refresh"]
    webapi = load_dialect("webapi")
    assert webapi.with_trailing_slash("SendMessage") is webapi


@pytest.mark.parametrize("header", ["Content-Type", "content-type"])
def test_a_content_type_of_the_dialects_own_is_kept_but_for_multipart(header):
    text = GMS.replace("[request.headers]", f'[request.headers]\n"{header}" = "application/x-form"\nx = "y"')
    encoder = Encoder(parse_dialect(text, "d.toml"), "s")
    assert encoder.encode("SendMessage", KEYED).headers == ((header, "application/x-form"), ("x", "y"))
    (name, value), other = encoder.encode("FileUpload", KEYED, b"").headers
    assert name == "Content-Type" and value.startswith("multipart/form-data; boundary=") and other == ("x", "y")


def test_a_dialect_may_lack_what_is_not_core():
    lacking = GMS[: GMS.index("[operations.UpdateNickname]")] + GMS[GMS.index("[response]") :]
    dialect = parse_dialect(lacking, "d.toml")
    dialect.require(["RequestChat", "GetMessages", "Disconnect"])
    with pytest.raises(UsageError, match="dialect 'gms-v2' has no operation FileUpload, PushUrl; describe it"):
        dialect.require(["PushUrl", "SendMessage", "FileUpload"])
    with pytest.raises(UsageError, match="no operation PushUrl"):
        Encoder(dialect, "s").encode("PushUrl", {})


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "gms-v2"', "name = 2", "d.toml: name: expected text"),
        (
            'encoding = "form"',
            'encoding = "xml"',
            'd.toml: request.encoding: expected one of "form", "json" or "multipart"',
        ),
        (
            'prefix = "/genesys',
            'prefix = "genesys',
            'd.toml: request.prefix: expected text starting with "/"',
        ),
        (
            "[operations.Disconnect]",
            "[operations.Disconnect]\nroute = 1",
            "d.toml: operations.Disconnect.route: unknown key; expected one of path",
        ),
        ("[operations.Disconnect]", "[operations.Leave]", "d.toml: operations.Leave: unknown key; expected one of"),
        (
            'nickname = "nickname"',
            'nick = "n"',
            "d.toml: operations.RequestChat.parameters.nick: unknown key; expected one of",
        ),
        ("keeps_ended_s = 60.0", "keeps_ended_s = -1", "d.toml: server.keeps_ended_s: expected a number not below 0"),
        ("keeps_ended_s = 60.0", "keeps_ended_s = true", "d.toml: server.keeps_ended_s: expected 0, or a duration"),
        ("long_poll_s = 0.0", "long_poll_s = -0.1", "d.toml: server.long_poll_s: expected a number not below 0"),
        (
            "agent_end_removes_customer = false",
            "agent_end_removes_customer = 1",
            "d.toml: server.agent_end_removes_customer: expected true or false",
        ),
        ("[server]", "[sever]", "d.toml: sever: unknown key"),
        ("[request]", "[request", "d.toml: not valid TOML"),
        (
            'path = "/{chat_id}/send"',
            'path = "/{chat_id}/refresh/"',
            "d.toml: operations.SendMessage.path: expected another path",
        ),
        (
            'message_type = "messageType"',
            'message_type = "userId"',
            "d.toml: operations.SendMessage.parameters.message_type: expected a name of its own",
        ),
        (
            'message_type = "messageType"',
            "message_type = []",
            "d.toml: operations.SendMessage.parameters.message_type: expected a name, or a list",
        ),
        (
            'message_type = "messageType"',
            'message_type = "{key}"',
            "d.toml: operations.SendMessage.parameters.message_type: expected {key}",
        ),
        (
            'user_data = ["userData", "{key}"] ',
            'user_data = "{key}" ',
            "d.toml: operations.RequestChat.parameters.user_data: expected {key}",
        ),
        (
            'user_data = ["userData", "{key}"] ',
            'user_data = "nick{key}" ',
            "d.toml: operations.RequestChat.parameters.user_data: expected a name of its own",
        ),
        (
            'nickname = "nickname"\nfirst',
            'nickname = ["userData", "nickname"]\nfirst',
            "d.toml: operations.RequestChat.parameters.user_data: expected a name of its own",
        ),
        (
            'user_data = ["userData", "{key}"] ',
            'user_data = ["userData", "{key}{key}"] ',
            "d.toml: operations.RequestChat.parameters.user_data: expected {key} once",
        ),
        (
            'user_data = ["userData", "{key}"] ',
            'user_data = ["{key}", "value"] ',
            "d.toml: operations.RequestChat.parameters.user_data: expected {key} once, at the end",
        ),
        ('content = "file"', "", "d.toml: operations.FileUpload.content: expected the name"),
        ('encoding = "multipart"', "", "d.toml: operations.FileUpload.encoding: expected"),
        ('messages = "messages"', 'message = "messages"', "d.toml: response.message: unknown key"),
        (
            "[server]",
            '[response.senders]\nClient = "A"\nAgent = "A"\n[server]',
            "d.toml: response.senders: expected a different word",
        ),
        ("[response.event]", '[response.event]\nwho = "A"', "d.toml: response.event.who: unknown key"),
        (
            "[server]",
            '[response.error_codes]\n8209 = "silence"\n[server]',
            'd.toml: response.error_codes.8209: expected one of "logout"',
        ),
        ("[server]", "[response.quit_reasons]\n7 = 1\n[server]", "d.toml: response.quit_reasons.7: expected one of"),
        (
            "[request.headers]",
            '[request.headers]\n"a b" = "c"',
            "d.toml: request.headers.a b: expected a header's name",
        ),
        ("[request.headers]", '[request.headers]\nHost = "c"', "d.toml: request.headers.Host: expected to be left out"),
        ("[request.headers]", "[request.headers]\nx = 1", "d.toml: request.headers.x: expected text"),
        (
            "[request.headers]",
            "[request.fixed]\nx = { a = 1 }\n[request.headers]",
            "d.toml: operations.RequestChat.fixed: expected text",
        ),
        (
            'encoding = "form" ',
            'numbers = ["position"]\nencoding = "form" ',
            'd.toml: request.numbers: expected only with encoding "json"',
        ),
        (
            'path = "/{chat_id}/send"',
            'path = "/{chat_id}/send/{chat_id}"',
            "d.toml: operations.SendMessage.path: expected {chat_id} once",
        ),
        (
            'prefix = "/genesys/2/chat/{service}"',
            'prefix = "/genesys/{service}/chat/{service}"',
            "d.toml: operations.RequestChat.path: expected {service} once",
        ),
        (
            "[request.headers]",
            f"[request.fixed]\n{'.'.join('x' * 60)} = 1\n[request.headers]",
            "d.toml: request.fixed.x: expected tables 50 deep at most",
        ),
        (
            'messages = "messages"',
            f"messages = {['x'] * 60}",
            "d.toml: response.messages: expected a list of 50 names at most",
        ),
    ],
)
def test_mistakes(old, new, says):
    assert old in GMS
    with pytest.raises(FileError) as caught:
        parse_dialect(GMS.replace(old, new), "d.toml")
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ['["person", "nickname"]', '"userDatum"'])
def test_a_name_beside_those_of_user_data_can_be_told_apart(name):
    old = 'nickname = "nickname"\nfirst'
    assert old in GMS
    parse_dialect(GMS.replace(old, f"nickname = {name}\nfirst"), "d.toml")


def test_unknown_name_and_missing_file():
    with pytest.raises(UsageError, match="no dialect named 'gms-v3'; known: gms-v2"):
        load_dialect("gms-v3")
    with pytest.raises(FileError, match="cannot be read"):
        load_dialect("/nowhere/x.toml")


def test_what_a_dialect_does_not_say_of_its_server():
    said = GMS.partition("[server]")[0]
    silent = parse_dialect(said, "d.toml").server
    assert (silent.keeps_ended_s, silent.long_poll_s, silent.agent_end_removes_customer) == (0.0, 0.0, False)
    told = parse_dialect(
        said + "[server]\nkeeps_ended_s = 5\nlong_poll_s = 7.5\nagent_end_removes_customer = true\n", "d.toml"
    ).server
    assert (told.keeps_ended_s, told.long_poll_s, told.agent_end_removes_customer) == (5.0, 7.5, True)
    webapi = load_dialect("webapi").server
    assert (webapi.keeps_ended_s, webapi.long_poll_s, webapi.agent_end_removes_customer) == (60.0, 0.0, False)


def test_an_operation_that_says_nothing_is_a_post_to_the_prefix_in_the_dialect_s_encoding():
    wire = load_dialect("gms-v2").operations["RequestChat"]
    assert (wire.method, wire.path, wire.encoding, wire.name, wire.content) == ("POST", "", "form", "RequestChat", None)


@pytest.mark.parametrize("numbers", ['["nonsense"]', "[3]", '"position"', '["position", "nonsense"]'])
def test_numbers_are_names_of_our_fields(numbers):
    text = (resources.files("chatload.protocol") / "dialects" / "webapi.toml").read_text(encoding="utf-8")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("numbers"))
    with pytest.raises(FileError, match=r"numbers(\[1\])?: expected (a list|text)"):
        parse_dialect(text.replace("[request]", f"[request]\nnumbers = {numbers}", 1), "d.toml")


def test_fixed_values_of_a_form_are_written_as_they_are_and_truths_in_small_letters():
    text = GMS.replace("[request]", '[request]\nfixed = { channel = "Web", verbose = true, level = 3 }', 1)
    body = Encoder(parse_dialect(text, "d.toml"), "s").encode("Disconnect", KEYED).body
    assert b"channel=Web" in body and b"verbose=true" in body and b"level=3" in body


def test_a_secret_says_its_variable_and_nothing_else():
    text = GMS.replace("[request.headers]", '[request.headers]\napikey = { env = "KEY" }', 1)
    assert parse_dialect(text, "d.toml", {"KEY": "k"}).request.headers["apikey"].reveal() == "k"
    for more, said in (('env = "KEY", or = "x"', "or"), ('env = "NONE"', "NONE is not set")):
        with pytest.raises(FileError, match=said):
            parse_dialect(text.replace('env = "KEY"', more), "d.toml", {"KEY": "k"})
