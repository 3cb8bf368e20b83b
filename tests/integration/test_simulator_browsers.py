"""What a page of another origin needs: preflights, headers on every answer; and the API key."""

import http.client
from urllib.parse import urlsplit

import pytest

from tests.integration.processes import ENV
from tests.integration.wire import BASE, FORM, started

PAGE = "https://shop.example:8443"
KEY = "k3y-of-the-widget"


def ask(url, method, path, body="", **headers):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text


@pytest.fixture(scope="module")
def host():
    with started() as (_, url):
        yield url


@pytest.fixture(scope="module")
def locked():
    ENV["CHATLOAD_SIMULATOR_APIKEY"] = KEY
    try:
        with started() as (_, url):
            yield url
    finally:
        del ENV["CHATLOAD_SIMULATOR_APIKEY"]


@pytest.mark.parametrize("path", [BASE, f"{BASE}/x/refresh/", f"{BASE}/x/file/y/download"])
def test_a_preflight_allows_the_method_and_every_header(host, path):
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "apikey, x-custom"}
    status, headers, body = ask(host, "OPTIONS", path, Origin=PAGE, **asked)
    assert (status, body) == (204, b"")
    assert headers["access-control-allow-origin"] == PAGE and headers["vary"] == "origin"
    assert "POST" in headers["access-control-allow-methods"]
    assert headers["access-control-allow-headers"] == "apikey, x-custom"
    assert int(headers["access-control-max-age"]) > 0


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("POST", BASE, 200),
        ("POST", f"{BASE}/x/refresh", 200),
        ("GET", BASE, 405),
        ("POST", "/nowhere", 404),
        ("OPTIONS", "/nowhere", 404),
        ("GET", "/simulator/status", 200),
        ("GET", "/simulator/ledger", 200),
        ("GET", "/simulator/nothing", 404),
        ("DELETE", "/simulator/status", 405),
    ],
)
def test_every_answer_can_be_read_by_the_page_that_asked(host, method, path, status):
    answered, headers, _ = ask(
        host, method, path, "nickname=A" if method == "POST" else "", Origin=PAGE, Content_Type=FORM
    )
    assert (answered, headers["access-control-allow-origin"]) == (status, PAGE)
    assert ("allow" in headers) == (status == 405)
    assert "access-control-allow-origin" not in ask(host, method, path, Content_Type=FORM)[1]


@pytest.mark.parametrize(
    "apikey, status", [({}, 401), ({"apikey": ""}, 401), ({"apikey": "wrong"}, 403), ({"apikey": KEY}, 200)]
)
def test_the_api_key(locked, apikey, status):
    answered, headers, body = ask(locked, "POST", BASE, "nickname=Ann", Content_Type=FORM, Origin=PAGE, **apikey)
    assert answered == status and headers["access-control-allow-origin"] == PAGE
    assert ("www-authenticate" in headers) == (status == 401)
    assert KEY.encode() not in body


def test_a_preflight_and_the_own_pages_need_no_api_key(locked):
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "apikey"}
    assert ask(locked, "OPTIONS", BASE, Origin=PAGE, **asked)[0] == 204
    assert ask(locked, "GET", "/simulator/ledger")[0] == 200
