"""`chatload forecast`: fits a run, shows how well the fit reproduces it, then forecasts other loads."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from chatload import __version__, exit_codes, units
from chatload.chat.policy import RefreshPolicy, make_policy
from chatload.click_types import ANY_NUMBER, INTEGER, QuantityType
from chatload.errors import UsageError
from chatload.features.forecast import view
from chatload.features.forecast.conditions import Conditions
from chatload.features.forecast.fit import FIT_READS, ForecastQuestion, Stage, fit, predict, reproduce
from chatload.features.forecast.replay import Replayer, remembering, replayers
from chatload.features.report.summary import refuse_unusable, summarize, summary_reads
from chatload.progress import CommandProgress
from chatload.render.output import deliver, write_json
from chatload.render.words import duration
from chatload.run.reader import RunReader

_MOST = 10_000_000
_SESSIONS = units.COUNT.within(1, _MOST, f"whole numbers from 1 to {_MOST}, such as 10000,50000")
_PROCESSES = units.COUNT.within(1, 256, "a whole number from 1 to 256")
_VIRTUAL_TIME = units.DURATION.within(1, 7 * 86400, "a duration from 1s to 168h, such as 1h, 30m or 90s")


def _customers(text: str) -> int | None:
    """Return the number of customers to hold; None for all."""
    if text == "all":
        return None
    try:
        return int(units.COUNT.read(text))
    except ValueError:
        raise UsageError(f"--customers {text}: expected a whole number from 1 on, or all") from None


@click.command(short_help="Forecast drops and request rate at other loads and intervals.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--sessions", type=QuantityType(_SESSIONS, listed=True), default="10000,100000,1000000",
    help="Concurrent sessions to forecast for. Default: 10000,100000,1000000.",
)  # fmt: skip
@click.option(
    "--refresh-interval",
    type=QuantityType(units.DURATION, listed=True),
    help="Refresh at these fixed intervals, such as 3s,10s.",
)
@click.option(
    "--refresh-fraction",
    type=QuantityType(units.SHARE, listed=True),
    help="Or: refresh after this part of the timeout.",
)
@click.option("--deadline", is_flag=True, help="Or: refresh as late as is safe. Default of all three: as in the run.")
@click.option(
    "--for", "for_s", type=QuantityType(_VIRTUAL_TIME), default="1h", help="Virtual time to forecast. Default: 1h."
)
@click.option(
    "--customers", type=_customers, default="2000", metavar="N|all",
    help="Customers to hold; they stand for all sessions. `all` holds every session. Default: 2000.",
)  # fmt: skip
@click.option(
    "--latency-growth", type=ANY_NUMBER, default=1.0,
    help="Round trips become X times as long when sessions become ten times as many. Default: 1, not at all.",
)  # fmt: skip
@click.option("--script", metavar="FILE", help="The run's script, if its file was moved.")
@click.option(
    "--processes", type=QuantityType(_PROCESSES),
    help="Processes. Default: one per core. The result is the same.",
)  # fmt: skip
@click.option("--seed", type=INTEGER, default=0, help="Seed of the random numbers. Default: 0.")
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="Write forecast.json and .md there.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write it as one HTML page too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def forecast(
    run: Path, as_json: bool, output: Path | None, html: Path | None, processes: int | None, **given: Any
) -> int:
    """Forecast drop rate, request rate and margin for other numbers of sessions and other refresh intervals.

    The virtual driver is fitted to RUN: round trips, failures, incidents, agents. First the run is replayed in virtual
    time and compared with what was measured. Forecasts follow only if the fit reproduces the run's request rate within
    3 % and its drop rate within its 95 % interval.

    Round trips are assumed to stay as they were measured, unless --latency-growth is given: a run shows nothing of
    loads above its own. docs/forecast.md says what is fitted, assumed, and not known.

    Exit codes: 0, 4 the fit does not reproduce the run or nothing was tested in it, so nothing is forecast,
    2 wrong usage, 3 the run is invalid or its books do not balance.

    \b
    Examples:
      chatload forecast reports/mine
      chatload forecast reports/mine --sessions 50000 --refresh-interval 3,10,30
      chatload forecast reports/mine --sessions 100000 --customers all --deadline
    """
    with CommandProgress() as progress, RunReader.open(run, progress.advance) as reader:
        progress.stage("reading the run", reader.work(summary_reads(reader) + FIT_READS))
        refuse_unusable(summarize(reader), str(run), "it cannot be used for a forecast; give another run")
        with replayers(processes or os.cpu_count() or 1, progress.advance) as replayer:
            report = _report(reader, str(run), replayer, given, progress.stage)
    markdown = None
    if output is not None:
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = f"{output}: cannot be made ({error.strerror or error})"
            raise UsageError(why, "choose another --output") from None
        write_json(report, output / "forecast.json")
        markdown = output / "forecast.md"
    deliver(view.forecast_document(report), report if as_json else None, markdown, html)
    return exit_codes.PASSED if report["goodness"]["reproduces"] else exit_codes.INCONCLUSIVE


def _report(reader: RunReader, name: str, replayer: Replayer, asked: dict[str, Any], stage: Stage) -> dict[str, Any]:
    """Return the published JSON (forecast.schema.json). Raises UsageError."""
    growth = asked["latency_growth"]
    if not 0.1 <= growth <= 100:
        raise UsageError(f"--latency-growth {growth:g} is outside 0.1 to 100", "give 2 for twice as long")
    fitted = fit(reader, replayer, asked["script"], stage)
    conditions, settings = fitted.conditions, fitted.settings
    policies = list(_policies(settings.policy, asked))
    goodness = reproduce(fitted, replayer, asked["seed"] + 100, stage)
    predictions, remembered = [], remembering(replayer)
    questions = [
        ForecastQuestion(count, policy, asked["for_s"], asked["customers"] or count, growth)
        for count in asked["sessions"]
        for policy in policies
    ]
    for number, question in enumerate(questions if goodness["reproduces"] else (), 1):
        stage(f"forecast {number} of {len(questions)}", min(question.customers, question.sessions), "customers")
        predictions.append(predict(fitted, question, remembered, asked["seed"] + 1000))
    report = {
        "schema_version": view.SCHEMA_VERSION,
        "chatload_version": __version__,
        "answer": "",
        "run": {"name": name, **asdict(fitted.measured)},
        "fitted": {
            "flex_disconnect_timeout_s": settings.timeout_s,
            "policy": settings.policy.kind,
            "interval_s": settings.policy.interval_s,
            "request_timeout_s": settings.request_timeout_s,
            "customers": len(fitted.starts),
            "agents_join_s": conditions.join_s,
            "agents_answer_s": conditions.answer_s,
            "dropped_answer": conditions.dropped_answer,
            "incidents": [
                dict(zip(("start_s", "end_s", "reaches"), incident, strict=True)) for incident in conditions.incidents
            ],
        },
        "goodness": goodness,
        "predictions": predictions,
        "assumed": list(_assumed(conditions, growth)),
        "unknown": list(view.UNKNOWN),
    }
    return {**report, "answer": view.answer(report)}


def _policies(own: RefreshPolicy, asked: dict[str, Any]) -> Iterator[RefreshPolicy]:
    """Yield the requested policies, else the run's own. An interval above the timeout is allowed."""
    timeout = own.timeout_s
    if not (asked["refresh_interval"] or asked["refresh_fraction"] or asked["deadline"]):
        yield own
    for interval in asked["refresh_interval"] or ():
        yield make_policy("fixed", timeout, interval, allow_late=True)
    for fraction in asked["refresh_fraction"] or ():
        yield make_policy("fraction", timeout, None, fraction, allow_late=True)
    if asked["deadline"]:
        yield make_policy("deadline", timeout)


def _assumed(conditions: Conditions, growth: float) -> Iterator[str]:
    measured = f"as they were measured with {conditions.sessions} sessions open"
    if growth == 1.0:
        yield f"round trips stay {measured}, whatever the load"
    else:
        yield f"round trips, {measured}, grow {growth:g} times for ten times the sessions, as --latency-growth says"
    yield "the server sees a request half a round trip after it left"
    yield "a failed request did not reach the chat: the reading in which most are dropped"
    for start, _, reaches in conditions.incidents:
        if reaches:
            yield (
                f"but {100 * reaches:.0f} % of those in the incident from {start:.1f} s on did, at the latest when "
                "they were given up: found by replaying, so that the incident drops as many chats as in the run"
            )
    if conditions.incidents:
        spans = ", ".join(f"{start:.1f} to {end:.1f} s" for start, end, _ in conditions.incidents)
        yield f"incidents come again every {duration(conditions.length_s)} as they came in the run: {spans}"
    yield "outside incidents, requests fail by chance, independently of each other, as often as in the run"
    if conditions.join_s is not None and conditions.answer_s is not None:
        yield (
            f"agents join after about {conditions.join_s:.2g} s and answer after about {conditions.answer_s:.2g} s: "
            "found by replaying, so that customers send and receive as many messages as in the run"
        )
    yield "the generator's own lateness is left out, and the time it takes to connect"
