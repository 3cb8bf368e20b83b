"""Makes a page of each kind that chatload writes, of run files made in process: python -m tests.browser.page_kinds DIR.

None of them needs a server or a process of its own, so a test can have them all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from chatload import cli
from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript, Distribution
from chatload.chat.settings import SessionSettings
from chatload.features.capacity.view import capacity_document
from chatload.features.forecast import fit as fitting
from chatload.features.probe.measurement import probe_document
from chatload.features.report.page import write_report
from chatload.features.report.summary import summarize
from chatload.features.signoff.compute import sign_off
from chatload.features.signoff.view import signoff_document
from chatload.features.tune.command import read
from chatload.features.tune.view import tune_document
from chatload.render.document import Document
from chatload.render.html import html
from chatload.run.books import Books
from chatload.run.reader import RunReader
from chatload.run.settings import ClassSettings, RunSettings
from chatload.run.windows import Window
from chatload.run.writer import RunWriter
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import Fault, FaultPlan
from chatload.simulator.model.service import ChatService
from chatload.thresholds.gate import make_gate
from chatload.virtual.network import NetworkModel, Stalls
from tests.run_files import add_sessions, put_books
from tests.unit import test_capacity_report, test_compare_command, test_drift, test_history_command
from tests.unit import test_probe_command as probe_side
from tests.unit.campaign_steps import FILE, PROOF, RESULTS, StagedCampaign
from tests.unit.test_tuning import sessions
from tests.unit.test_untested_runs import make_run as untested_run
from tests.virtual.forecast_runs import record
from tests.virtual.million import make as run_with_drops
from tests.virtual.recorded import EPOCH, RecordingSwarm
from tests.virtual.sweeps import write_run

#: What a proof has to show, with the longest grounds.
PROOF_THRESHOLDS = [
    {"expression": f"{name} < 1%", "result": "pass", "why": "0 of 160 sessions; the rate is below 1 % " * 6}
    for name in ("dropped.rate", "unserved.rate", "failed.rate", "GetMessages.unsuccessful.rate", "incident.share",
                 "dropped.per_chat_hour", "GetMessages.latency.p95")
]  # fmt: skip
_NAMED = {
    "host": "https://chat.example.com", "refresh_policy": "fixed", "refresh_interval": 15.0, "spawn_rate": 10.0,
    "request_timeout": 10.0, "run_time": 300.0, "dialect": "gms-v2", "service": "customer-support",
}  # fmt: skip


def command(*arguments: object) -> None:
    """Run a command of chatload in this process, whatever its exit code."""
    with suppress(SystemExit):
        cli.run([str(argument) for argument in arguments])


def _chats(chat_s: float, **script: object) -> SessionSettings:
    customers = CustomerScript(chat_length=Distribution("exponential", chat_s), **script)
    return SessionSettings(make_policy("fixed", 45.0, 15.0), 10.0, customers)


def _swarm(folder: Path, *faults: Fault, users: int = 60, run_s: float = 300.0, **server: object) -> RecordingSwarm:
    """A run of chats of a minute with a timeout of 45 s."""
    config = SimulatorConfig(**{"agent_leaves_chance": 0.1, **server})
    return RecordingSwarm(
        folder, _chats(60.0), ChatService(config, FaultPlan(faults, 1)), named=_NAMED, users=users, chats=10**6,
        seed=1, stop_at=run_s, spread_s=20.0, network=NetworkModel(0.02, 0.6),
    )  # fmt: skip


def _report(run: Path, *thresholds: str) -> Path:
    with RunReader.open(run) as reader:
        return write_report(reader, summarize(reader, make_gate(thresholds) if thresholds else None))


def passed(folder: Path) -> Path:
    """The report of a run without a fault, which passes."""
    _swarm(folder / "run").run()
    return _report(folder / "run", "dropped.rate < 5%", "GetMessages.latency.p95 < 500ms", "lateness.p99 < 1s")


def failed(folder: Path) -> Path:
    """The report of a run with drops of several blames and failed thresholds."""
    run_with_drops(folder / "run", 800)
    return _report(folder / "run", "dropped_late.rate < 0.1%", "lateness.p99 < 1s", "refused.rate < 0.05%")


def empty(folder: Path) -> Path:
    """The report of a run that never began."""
    with RunWriter.create(folder / "run", RunSettings()):
        pass
    return _report(folder / "run")


def nothing_tested(folder: Path) -> Path:
    """The report of a run in which every chat was refused."""
    return _report(untested_run(folder / "run"), "dropped.rate < 1%")


class _Killed(RecordingSwarm):
    """A swarm whose process is killed before it could finish the run file."""

    def run(self) -> None:
        """Run until `stop_at`, and leave the run file as it is then."""
        self.at(119.5, self._leave)
        with suppress(InterruptedError):
            super().run()

    def _leave(self) -> None:
        self._flush()
        put_books(self._writer, "virtual", self.books)
        self._writer.close()
        raise InterruptedError


def killed(folder: Path) -> Path:
    """The report of a run whose process was killed."""
    service = ChatService(SimulatorConfig(), FaultPlan((), 1))
    _Killed(folder / "run", _chats(60.0), service, named=_NAMED, users=40, chats=10**6, seed=1, spread_s=20.0).run()
    return _report(folder / "run", "dropped.rate < 5%")


def user_classes(folder: Path) -> Path:
    """The report of a run with two user classes and without thresholds."""
    settings = {"Hasty": _chats(60.0), "Careful": replace(_chats(90.0), policy=make_policy("fixed", 45.0, 40.0))}
    classes = tuple(
        ClassSettings(name, persona="strict", refresh_policy="fixed", refresh_interval=made.policy.interval_s)
        for name, made in settings.items()
    )
    run = RunSettings(name="mix", users=40, classes=classes, **{**_NAMED, "flex_disconnect_timeout": 45.0})
    windows: list[Window] = []
    with RunWriter.create(folder / "run", run, EPOCH) as writer:
        for seed, (name, made) in enumerate(settings.items()):
            service = ChatService(SimulatorConfig(), FaultPlan((Fault("slow", chance=0.01, delay_s=4.0),), seed))
            swarm = RecordingSwarm(
                folder / name, made, service, users=20, chats=10**6, seed=seed, stop_at=200.0, spread_s=20.0,
                network=NetworkModel(0.02, 0.6, loss=0.02), stalls=Stalls(()),
            )  # fmt: skip
            swarm.run()
            with RunReader.open(folder / name) as reader:
                add_sessions(writer, [replace(session, user_class=name) for session in reader.sessions()])
                mine = list(reader.windows())
            for one, other in zip(windows, mine, strict=False):
                one.open += other.open
                one.books.merge(other.books)
            windows = windows or mine
            put_books(writer, "virtual", swarm.books, name)
        writer.add_windows(windows)
        writer.finish(EPOCH + 210.0)
    return _report(folder / "run")


def _written(document: Document, folder: Path) -> Path:
    file = folder / "page.html"
    file.write_text(html(document))
    return file


def capacity(folder: Path, ending: str = "knee") -> Path:
    """The page of a capacity search. ending: see `test_capacity_report.WORLDS`."""
    facts = test_capacity_report.found(ending)
    # The sessions wanted and open, once a second.
    facts["course"] = [
        (second, step["load"], round(step["load"] * min(1.0, (second - step["begun_s"]) / 3)))
        for step in facts["steps"]
        for second in range(int(step["begun_s"]) + 1, int(step["ended_s"]) + 1)
    ]
    return _written(capacity_document(facts), folder)


def capacity_undecided(folder: Path) -> Path:
    """The page of a capacity search that the generator's ceiling ended."""
    return capacity(folder, "undecided")


def plan(folder: Path) -> Path:
    """The page of a plan that rests on a run, with agents and a demand that is not certain."""
    _swarm(folder / "run").run()
    demand = (
        "--chats-per-hour",
        4000,
        "--rate-cv",
        "5%",
        "--growth",
        "20%",
        "--handling-time",
        "8m",
        "--agents",
        560,
        "--patience",
        "3m",
        "--run",
        folder / "run",
    )
    command("plan", *demand, "--html", folder / "page.html")
    return folder / "page.html"


def comparison(folder: Path) -> Path:
    """The page of a comparison that shows a change for the worse."""
    service, worse = test_compare_command.SERVICE, test_compare_command.WORSE
    for i in range(5):
        test_compare_command.make_run(folder / f"base{i}", service, 100 + i, at=1000.0 + 10 * i)
        test_compare_command.make_run(folder / f"slow{i}", worse, 300 + i, at=1005.0 + 10 * i)
    sides = [[folder / f"{side}{i}" for i in range(5)] for side in ("base", "slow")]
    command("compare", *sides[0], "--html", folder / "page.html", "--", *sides[1])
    return folder / "page.html"


def schedule(folder: Path) -> Path:
    """The page of a schedule of runs to compare."""
    command("compare", "--plan", "--runs", 5, "--html", folder / "page.html")
    return folder / "page.html"


def tune(folder: Path) -> Path:
    """The page of a refresh sweep."""
    arms = {
        0.5: {"completed": 300},
        0.9: {"completed": 290, "late": 3, "unproven": 7},
        1.02: {"completed": 9, "late": 99},
    }
    records = [record for part, arm in arms.items() for record in sessions(f"{part:g}", **arm)]
    run = write_run(folder / "run", records, tuple(arms), timeout_s=10.0)
    return _written(tune_document(read(run, 0.01, 0.95)), folder)


def drift(folder: Path) -> Path:
    """The page of a run that gets slower, in a jump and by the hour."""
    rows, books = test_drift.windows(latency=lambda h: 0.1 + 0.012 * h + 0.1 * (h > 3)), Books()
    for row in rows:
        books.merge(Books.from_dict(row.books.to_dict()))
        row.start, row.end = row.start + EPOCH, row.end + EPOCH
    chats = [replace(chat, verdict="completed") for chat in sessions("", completed=1)]
    for chat in chats:
        books.started += 1
        books.session_ended(chat)
    run = RunSettings(name="soak", flex_disconnect_timeout=45.0)
    with RunWriter.create(folder / "run", run, started_at=EPOCH) as writer:
        writer.add_windows(rows)
        add_sessions(writer, chats)
        put_books(writer, "local", books)
        writer.finish(rows[-1].end)
    command("drift", folder / "run", "--html", folder / "page.html")
    return folder / "page.html"


def history(folder: Path) -> Path:
    """The page of 18 nights, then 12 on a slower service."""
    side = test_history_command
    for night in range(30):
        side.make_run(folder / f"night{night:02}", side.SERVICE if night < 18 else side.SLOWER, night)
    command("history", folder, "--html", folder / "page.html")
    return folder / "page.html"


def probe(folder: Path) -> Path:
    """The page of a probe."""
    found = probe_side.measured({"flex_disconnect_timeout_s": 5.0, "sweep_interval_s": 2.0}, configured_s=45.0)
    return _written(probe_document(found), folder)


def forecast(folder: Path) -> Path:
    """The page of a forecast for two loads and two intervals."""
    record(folder / "run", ("fixed", 5.0, 2.0), users=10, run_s=40.0, chat_s=10.0,
           faults=[Fault("status_1", chance=0.02)])  # fmt: skip
    requests, fitting.FITTING_REQUESTS = fitting.FITTING_REQUESTS, 1_500
    try:
        quick = ("--processes", 1, "--customers", 20, "--for", "30s", "--html", folder / "page.html")
        command("forecast", folder / "run", "--sessions", "1000,2000", "--refresh-interval", "1,4", *quick)
    finally:
        fitting.FITTING_REQUESTS = requests
    return folder / "page.html"


def signoff(folder: Path) -> Path:
    """The page of a campaign that is to be signed."""
    staged = StagedCampaign(folder / "peak", f'signers = ["Head of contact centre", "b", "c", "d", "e"]\n{FILE}')
    staged.results[PROOF] = {**RESULTS[PROOF], "thresholds": PROOF_THRESHOLDS}
    staged.run()
    return _written(signoff_document(sign_off(folder / "peak")), folder)


#: What the badge of each page says.
BADGES = {
    "passed": "passed", "failed": "failed", "empty": "invalid", "killed": "invalid",
    "nothing tested": "nothing tested", "user classes": "not judged", "capacity": "knee",
    "capacity undecided": "no claim", "plan": "plan", "comparison": "worse",
    "schedule": "schedule", "tune": "recommended", "drift": "drift", "history": "worse", "probe": "measured",
    "forecast": "forecast", "signoff": "proven",
}  # fmt: skip
#: Pages that have nothing to draw.
WITHOUT_CHART = {"empty", "nothing tested", "schedule", "signoff"}
KINDS: dict[str, Callable[[Path], Path]] = {
    made.__name__.replace("_", " "): made
    for made in (
        passed, failed, empty, nothing_tested, killed, user_classes, capacity, capacity_undecided, plan, comparison,
        schedule, tune, drift, history, probe, forecast, signoff,
    )
}  # fmt: skip

if __name__ == "__main__":
    import time

    for name, make in KINDS.items():
        if len(sys.argv) > 2 and name not in sys.argv[2:]:
            continue
        began, folder = time.process_time(), Path(sys.argv[1]) / name.replace(" ", "-")
        folder.mkdir(parents=True)
        print(f"{name}: {make(folder)}, {time.process_time() - began:.1f} s of CPU", flush=True)
