"""make bench: chatload beside other load generators, doing the same work, in one run on two cores."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path

import click

from bench import measures, report
from bench.machine import SERVER_CORE

_QUICK = measures.Scale(repeat=1, closed_s=4.0, hold_s=8.0, part=0.02)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", default="", metavar="NAME,...", help=f"Measure these only: {', '.join(measures.EVERY)}.")
@click.option("--repeat", default=3, show_default=True, help="Closed loops of each generator, in turn.")
@click.option(
    "--quick", is_flag=True, help="All of it with hardly any chats, to see that it works: minutes, no figures."
)
@click.option("--out", default="reports/bench", show_default=True, help="Folder for results.json, index.md and charts.")
def main(only: str, repeat: int, quick: bool, out: str) -> None:
    """Measure chatload beside Locust's own users, k6, artillery and wrk.

    The server (chatload's simulator) has core 0, the generator core 1; nothing else should run. Results are added to
    those in --out, so that one measure can be made anew. About half an hour; Ctrl-C ends it, what is measured stays.
    """
    if (os.cpu_count() or 1) < 2:
        raise click.UsageError("the benchmark needs two cores: one for the server, one for the generator")
    wanted = [name for name in only.split(",") if name] or list(measures.EVERY)
    if unknown := set(wanted) - set(measures.EVERY):
        raise click.UsageError(f"--only {', '.join(sorted(unknown))}: expected {', '.join(measures.EVERY)}")
    os.sched_setaffinity(0, {SERVER_CORE})
    scale = _QUICK if quick else measures.Scale(repeat=repeat)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "results.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    began = time.monotonic()

    def tell(what: str) -> None:
        click.echo(f"{time.monotonic() - began:6.0f} s  {what}")

    for name in wanted:
        results[name] = measures.EVERY[name](scale, tell)
        results["about"] = {
            "commit": measures.commit(), "python": platform.python_version(), "kernel": platform.release(),
            "measured_at": time.strftime("%Y-%m-%d", time.gmtime()), "quick": quick,
        }  # fmt: skip
        temporary = file.with_suffix(".new")
        temporary.write_text(json.dumps(results, indent=1), encoding="utf-8")
        temporary.replace(file)
        report.write(results, folder)
    click.echo((folder / "index.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
