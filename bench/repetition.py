"""One repetition: a simulator on one core, a tool on the other, and what the ledger and the kernel say of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench import accounting, certificate, ledger, stacks
from bench.figures import percentiles
from bench.ledger import Ledger
from bench.machine import Sample, look
from bench.noise import Noise
from bench.processes import end, running
from bench.tools import ROOT, TOOLS, WRK, Place, Tool, environment
from bench.work import Step, Work

#: A tool may take so much longer than it was asked to, for its beginning and its end (seconds).
_GRACE_S = 60.0
#: A look takes 9 ms of the server's core (seconds).
_LOOKS_EVERY_S = 1.0
#: A server under full load that got less of its core than this shared it.
_WHOLE_CORE = 0.95
_MB = 1e6

Row = dict[str, Any]


def measure(step: Step, cores: tuple[int, int]) -> Row:
    """The figures of one repetition; one that could not be carried out has a `problem` and no figures."""
    tool, work = TOOLS[step.tool], step.work
    row: Row = {"tool": step.tool, "work": work.to_dict(), "repetition": step.repetition}
    problem = tool.missing()
    if problem:
        return {**row, "problem": problem}
    carry_out = _alone if tool.alone else _carry_out
    with TemporaryDirectory(prefix="chatload-bench-") as name:
        try:
            return {**row, **carry_out(tool, work, Path(name), cores)}
        except _NotMeasured as why:
            return {**row, "problem": str(why)}


class _NotMeasured(Exception):
    """Why there is no figure."""


def _carry_out(tool: Tool, work: Work, folder: Path, cores: tuple[int, int]) -> Row:
    pems = certificate.make(folder) if work.tls else None
    authority = None if pems is None else pems.authority
    server_said, tool_said = folder / "simulator.txt", folder / "tool.txt"
    with ExitStack() as stack:
        server = stack.enter_context(running(_simulator(work, pems), cores[0], server_said, {"PYTHONPATH": str(ROOT)}))
        place = Place(_listening(server, server_said), folder, authority or folder)
        if tool.name == WRK:
            _open_chats(place, work.chats)
        around = environment(work, place)
        generator = stack.enter_context(running(tool.command(work, place), cores[1], tool_said, around))
        begin_profile = partial(stacks.record, stack, generator.pid, work, folder, cores[0])
        idle = partial(_all_gone, place.host, authority) if tool.lingers else _never
        samples = _watch(generator, server, work, begin_profile, idle)
        code = generator.poll()  # None: it is ended by us, and how is no fault of its own
        late = code is None and not tool.lingers
        end(generator)
        book = ledger.read(ledger.fetch(place.host, authority))
    if tool.name == WRK and len(book.refreshes):
        book = book._replace(opened=np.full(work.chats, book.refreshes[0]))
    found = _figures(tool, work, book, samples, folder)
    if "problem" in found:
        found["problem"] += _last_words(tool_said)
    return {**found, "exit_code": code, "ended_by_us": late, "ends": dict(book.ends)}


def _alone(tool: Tool, work: Work, folder: Path, cores: tuple[int, int]) -> Row:
    """What a tool says that brings its own server."""
    command = [*tool.command(work, Place("", folder, folder)), "--cores", *map(str, cores)]
    said = folder / "tool.txt"
    with running(command, cores[0], said, {"PYTHONPATH": str(ROOT)}) as process:
        with suppress(subprocess.TimeoutExpired):
            process.wait(work.steady_s + work.chats / 200 + _GRACE_S)
        code = process.poll()
    lines = [line for line in said.read_text().splitlines() if line.startswith("{")]
    if code or not lines:
        raise _NotMeasured(f"{tool.label} did not say anything:{_last_words(said)}")
    found = json.loads(lines[-1])
    if found.get("invalid"):
        raise _NotMeasured("chats that were refreshed have ended, or requests failed")
    got = found.get("cores")
    reasons = [] if got is None or got >= _WHOLE_CORE else [f"it got {got:.2f} of its core"]
    noise = {"quiet": not reasons, "reasons": reasons}
    return {"speed": found, "noise": noise, "exit_code": code, "ended_by_us": code is None, "wrong_answers": 0}


def _simulator(work: Work, pems: certificate.Pems | None) -> list[str]:
    command = [sys.executable, "-m", "chatload", "simulator", "--port", "0", "--no-agents", "--idle-alert", "0"]
    command += ["--flex-disconnect-timeout", f"{work.timeout_s:g}"]
    command += ["--key-rotates-answers", "1"] if work.fresh else []
    return command if pems is None else [*command, "--tls-cert", str(pems.certificate), "--tls-key", str(pems.key)]


def _listening(server: subprocess.Popen[bytes], said: Path) -> str:
    """The simulator's URL, once it listens."""
    until = time.monotonic() + 30
    while time.monotonic() < until and server.poll() is None:
        line, whole, _ = said.read_text().partition("\n")
        if whole and line.startswith("listening on "):
            return line.split()[-1]
        time.sleep(0.05)
    raise _NotMeasured(f"the simulator did not start:{_last_words(said)}")


def _last_words(said: Path) -> str:
    lines = said.read_text(errors="replace").strip().splitlines()
    return f" {lines[-1][:200]}" if lines else ""


def _open_chats(place: Place, chats: int) -> None:
    """The chats that wrk refreshes, for it can open none."""
    base = f"{place.host}/genesys/2/chat/default"
    with (place.folder / "keys.tsv").open("w") as stream:
        for _ in range(chats):
            with urllib.request.urlopen(base, data=b"nickname=chatload&subject=load+test", timeout=10) as answer:
                body = json.load(answer)
            form = {name: body[name] for name in ("userId", "secureKey", "alias")}
            form["transcriptPosition"] = body["nextPosition"]
            path = urllib.parse.urlsplit(f"{base}/{body['chatId']}/refresh").path
            stream.write(f"{path}\t{urllib.parse.urlencode(form)}\n")


def _watch(
    generator: subprocess.Popen[bytes],
    server: subprocess.Popen[bytes],
    work: Work,
    when_steady: Callable[[], None],
    idle: Callable[[], bool],
) -> list[Sample]:
    """Looks until the tool ends, or is idle after the time it was given, or will not end. `when_steady` is called once,
    in the steady part, for a profile."""
    began, samples, told = time.monotonic(), [], not work.profile
    planned_s = work.ramp_s + work.hold_s
    with ThreadPoolExecutor(1, initializer=_give_way if work.interval_s else None) as looker:
        while generator.poll() is None and (now := time.monotonic()) < began + planned_s + _GRACE_S:
            if now > began + planned_s and idle():
                break
            samples.append(looker.submit(look, generator.pid, server.pid).result())
            if not told and time.monotonic() > began + stacks.BEGIN_S + work.ramp_s + work.settle_s:
                told = True
                when_steady()
            time.sleep(_LOOKS_EVERY_S)
    return samples


def _give_way() -> None:
    """This thread looks on, on the server's core: only when the server has nothing to do, for its delays are in the
    gaps. Not back to back, where it never has."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _all_gone(host: str, authority: Path | None) -> bool:
    return ledger.open_chats(host, authority) == 0


def _never() -> bool:
    return False


def _figures(tool: Tool, work: Work, book: Ledger, samples: list[Sample], folder: Path) -> Row:
    window = ledger.window(book, work.chats, work.ramp_s, work.steady_s, work.settle_s)
    opened = len(book.opened)
    if window is None or len(samples) < 2 or samples[-1].at < window.start + 1:
        return {"problem": f"{opened} of {work.chats} chats were opened, and there was no steady part:"}
    window = window._replace(end=min(window.end, samples[-1].at))
    used = _Used(samples, window.start, window.end)
    refreshes = ledger.within(book, window.start, window.end)
    interval = work.interval_s
    row: Row = {
        "chats": window.chats,
        "whole": window.whole,
        "window_s": used.wall_s,
        "refreshes": refreshes,
        "refreshes_per_s": refreshes / used.wall_s,
        "refreshes_per_cpu_s": refreshes / used.generator_cpu_s if used.generator_cpu_s else None,
        "cpu_us_per_refresh": 1e6 * used.generator_cpu_s / refreshes if refreshes else None,
        "cpu_share": used.generator_cpu_s / used.wall_s,
        "server_cpu_share": used.server_cpu_s / used.wall_s,
        "rss_mb": used.generator_rss / _MB,
        "rss_peak_mb": max(sample.generator.rss for sample in samples) / _MB,
        "start_cpu_ms_per_chat": _start_cpu_ms(book, samples),
        "noise": used.noise(tool.threaded).to_dict(),
    }
    if interval:
        row["gap_error_s"] = {
            "steady": percentiles(ledger.gap_errors(book, interval, window.start, window.end)),
            "with_ramp": percentiles(ledger.gap_errors(book, interval, end=window.end)),
        }
        row["worst_pause_s"] = _worst_pause(folder / "beat.ndjson", book.opened[0], window.start - work.settle_s)
    wrong = folder / "errors.txt"
    row["wrong_answers"] = len(wrong.read_text().splitlines()) if wrong.exists() else 0
    if said := _json(folder / "run" / "summary.json"):
        row["own_lateness_s"] = said["refresh"]["lateness_s"]
        row["books_balanced"] = said["books"]["balanced"]
    if work.profile:
        row["profile"] = stacks.shares(folder / stacks.FILE)
    if work.twice:
        row["accounting"] = accounting.read(folder / accounting.FILE, folder / "rows")
    if work.parts:
        row["parts"] = _json(folder / "parts.json")
    if work.keep:
        row["drift"] = _drift(folder / "run")
    return row


def _json(file: Path) -> Any:
    """What a file holds; None where there is none."""
    return json.loads(file.read_text()) if file.exists() else None


def _start_cpu_ms(book: Ledger, samples: list[Sample]) -> float | None:
    """CPU time for each chat opened after the first look that saw one: what the process needs to begin is not in it."""
    first = next((sample.at for sample in samples if sample.at >= book.opened[0]), None)
    if first is None:
        return None
    chats = int((book.opened > first).sum())
    return 1e3 * _Used(samples, first, book.opened[-1]).generator_cpu_s / chats if chats else None


class _Used:
    """What was used between two instants, from looks on both sides of each."""

    def __init__(self, samples: list[Sample], start: float, end_: float) -> None:
        self._at = [sample.at for sample in samples]
        self._samples, self._edges = samples, (start, end_)
        self.wall_s = end_ - start
        self.generator_cpu_s = self._between(lambda sample: sample.generator.cpu_s)
        self.server_cpu_s = self._between(lambda sample: sample.server.cpu_s)
        inside = [sample.generator.rss for sample in samples if start <= sample.at <= end_]
        self.generator_rss = float(np.median(inside)) if inside else 0.0

    def _between(self, value: Callable[[Sample], float]) -> float:
        first, last = np.interp(self._edges, self._at, [value(sample) for sample in self._samples])
        return float(last - first)

    def noise(self, threaded: bool) -> Noise:
        """What disturbed it."""
        waited = self._between(lambda sample: sample.generator.waited_s) / self.wall_s
        return Noise(
            None if threaded else max(0.0, waited),
            max(0.0, self._between(lambda sample: sample.server.waited_s) / self.wall_s),
            max(0.0, self._between(lambda sample: sample.foreign_s) / self.wall_s),
            max(0.0, self._between(lambda sample: sample.steal_s) / self.wall_s),
        )


def _worst_pause(beats: Path, first: float, last: float) -> float | None:
    """The latest beat while chats were being opened, between two instants; None of a tool without a beat. A pause that
    ended before the first of them is the tool's beginning, and delays none."""
    if not beats.exists():
        return None
    lines = [json.loads(line) for line in beats.read_text().splitlines() if line.endswith("]")]
    return max((late for came, late in lines if first <= came and came - late <= last), default=None)


def _drift(run: Path) -> Any:
    """What `chatload drift` says of a run."""
    command = [sys.executable, "-m", "chatload", "drift", str(run), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=120)
    return json.loads(done.stdout) if done.returncode == 0 else {"why_not": done.stderr.strip()}
