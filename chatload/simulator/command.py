"""`chatload simulator`: the chat server in a box, alone."""

from __future__ import annotations

from typing import cast

import click

from chatload.errors import UsageError
from chatload.simulator.config import SimulatorConfig
from chatload.simulator.faults import FaultPlan

MIN_TIMEOUT_S, MAX_TIMEOUT_S = 1.0, 1_728_000.0
_RANGE = (float, float)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, help="Port; 0 takes any free one.")
@click.option(
    "--flex-disconnect-timeout",
    default=45.0,
    show_default=True,
    metavar="S",
    help="Drop a chat silent for longer, 1 to 1728000 s.",
)
@click.option("--faults", metavar="FILE", help="What goes wrong, as TOML: [[fault]] kind = ..., chance = ...")
@click.option("--service", default="default", show_default=True, help="The one service name served.")
@click.option(
    "--agent-wait",
    type=_RANGE,
    default=(0.5, 2.0),
    show_default=True,
    metavar="LOW HIGH",
    help="An agent joins after this long, s.",
)
@click.option(
    "--agent-answer",
    type=_RANGE,
    default=(0.5, 2.0),
    show_default=True,
    metavar="LOW HIGH",
    help="An agent answers a message after this long, s.",
)
@click.option("--agent-leaves-chance", default=0.0, show_default=True, help="Chats whose agent ends them, 0 to 1.")
@click.option(
    "--agent-leaves-after",
    type=_RANGE,
    default=(5.0, 30.0),
    show_default=True,
    metavar="LOW HIGH",
    help="How long after joining, s.",
)
@click.option(
    "--dropped-answer",
    type=click.Choice(["0/true", "2"]),
    default="0/true",
    show_default=True,
    help="What a dropped chat answers to its next request.",
)
@click.option(
    "--keeps-ended",
    default=60.0,
    show_default=True,
    metavar="S",
    help="An ended chat still answers 0/true with its transcript for this long.",
)
@click.option("--limit-for-sessions", type=int, help="Refuse chats above this many. Default: no limit.")
@click.option(
    "--idle-alert",
    default=255.0,
    show_default=True,
    metavar="S",
    help="Inactivity control: alert when nobody has spoken for this long; 0 is off.",
)
@click.option(
    "--idle-close",
    default=45.0,
    show_default=True,
    metavar="S",
    help="... and close this long after; 0 is off.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of what agents do.")
def simulator(host: str, port: int, faults: str | None, flex_disconnect_timeout: float, **options: object) -> None:
    """A chat service that speaks GMS Chat API Version 2, with agents, limits and faults.

    Prints "listening on http://HOST:PORT" first, then serves until Ctrl-C. GET /simulator/ledger
    streams what it saw of every chat, as NDJSON: each contact, when and why the chat ended.
    """
    if not MIN_TIMEOUT_S <= flex_disconnect_timeout <= MAX_TIMEOUT_S:
        raise UsageError(f"--flex-disconnect-timeout {flex_disconnect_timeout:g} is outside 1..1728000 s")
    config = _config(flex_disconnect_timeout, options)
    plan = FaultPlan.load(faults) if faults else FaultPlan()
    from chatload.simulator.shell import run

    run(config, plan, host, port, lambda line: click.echo(line, nl=True))


def _config(timeout_s: float, options: dict[str, object]) -> SimulatorConfig:
    renamed = {
        "agent_wait": "agent_wait_s",
        "agent_answer": "agent_answer_s",
        "agent_leaves_after": "agent_leaves_after_s",
        "keeps_ended": "keeps_ended_s",
        "idle_alert": "idle_alert_s",
        "idle_close": "idle_close_s",
    }
    for name in ("agent_wait", "agent_answer", "agent_leaves_after"):
        low, high = cast(tuple[float, float], options[name])
        if not 0 <= low <= high < float("inf"):
            raise UsageError(f"--{name.replace('_', '-')} {low:g} {high:g}", "expected LOW HIGH, seconds, LOW first")
    for name in ("keeps_ended", "idle_alert", "idle_close"):
        seconds = cast(float, options[name])
        if not 0 <= seconds < float("inf"):
            raise UsageError(f"--{name.replace('_', '-')} {seconds:g}", "expected seconds, not below 0")
    if not 0 <= cast(float, options["agent_leaves_chance"]) <= 1:
        raise UsageError(f"--agent-leaves-chance {options['agent_leaves_chance']}", "expected 0 to 1")
    limit = cast(int | None, options["limit_for_sessions"])
    if limit is not None and limit < 1:
        raise UsageError(f"--limit-for-sessions {limit}", "expected 1 or more")
    values = {renamed.get(name, name): value for name, value in options.items()}
    return SimulatorConfig(flex_disconnect_timeout_s=timeout_s, **values)  # type: ignore[arg-type]
