"""The live figures of real runs: web UI of one process, log, terminal, and the Prometheus endpoint."""

import csv
import fcntl
import io
import os
import pty
import re
import select
import socket
import struct
import subprocess
import termios
import time

import pytest

from tests.integration.live import scrape, web_ui
from tests.integration.processes import ENV, locust, locust_command, simulator, summary_of
from tests.integration.test_stopping import free_port, ports, wait_for

pytestmark = pytest.mark.slow
TIMEOUT = ("--flex-disconnect-timeout", "3")
RUN = ("-u", "20", "-r", "20", *TIMEOUT, "--chat-length", "3")


def final(figures, summary):
    """The live figures that summary.json has too are equal to it."""
    assert figures["phase"] == "ended"
    for key in ("requests", "refresh", "generator"):
        assert figures[key] == summary[key], key
    # How many were accepted, and what the drops have in common, is said of a run that is over.
    common = summary["sessions"].keys() & figures["sessions"].keys()
    assert common >= {"started", "by_verdict", "dropped_late_by_blame", "unserved_by_verdict", "cut_off_confirmed"}
    assert {key: figures["sessions"][key] for key in common} == {key: summary["sessions"][key] for key in common}


def test_two_runs_from_the_web_ui_of_one_process(tmp_path):
    with simulator(*TIMEOUT) as host, web_ui(host, *TIMEOUT, "--chat-length", "3", base_path="/load") as ui:
        before = ui.figures()
        assert (before["phase"], before["sessions"]["started"]) == ("ready", 0)
        for name, users in (("one", 20), ("two", 10)):
            ui.start(users, run_dir=tmp_path / name)
            wait_for(lambda users=users: ui.figures()["sessions"]["by_state"]["held"] == users)
            assert ui.figures()["phase"] == "running"
            wait_for(lambda: ui.figures()["sessions"]["by_verdict"]["completed"] > 0)
            ui.json("/stop", any="thing")
            final(ui.figures(), summary_of(tmp_path / name))
            assert ui.figures()["run"] == name
        lines = dict(csv.reader(io.StringIO(ui.text("/chatload/live.csv"))))
        assert int(lines["sessions.started"]) == summary_of(tmp_path / "two")["sessions"]["started"]
        assert 'href": "./chatload/live.csv"' in ui.text("/?tab=stats")
        assert ui.json("/stats/requests")["state"] == "stopped"
        # The web UI's first page is chatload's, below the base path too; each page has a link to the other.
        first = ui.text("/")
        assert "Start a run" in first and 'href="../?tab=stats"' in first
        assert 'href="./chatload/"' in ui.text("/?tab=stats")


def test_a_log_gets_plain_lines(tmp_path):
    with simulator(*TIMEOUT) as host:
        run = locust(host, tmp_path / "run", *RUN, "-t", "7s")
    assert run.returncode == 0, run.stdout + run.stderr
    lines = [line for line in run.stderr.splitlines() if " held" in line]
    assert len(lines) == 3, run.stderr  # at once, after five seconds, at the end
    assert all(len(line) <= 80 and line.isprintable() for line in lines)
    assert re.fullmatch(
        r"0:0[5-9], 0:0\d left: .*20 held.*; \d+ ended; 0 dropped \(0-\d.* %\); margin .+ m?s.*", lines[1]
    )
    summary = summary_of(tmp_path / "run")
    assert f"{summary['sessions']['started']} ended; 0 dropped" in lines[-1]


@pytest.mark.parametrize("bound", [("-t", "6s"), ("--chats", "40")])
def test_a_terminal_gets_a_bar_with_the_time_left(tmp_path, bound):
    with simulator(*TIMEOUT) as host:
        code, screen = in_terminal(locust_command(host, tmp_path / "run", *RUN, *bound), columns=80)
    assert code == 0, screen
    frames = [frame for frame in re.split(r"\r|\n", plain(screen)) if " held" in frame]
    assert len(frames) >= 4, screen
    assert all(len(frame.rstrip()) <= 80 for frame in frames)
    left = [int(m[1]) * 60 + int(m[2]) for m in re.finditer(r"(\d+):(\d\d) left", "\n".join(frames))]
    assert left[-1] <= 1 < left[0]
    assert sum("╸" in frame or "╺" in frame for frame in frames) >= 2, "no bar was seen growing"
    assert frames[-1].startswith("━" * 10 + " "), "the bar does not end full"
    assert "\x1b[?25l" not in screen.rsplit("\x1b[?25h", 1)[-1], "the cursor is hidden"
    ended = re.search(r"(\d+)(?: of 40)? ended", frames[-1])
    assert int(ended[1]) == summary_of(tmp_path / "run")["sessions"]["started"]


def test_prometheus_reads_the_whole_swarm_from_the_master_alone(tmp_path):
    port = free_port()
    with simulator(*TIMEOUT) as host:
        command = locust_command(
            host, tmp_path / "run", *RUN, "-t", "60s", "--processes", "2", *ports(), "--prometheus-port", port
        )
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV, start_new_session=True
        ) as run:
            # Workers inherit the option; had one of them the port, the master could not be read.
            wait_for(lambda: scrape(port).get(("chatload_generator_processes", ())) == 2)
            wait_for(lambda: scrape(port)["chatload_sessions_open", (("state", "held"),)] == 20)
            found = scrape(port)
            run.terminate()
            out, err = run.communicate(timeout=60)
    assert run.returncode == 0, out + err
    assert "prometheus" not in err
    assert found["chatload_run_active", ()] == 1
    started = found["chatload_sessions_started_total", ()]
    assert 20 <= started <= summary_of(tmp_path / "run")["sessions"]["started"]


def test_a_port_in_use_is_said_before_the_run(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken, simulator(*TIMEOUT) as host:
        port = taken.getsockname()[1]
        run = locust(host, tmp_path / "run", *RUN, "-t", "5s", "--prometheus-port", port)
    assert run.returncode == 2
    assert [line for line in run.stderr.splitlines() if "chatload" in line] == [
        f"chatload: --prometheus-port {port} cannot be opened on 127.0.0.1: Address already in use; choose another"
    ]
    assert not (tmp_path / "run").exists()


def in_terminal(command, columns, seconds=60):
    """Run a command with its stderr and stdin on a terminal so wide; gives its exit code and all it wrote there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {key: value for key, value in ENV.items() if key not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")}
    env["TERM"] = "xterm-256color"
    process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs, env=env)
    os.close(theirs)
    screen, until = b"", time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            if select.select([ours], [], [], 0.5)[0]:
                try:
                    screen += os.read(ours, 65536)
                except OSError:  # the other side is closed: Linux says EIO
                    break
        return process.wait(timeout=10), screen.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def plain(screen):
    """Without the terminal's control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
