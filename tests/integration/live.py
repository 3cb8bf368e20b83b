"""Watching a running swarm: its web UI's addresses, and a master with two workers."""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from tests.integration.processes import CHAT, ENV
from tests.integration.test_stopping import free_port, wait_for
from tests.integration.warm_locust import LocustProcess


class WebUI:
    """Locust's web UI at `base`."""

    def __init__(self, base):
        self.base = base

    def text(self, path, **form):
        data = urllib.parse.urlencode(form).encode() if form else None
        with urllib.request.urlopen(f"{self.base}{path}", data, timeout=60) as answer:
            return answer.read().decode()

    def json(self, path, **form):
        return json.loads(self.text(path, **form))

    def figures(self):
        return self.json("/chatload/live")

    def up(self, workers=0):
        """Whether it answers, with so many workers ready."""
        try:
            return self.json("/worker-count")["worker_count"] == workers
        except urllib.error.URLError:
            return False

    def taken_back(self, workers):
        """Whether so many workers are there after a run, and ready for the next.

        `up` also counts workers whose users still run. Locust takes each out when it says that it has stopped, and a
        page that is loaded at that moment cannot start anything.
        """
        return [worker["state"] for worker in self.json("/stats/requests")["workers"]] == ["ready"] * workers

    def answer(self, form):
        """The answer to a start with a form as a browser sends it: a name may be in it several times."""
        with urllib.request.urlopen(f"{self.base}/swarm", form.encode(), timeout=60) as answer:
            return json.loads(answer.read())

    def start_form(self, form):
        answer = self.answer(form)
        assert answer["success"], answer

    def start(self, users, **settings):
        answer = self.json("/swarm", user_count=users, spawn_rate=users, **settings)
        assert answer["success"], answer


def start(*options, locustfile=CHAT, variables=None):
    words = ["-f", str(locustfile), "--loglevel", "WARNING", *map(str, options)]
    return LocustProcess(words, {**ENV, **(variables or {})})


@contextmanager
def web_ui(host, *options, workers=0, own_workers=False, base_path="", locustfile=CHAT, variables=None):
    """A Locust with its web UI, alone or the master of so many workers, below `base_path`; gives the WebUI.

    own_workers: it starts them itself, by its --processes. variables: of the environment of the master.
    """
    web, bind = free_port(), free_port()
    apart = 0 if own_workers else workers
    master = ("--master", "--master-bind-port", bind) if apart else ()
    of_master = ("--web-host", "127.0.0.1", "--web-port", web, "--web-base-path", base_path, *master, *options)
    processes = [start("--host", host, *of_master, locustfile=locustfile, variables=variables)]
    processes += [start("--worker", "--master-port", bind, locustfile=locustfile) for _ in range(apart)]
    ui = WebUI(f"http://127.0.0.1:{web}{base_path}")
    try:
        wait_for(lambda: ui.up(workers))
        yield ui
    finally:
        # A worker that has just stopped is unknown to its master for --stop-timeout: it would not be told to quit.
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                said = "".join(process.communicate(timeout=30))
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            assert "Traceback" not in said, said


def scrape(port):
    """The endpoint's samples, (name, labels) -> value; none where nobody listens."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.headers.get_content_type() == "application/openmetrics-text"
            text = answer.read().decode()
    except urllib.error.URLError:
        return {}
    samples = [sample for family in parse_openmetrics(text) for sample in family.samples]
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}
