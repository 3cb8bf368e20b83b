"""A page of another origin talks to the simulator as it would to a chat server."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.integration.processes import ledger_of, simulator

HERE = Path(__file__).parent
TIMEOUT = ("--flex-disconnect-timeout", "3")
AGENT = ("--agent-wait", "0.1", "0.2", "--agent-answer", "0.1", "0.2")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def origin():
    """Another origin than the simulator's: our own folder, served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(HERE)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(browser, origin):
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{origin}/chat.html")
    yield page
    context.close()


def start(page, host, apikey="k", poll_ms=200):
    return page.evaluate("([url, key, ms]) => start(url, key, ms)", [f"{host}/genesys/2/chat/default", apikey, poll_ms])


def wait_for(page, text):
    page.locator("#transcript li", has_text=text).first.wait_for(timeout=10_000)


def test_a_whole_chat_of_a_page_from_another_origin(page):
    methods = []
    page.on("request", lambda request: methods.append(request.method))
    with simulator(*TIMEOUT, *AGENT, "--apikey", "k") as host:
        opened = start(page, host)
        assert opened["statusCode"] == 0 and opened["chatId"]
        wait_for(page, "ParticipantJoined")
        assert page.evaluate("type('Hel')")["statusCode"] == 0
        assert page.evaluate("pause()")["statusCode"] == 0
        assert page.evaluate("say('Hello, Wörld & <you>')")["statusCode"] == 0
        wait_for(page, "Zoë: Message Hello, Wörld & <you>")
        page.wait_for_function("seen.some(e => e.type === 'Message' && e.from.type === 'Agent')", timeout=10_000)
        up = page.evaluate("upload('notes.txt', 'line one\\nzwei')")
        assert up["statusCode"] == 0
        wait_for(page, "FileUploaded")
        file_id = page.evaluate("(up) => up.userData['file-id']", up)
        assert page.evaluate("(id) => download(id)", file_id) == "line one\nzwei"
        before = page.evaluate("polls")
        page.wait_for_function("(n) => polls > n + 2", arg=before, timeout=10_000)
        assert page.evaluate("end()")["chatEnded"] is True
        assert page.locator("#state").inner_text() == "ended"
        (row,) = ledger_of(host)
    assert row["end_reason"] == "disconnected"
    operations = [name for _, name in row["contacts"]]
    assert {"RequestChat", "GetMessages", "SendMessage", "StartTyping", "StopTyping", "FileUpload"} <= set(operations)
    assert operations[0] == "RequestChat" and operations[-1] == "Disconnect"


def test_a_page_without_the_key_is_told_so(page):
    with simulator(*TIMEOUT, "--apikey", "k") as host:
        answer = page.evaluate(
            "async (url) => (await fetch(url, {method: 'POST', headers: {apikey: 'wrong'},"
            " body: new URLSearchParams({nickname: 'x'})})).status",
            f"{host}/genesys/2/chat/default/",
        )
        assert ledger_of(host) == []
    assert answer in (401, 403)


def test_a_page_that_stops_polling_is_dropped(page):
    with simulator(*TIMEOUT, *AGENT) as host:
        start(page, host)
        wait_for(page, "ParticipantJoined")
        page.evaluate("clearInterval(timer)")
        page.wait_for_timeout(3500)
        assert page.evaluate("call(`/${chat.id}/refresh`, {transcriptPosition: position})")["chatEnded"] is True
        (row,) = ledger_of(host)
    assert row["end_reason"] == "expired" and row["late_contact_at"] is not None
