"""Dialects: what goes on the wire, and every mistake in a file named by file, key and expectation."""

from importlib import resources

import pytest

from chatload.errors import FileError, UsageError
from chatload.protocol.dialect import load_dialect, parse_dialect

GMS = (resources.files("chatload.protocol") / "dialects" / "gms-v2.toml").read_text(encoding="utf-8")


def test_gms_requests():
    encoder = load_dialect("gms-v2").encoder("my service")
    opening = encoder.encode("RequestChat", {"nickname": "Ann Ö", "subject": "a&b"})
    assert (opening.method, opening.path) == ("POST", "/genesys/2/chat/my%20service")
    assert opening.body == b"nickname=Ann+%C3%96&subject=a%26b"
    assert dict(opening.headers)["Content-Type"] == "application/x-www-form-urlencoded"
    keys = {"chat_id": "0a/b", "user_id": "u", "secure_key": "s", "alias": "7", "position": "4"}
    poll = encoder.encode("GetMessages", keys)
    assert poll.path == "/genesys/2/chat/my%20service/0a%2Fb/refresh"
    assert poll.body == b"userId=u&secureKey=s&alias=7&transcriptPosition=4"


def test_json_encoding_and_fixed_values(tmp_path):
    text = GMS.replace('encoding = "form"', 'encoding = "json"').replace(
        'path = "/{chat_id}/disconnect"', 'path = "/one"\nfixed = { operationName = "Disconnect" }'
    )
    file = tmp_path / "other.toml"
    file.write_text(text)
    request = load_dialect(str(file)).encoder("s").encode("Disconnect", {"user_id": "u"})
    assert request.path == "/genesys/2/chat/s/one"
    assert request.body == b'{"operationName":"Disconnect","userId":"u"}'


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "gms-v2"', "name = 2", "d.toml: name: expected text"),
        ('encoding = "form"', 'encoding = "xml"', 'd.toml: request.encoding: expected "form", "json" or "multipart"'),
        (
            'prefix = "/genesys',
            'prefix = "genesys',
            'd.toml: request.prefix: expected text starting with "/"',
        ),
        ("[operations.Disconnect]", "[operations.Leave]", "d.toml: operations.Disconnect: expected a table"),
        (
            'nickname = "nickname"',
            'nick = "n"',
            "d.toml: operations.RequestChat.parameters.nick: unknown key; expected one of",
        ),
        ("keeps_ended_s = 60.0", "keeps_ended_s = -1", "d.toml: server.keeps_ended_s: expected seconds"),
        ("[server]", "[sever]", "d.toml: sever: unknown key"),
        ("[request]", "[request", "d.toml: not valid TOML"),
    ],
)
def test_mistakes(old, new, says):
    assert old in GMS
    with pytest.raises(FileError) as caught:
        parse_dialect(GMS.replace(old, new), "d.toml")
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_unknown_name_and_missing_file():
    with pytest.raises(UsageError, match="no dialect named 'gms-v3'; known: gms-v2"):
        load_dialect("gms-v3")
    with pytest.raises(FileError, match="cannot be read"):
        load_dialect("/nowhere/x.toml")
