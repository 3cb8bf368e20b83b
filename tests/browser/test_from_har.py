"""A script made from what a real browser recorded of real chats."""

import pytest

from chatload.chat.script import load_script
from chatload.features.script import read_chats
from chatload.protocol.dialect import load_dialect
from tests.browser.test_client import AGENT, TIMEOUT, origin, start, wait_for
from tests.integration.processes import chatload_here, locust, simulator, summary_of

__all__ = ["origin"]
SECRETS = [
    "Zoë",
    "a browser's chat",
    "gold & more",
    "my card is 4711",
    "and it is late",
    "private.txt",
    "the whole file",
]


@pytest.fixture(scope="module")
def recording(browser, origin, tmp_path_factory):
    """Two chats of the page, as the browser's own recording of them; gives the file and what must not survive."""
    file = tmp_path_factory.mktemp("har") / "chats.har"
    context = browser.new_context(record_har_path=str(file), record_har_content="embed")
    known = []
    with simulator(*TIMEOUT, *AGENT) as host:
        for said in ("my card is 4711", "and it is late"):
            page = context.new_page()
            page.goto(f"{origin}/chat.html")
            opened = start(page, host)
            known += [opened["chatId"], opened["userId"], opened["secureKey"], host.split("//")[1]]
            wait_for(page, "ParticipantJoined")
            page.evaluate("type('m')")
            page.wait_for_timeout(300)
            page.evaluate("(text) => say(text)", said)
            page.wait_for_function("seen.some(e => e.type === 'Message' && e.from.type === 'Agent')", timeout=10_000)
            page.evaluate("say('ok')")
            if said.startswith("my"):
                page.evaluate("upload('private.txt', 'the whole file')")
            page.evaluate("end()")
            page.close()
    context.close()
    return file, [*SECRETS, *known]


def test_counts_and_times_survive_and_nothing_else(recording, tmp_path):
    file, secrets = recording
    text = file.read_text()
    assert all(secret in text or secret.isascii() is False for secret in secrets[7:])
    made = chatload_here("script", "from-har", file, "--output", tmp_path / "made.toml")
    assert made.returncode == 0, made.stderr
    script_text = (tmp_path / "made.toml").read_text()
    assert [secret for secret in secrets if secret in script_text] == []
    script = load_script(tmp_path / "made.toml")
    chats = read_chats(file, load_dialect("gms-v2", None))
    assert [len(chat.messages) for chat in chats] == [2, 2]
    assert (script.messages.a, script.shows_typing) == (2.0, True)
    assert 0.2 < script.typing.a < 3.0
    (extra,) = script.extras
    assert (extra.operation, extra.chance) == ("FileUpload", 0.5)
    assert "polled every 0.2" in script_text or "polled every 0.1" in script_text or "polled every 0.3" in script_text


def test_the_script_is_one_that_runs(recording, tmp_path):
    file, _ = recording
    (tmp_path / "made.toml").write_text(chatload_here("script", "from-har", file).stdout)
    with simulator(*TIMEOUT, *AGENT) as host:
        options = ("-u", "5", "-r", "5", "--chats", "10", "-t", "40s", *TIMEOUT, "--script", tmp_path / "made.toml")
        run = locust(host, tmp_path / "run", *options)
    assert run.returncode == 0, run.stdout + run.stderr
    assert summary_of(tmp_path / "run")["sessions"]["by_verdict"]["completed"] == 10
