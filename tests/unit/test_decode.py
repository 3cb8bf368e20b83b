"""Requests read back: what each body means, and which status refuses the others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatload.protocol.decode import Decoder, RefusedError, Request, parse_multipart
from chatload.protocol.dialect import load_dialect, parse_dialect
from chatload.protocol.encode import Encoder, Part, compose_multipart

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
MULTIPART = "multipart/form-data; boundary=xyz"
GMS, WEBAPI = Decoder(load_dialect("gms-v2")), Decoder(load_dialect("webapi"))
SEND, UPLOAD = "/genesys/2/chat/s/c1/send", "/genesys/2/chat/s/c1/file"


def in_form(body: str, path: str = SEND, content_type: str = FORM) -> Request:
    return GMS.decode("POST", path, content_type, body.encode())


def in_json(**members: Any) -> Request:
    body = json.dumps({"serviceName": "s", "sessionId": "c1", **members}).encode()
    return WEBAPI.decode("POST", "/WebAPI/services/chat", JSON, body)


def refused(decoder: Decoder, path: str, content_type: str, body: bytes, method: str = "POST") -> tuple[int, str]:
    with pytest.raises(RefusedError) as caught:
        decoder.decode(method, path, content_type, body)
    assert str(caught.value) == caught.value.text
    return caught.value.http_status, caught.value.text


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ("", {}),
        ("message=hi", {"message": "hi"}),
        ("message=", {"message": ""}),
        ("message", {"message": ""}),
        ("message=a=b", {"message": "a=b"}),
        ("message=a+b", {"message": "a b"}),
        ("message=a%2Bb%26", {"message": "a+b&"}),
        ("mess%61ge=hi", {"message": "hi"}),
        ("message=1&message=2", {"message": "2"}),
        ("message=1&message=%32", {"message": "2"}),
        ("other=1&message=hi&chatId=x", {"message": "hi"}),
        ("userId=u&secureKey=s&alias=7", {"user_id": "u", "secure_key": "s", "alias": "7"}),
        ("userId=%75&unknown=1&alias=7", {"user_id": "u", "alias": "7"}),
    ],
)
def test_a_form(body: str, fields: dict[str, str]) -> None:
    assert in_form(body) == Request("SendMessage", "c1", fields, None, "s")
    assert in_form(body, SEND + "/").fields == fields, "a slash at the end is tolerated"
    assert in_form(body, content_type=FORM.upper() + " ; charset=utf-8").fields == fields


@pytest.mark.parametrize(
    ("body", "data"),
    [
        ("userData[k]=v", {"user_data.k": "v"}),
        ("userData%5Bk%5D=v%2B", {"user_data.k": "v+"}),
        ("userData[]=v", {"user_data.": "v"}),
        ("userData[a]=1&userData[b]=2", {"user_data.a": "1", "user_data.b": "2"}),
        ("userData[k=v&userDatak]=v&xuserData[k]=v&userData[k]x=v", {}),
    ],
)
def test_user_data_in_a_form(body: str, data: dict[str, str]) -> None:
    read = in_form(f"nickname=N&{body}", "/genesys/2/chat/s")
    assert (read.operation, read.chat_id, read.fields) == ("RequestChat", None, {"nickname": "N", **data})


def test_names_in_a_path_are_decoded() -> None:
    read = in_form("", "/genesys/2/chat/my%20service/a%2Fb/refresh")
    assert (read.operation, read.service, read.chat_id) == ("GetMessages", "my service", "a/b")
    read = in_form("", "/genesys/2/chat/s/c1/file/f%2F1/download")
    assert (read.operation, read.fields) == ("FileDownload", {"file_id": "f/1"})


@pytest.mark.parametrize(
    ("path", "content_type", "body", "status", "says"),
    [
        ("/", FORM, b"", 404, "no such operation"),
        ("/genesys/2/chat", FORM, b"", 404, "no such operation"),
        ("/genesys/2/chat/s/c1/sing", FORM, b"", 404, "no such operation"),
        ("/genesys/2/chat/s/c1/x/send", FORM, b"", 404, "no such operation"),
        (SEND, JSON, b"{}", 415, f"content type must be {FORM} or multipart/form-data"),
        (SEND, "", b"message=hi", 415, f"content type must be {FORM} or multipart/form-data"),
        (SEND, "text/plain", b"", 415, f"content type must be {FORM} or multipart/form-data"),
    ],
)
def test_what_is_no_request_of_the_dialect(path: str, content_type: str, body: bytes, status: int, says: str) -> None:
    assert refused(GMS, path, content_type, body) == (status, says)


def test_a_request_without_a_body_needs_no_content_type() -> None:
    assert in_form("", content_type="").fields == {}
    status, says = refused(WEBAPI, "/WebAPI/services/chat", "", b"")
    assert (status, says) == (415, "content type must be application/json")


def test_a_method_that_the_path_does_not_take() -> None:
    assert refused(GMS, SEND, FORM, b"", method="GET") == (405, "method not allowed")


# -- JSON ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [("hi", "hi"), ("", ""), (5, "5"), (-1.5, "-1.5"), (True, "true"), (False, "false"), (0, "0")],
)
def test_a_value_in_json_is_text_a_number_or_a_truth_value(value: Any, text: str) -> None:
    read = in_json(operationName="sendMessage", messageText=value, credentials={"userId": "u"})
    assert read == Request("SendMessage", "c1", {"message": text, "user_id": "u"}, None, "s")


def test_what_is_null_or_missing_in_json_is_no_field() -> None:
    assert in_json(operationName="sendMessage", messageText=None, credentials=5).fields == {}


def test_user_data_in_json() -> None:
    read = in_json(operationName="updateUserData", userData={"a": "1", "b": 2, "c": None, "": True})
    assert read.fields == {"user_data.a": "1", "user_data.b": "2", "user_data.": "true"}
    assert in_json(operationName="updateUserData", userData=None).fields == {}


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "the body is not JSON"),
        (b"{", 400, "the body is not JSON"),
        (b"[]", 400, "the body is not a JSON object"),
        (b'"x"', 400, "the body is not a JSON object"),
        (b"{}", 404, "the body names no operation"),
        (b'{"operationName": ""}', 404, "the body names no operation"),
        (b'{"operationName": "sing"}', 404, "no such operation"),
        (b'{"operationName": ["x"]}', 400, "operationName must be text or a number"),
        (b'{"operationName": "sendMessage", "messageText": {}}', 400, "messageText must be text or a number"),
        (b'{"operationName": "sendMessage", "credentials": {"userId": []}}', 400, "credentials.userId must be text"),
        (b'{"operationName": "updateUserData", "userData": 5}', 400, "userData must be an object"),
        (b'{"operationName": "updateUserData", "userData": {"a": {}}}', 400, "userData.a must be text or a number"),
        (b'{"operationName": "fileUpload", "file": {"base64": "?"}}', 400, "the file must be base64"),
    ],
)
def test_json_that_is_no_request(body: bytes, status: int, says: str) -> None:
    found, told = refused(WEBAPI, "/WebAPI/services/chat", JSON, body)
    assert found == status and told.startswith(says)


def test_an_upload_in_json() -> None:
    file = {"name": "a.txt", "type": "text/plain", "base64": "AP8="}
    read = in_json(operationName="fileUpload", file=file)
    assert (read.fields, read.content) == ({"file_name": "a.txt", "file_type": "text/plain"}, b"\x00\xff")
    assert in_json(operationName="fileUpload").content is None


# -- multipart -------------------------------------------------------------------------------------


def multipart(*parts: Part) -> Request:
    return GMS.decode("POST", UPLOAD, MULTIPART, compose_multipart(parts, "xyz"))


def test_an_upload_in_multipart() -> None:
    file = Part("file", b"\x00\xff\r\n", "a.txt", "text/plain")
    read = multipart(Part("userId", b"u"), Part("file", b"a field"), Part("other", b"x", "b.txt"), file)
    assert read.content == b"\x00\xff\r\n"
    assert read.fields == {"user_id": "u", "file_name": "a.txt", "file_type": "text/plain"}
    assert multipart(Part("file", b"", "a")).fields == {"file_name": "a"}
    assert multipart(Part("userId", b"u", "a file of that name"), Part("file", b"x", "a")).fields == {"file_name": "a"}
    assert multipart(Part("file", b"a field")).content is None
    assert multipart().content is None


def test_a_form_may_come_as_multipart() -> None:
    body = compose_multipart([Part("message", "é + %41".encode()), Part("alias", b"7")], "xyz")
    assert GMS.decode("POST", SEND, MULTIPART, body).fields == {"message": "é + %41", "alias": "7"}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", compose_multipart([Part("a", b"b")], "xyz")),
        ("multipart/form-data; boundary=abc", compose_multipart([Part("a", b"b")], "xyz")),
        (MULTIPART, compose_multipart([Part("a", b"b")], "xyz")[:-9]),
        (MULTIPART, b"message=hi"),
        (f"multipart/form-data; boundary={'x' * 201}", compose_multipart([Part("a", b"b")], "x" * 201)),
        (MULTIPART, compose_multipart([Part("a", b"b")] * 1001, "xyz")),
    ],
)
def test_multipart_that_is_not_whole(content_type: str, body: bytes) -> None:
    status, says = refused(GMS, UPLOAD, content_type, body)
    assert status == 400 and says.startswith("the body is not whole multipart/form-data: ")


def test_a_thousand_parts_and_a_long_boundary_are_read() -> None:
    parts = [Part(f"p{i}", b"", None if i else "f", "text/x" if i else "") for i in range(1000)]
    assert list(parse_multipart(MULTIPART, compose_multipart(parts, "xyz"))) == parts
    boundary = "x" * 200
    assert (
        list(parse_multipart(f"multipart/form-data; boundary={boundary}", compose_multipart(parts[:1], boundary)))
        == parts[:1]
    )


FORM_DIALECT = """
name = "forms"
[request]
prefix = "/chat"
operation = "do"
[request.headers]
[request.fixed]
to = "chat {service}!"
"""
NAMES = ("RequestChat", "GetMessages", "SendMessage", "StartTyping", "StopTyping", "Disconnect")


def test_a_form_that_names_its_operation_and_service() -> None:
    parameters = dict.fromkeys(NAMES, 'chat_id = "id", message = "text"')
    parameters |= {"RequestChat": 'text = "text"', "Disconnect": 'chat_id = "id"'}
    operations = "".join(
        f'[operations.{name}]\nname = "{name.lower()}"\nparameters = {{ {taken} }}\n'
        for name, taken in parameters.items()
    )
    dialect = parse_dialect(FORM_DIALECT + operations, "forms.toml")
    decoder = Decoder(dialect)
    read = decoder.decode("POST", "/chat", FORM, b"do=nothing&to=chat+s!&id=c1&text=hi&do=sendmessage")
    assert read == Request("SendMessage", "c1", {"message": "hi"}, None, "s")
    assert decoder.decode("POST", "/chat", FORM, b"do=disconnect&to=other&x=disconnect").service == ""
    assert refused(decoder, "/chat", FORM, b"x=sendmessage&id=do") == (404, "the body names no operation")
    sent = Encoder(dialect, "s").encode("SendMessage", {"chat_id": "c1", "message": "hi"})
    assert decoder.decode(sent.method, sent.path, FORM, sent.body) == read
