"""A simulator process without the rest of the command, and a client of it that sends what a test says."""

import http.client
import json
import subprocess
import sys
from contextlib import contextmanager
from urllib.parse import urlencode, urlsplit

from chatload.protocol.encode import Encoder
from tests.integration.processes import ENV

RUN = "from chatload.simulator.command import simulator; simulator()"
BASE = "/genesys/2/chat/default"
FORM = "application/x-www-form-urlencoded"


@contextmanager
def started(*options):
    command = [sys.executable, "-c", RUN, "--port", "0", *map(str, options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)
    try:
        line = process.stdout.readline()
        assert "://127.0.0.1:" in line, line + process.stderr.read()
        yield process, line.split()[-1]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


class Wire:
    """One keep-alive connection."""

    def __init__(self, url):
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)

    def ask(self, path, fields=(), method="POST", content_type=FORM):
        headers = {"Content-Type": content_type} if content_type else {}
        self.connection.request(method, path, urlencode(dict(fields)), headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def chat(self, path, **fields):
        status, body = self.ask(path, fields)
        assert status == 200, (status, body)
        return json.loads(body)


def opened(url):
    wire = Wire(url)
    first = wire.chat(BASE, nickname="Ann")
    return wire, f"{BASE}/{first['chatId']}", {key: first[key] for key in ("userId", "secureKey", "alias")}, first


class Speaker:
    """A client of a dialect, by the project's own encoder, over real sockets."""

    def __init__(self, url, dialect):
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        self.encoder, self.names, self.keys = Encoder(dialect, "default"), dialect.response, {}

    def send(self, operation, content=None, **fields):
        """Status, headers and body of the answer."""
        request = self.encoder.encode(operation, {**self.keys, **fields}, content)
        self.connection.request(request.method, request.path, request.body, dict(request.headers))
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def say(self, operation, content=None, **fields):
        """The answer, in our names."""
        status, _, body = self.send(operation, content, **fields)
        assert status == 200, (status, body)
        return self.names.from_wire(json.loads(body))

    def open(self):
        """Open a chat and keep its keys."""
        first = self.say("RequestChat", nickname="Ann")
        self.keys = {"chat_id": first["chatId"], "user_id": first["userId"], "secure_key": first["secureKey"]}
        self.keys["alias"] = first["alias"]
        return first
