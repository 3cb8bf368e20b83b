"""`chatload demo`: a chat server with faults, real Locust users on it, and the check against its ledger."""

import os
import sys
from pathlib import Path

import click

from chatload import exit_codes
from chatload.children import run_child
from chatload.click_types import DURATION
from chatload.errors import UserInterruptError
from chatload.features.workloads import headless_run
from chatload.run.schema import RUN_FILE
from chatload.run.writer import refuse_unwritable, replacing
from chatload.simulator.command import Simulator
from chatload.thresholds.gate import make_gate

HERE = Path(__file__).parent
TIMEOUT_S = 2.0


@click.command(short_help="Hold chats on a built-in server, and check every verdict.")
@click.option("--run-dir", type=click.Path(path_type=Path), metavar="DIR", help="Default: reports/<time>-demo.")
@click.option("--no-faults", is_flag=True, help="Use a server without faults, and 200 customers.")
@click.option("--gate", type=click.Choice(["standard"]), help="Thresholds that any chat service should meet.")
@click.option("--threshold", "thresholds", multiple=True, metavar="EXPR", help="What must hold; repeatable.")
@click.option("--seconds", type=DURATION, default=18, show_default=True, help="How long chats are held.")
def demo(run_dir: Path | None, no_faults: bool, gate: str | None, thresholds: tuple[str, ...], seconds: float) -> int:
    """Hold chats on a built-in chat server for about 20 seconds and check every verdict.

    Starts the simulator with a short flex-disconnect-timeout and a few faults (an outage among
    them), runs headless Locust on it, prints what became of every chat, and compares that with the
    server's own ledger, session by session. The run's folder is kept.

    \b
    Example: chatload demo --no-faults --gate standard
    """
    from chatload.swarm.plan import new_run_dir

    make_gate(thresholds, named=gate or "")  # refuses a threshold that is wrong before anything is started
    run_dir = new_run_dir("demo") if run_dir is None else run_dir
    refuse_unwritable(run_dir)
    users = 200 if no_faults else 40  # without faults, enough sessions for the standard gate
    options = [
        *("--flex-disconnect-timeout", TIMEOUT_S, *(() if no_faults else ("--faults", HERE / "faults.toml"))),
        *("--agent-wait", 0.2, 1.0, "--agent-answer", 0.2, 0.8),
        *("--agent-leaves-chance", 0.15, "--agent-leaves-after", 1, 5),
    ]
    with Simulator(*options) as server:
        faults, outage = ("no faults", "") if no_faults else ("faults as in faults.toml", ", an outage comes after 9 s")
        click.echo(f"simulator: {server.url}, flex-disconnect-timeout {TIMEOUT_S:g} s, {faults}")
        click.echo(f"locust: {users} users hold chats for {seconds:g} s{outage}")
        judged = [*(("--gate", gate) if gate else ()), *(part for text in thresholds for part in ("--threshold", text))]
        load = (
            *("--host", server.url, "-u", str(users), "-r", "20", "-t", f"{seconds:g}s"),
            *("--flex-disconnect-timeout", f"{TIMEOUT_S:g}", "--script", str(HERE / "script.toml")),
            *("--run-dir", str(run_dir), *judged),
        )
        done = run_child(headless_run("chat", *load), shown=True)
        if not (run_dir / RUN_FILE).exists():
            if done.asked_by:
                raise UserInterruptError("interrupted before the run began")
            return done.exit_code or exit_codes.INVALID  # Locust refused the run and has said why
        ledger = run_dir / "ledger.ndjson"
        with replacing(ledger, "wb") as stream:
            stream.write(server.ledger())
    click.echo("\nagainst the server's ledger:")
    reconcile = (sys.executable, "-m", "chatload", "reconcile", str(run_dir), "--ledger", str(ledger))
    reconciled = run_child(reconcile, shown=True)
    if done.asked_by or reconciled.asked_by:
        raise UserInterruptError("interrupted", f"the run so far is in {run_dir}")
    page = run_dir / "report.html"
    if page.exists():
        click.echo(f"\nopen {page} in a browser")
        screen = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        if sys.stdout.isatty() and screen:
            click.launch(str(page.absolute()))
    return done.exit_code or reconciled.exit_code
