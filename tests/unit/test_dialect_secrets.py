"""Values a dialect takes from the environment: there or the run does not start, and never shown."""

import copy
import pickle
import traceback

import pytest

from chatload.errors import FileError
from chatload.protocol.decode import Decoder
from chatload.protocol.dialect import parse_dialect
from chatload.protocol.encode import Encoder
from chatload.protocol.secret import Secret
from tests.unit.test_dialect import GMS

KEY = "s3cr3t-0f-the-day"
HEADER = GMS.replace("[request.headers]", '[request.headers]\napikey = { env = "CHATLOAD_APIKEY" }\nX-Plain = "seen"')
FIXED = GMS.replace("[request.headers]", '[request.fixed]\ntenant = { env = "CHATLOAD_APIKEY" }\n[request.headers]')


def test_they_go_out_with_every_request():
    for operation in ("RequestChat", "FileUpload"):
        request = Encoder(parse_dialect(HEADER, "d.toml", {"CHATLOAD_APIKEY": KEY}), "s").encode(operation, {}, b"")
        assert dict(request.headers)["apikey"] == KEY and dict(request.headers)["X-Plain"] == "seen"
        request = Encoder(parse_dialect(FIXED, "d.toml", {"CHATLOAD_APIKEY": KEY}), "s").encode(operation, {}, b"")
        assert KEY.encode() in request.body


@pytest.mark.parametrize("text", [HEADER, FIXED])
def test_they_are_never_shown(text):
    dialect = parse_dialect(text, "d.toml", {"CHATLOAD_APIKEY": KEY})
    encoder = Encoder(dialect, "s")
    request = encoder.encode("GetMessages", {"chat_id": "c", "secure_key": "hidden too"})
    shown = [repr(dialect), str(dialect), repr(encoder), repr(request), f"{request}", repr(Decoder(dialect))]
    shown += [repr(wire) for wire in dialect.operations.values()]
    for one in shown:
        assert KEY not in one and "hidden too" not in one


def test_a_secret_cannot_leak_by_accident():
    secret = Secret(KEY)
    assert [repr(secret), str(secret), f"{secret}", f"{secret!s:>5}", f"{secret}"] == ["***"] * 3 + ["  ***"] + ["***"]
    for leak in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError) as caught:
            leak(secret)
        assert KEY not in "".join(traceback.format_exception(caught.value))
    assert not hasattr(secret, "__dict__")


NESTED = FIXED.replace("tenant = {", "tenant.of.it = {")


@pytest.mark.parametrize(
    "text, key",
    [(HEADER, "request.headers.apikey"), (FIXED, "request.fixed.tenant"), (NESTED, "request.fixed.tenant.of.it")],
)
@pytest.mark.parametrize("environment", [{}, {"CHATLOAD_APIKEY": ""}])
def test_one_that_is_missing_is_named(text, key, environment):
    with pytest.raises(FileError) as caught:
        parse_dialect(text, "d.toml", environment)
    assert str(caught.value) == f"d.toml: {key}: the environment variable CHATLOAD_APIKEY is not set"


@pytest.mark.parametrize("value", ["s3\r\nX: y", " s3", "s3\n", "s3\x00b", "s3漢"])
def test_one_unfit_for_a_header_is_refused_and_not_repeated(value):
    with pytest.raises(FileError, match=r"request\.headers\.apikey: expected a value fit for a header") as caught:
        parse_dialect(HEADER, "d.toml", {"CHATLOAD_APIKEY": value})
    assert "s3" not in str(caught.value)


def test_a_server_needs_no_clients_keys():
    assert Decoder(parse_dialect(HEADER, "d.toml", None)).decode("POST", "/genesys/2/chat/s", "", b"").service == "s"
