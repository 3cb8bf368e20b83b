"""`chatload drift`: what changes slowly in a long run, while it goes on or after it."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Say what changes slowly in RUN: latency, drops, memory.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as in summary.json.")
def drift(run: Path, as_json: bool) -> None:
    """Say what changes slowly in RUN: latency tails, drops, refusals, margin, lateness, memory.

    RUN may still be active. Each slope has a 95 % interval. A drift is claimed only if it is significant among all
    metrics and all checks together (a run without drift has a false alarm with a chance of 5 % at most), and if it
    is large enough to matter. Jumps (a restart, a failover) are reported separately. Needs 10 minutes of steady load.
    Exits 4 if the run has ended and no session of it was accepted.

    \b
    Example: locust -f locustfiles/soak.py --run-dir reports/soak ... &
             chatload drift reports/soak
    """
    from chatload.features.report.drift_view import drift_document
    from chatload.features.report.summary import refuse_untested, summarize
    from chatload.render.output import deliver
    from chatload.run.reader import RunReader

    with RunReader.open(run) as reader:
        summary = summarize(reader)
        if reader.ended_at is not None:
            refuse_untested(summary, str(run))
    found = summary["drift"]
    deliver(drift_document(found), found if as_json else None)
