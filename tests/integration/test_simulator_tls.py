"""The simulator over TLS: believed by either transport with --ca-file, by none without."""

import shutil
import ssl
import urllib.request

import pytest

from chatload.protocol.dialect import load_dialect
from chatload.protocol.encode import Encoder
from chatload.transport import Endpoint, make_factory
from tests.faults.certificates import Certificates
from tests.integration.wire import started

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
GMS = load_dialect("gms-v2")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def host(authority):
    options = ("--tls-cert", authority.file("good.pem"), "--tls-key", authority.file("good.key"))
    with started(*options) as (_, url):
        assert url.startswith("https://")
        yield url


@pytest.mark.parametrize("transport", ["lean", "requests"])
def test_a_chat_over_tls(host, authority, transport):
    def call(operation, fields, **trust):
        chat = make_factory(transport, Endpoint(host, **trust))()
        return chat.call(Encoder(GMS, "default").encode(operation, fields), 5.0)

    opened = call("RequestChat", {"nickname": "Ann"}, ca_file=authority.authority)
    assert (opened.http_status, opened.failure) == (200, None), opened
    assert b'"statusCode":0' in opened.body
    assert call("RequestChat", {"nickname": "Ann"}).failure == "connection"


def test_a_large_answer_comes_whole_over_tls(host, authority):
    context = ssl.create_default_context(cafile=authority.authority)
    with urllib.request.urlopen(f"{host}/simulator/openapi.json", timeout=10, context=context) as answer:
        assert len(answer.read()) == int(answer.headers["Content-Length"]) > 10_000
