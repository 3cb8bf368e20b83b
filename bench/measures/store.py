"""What the accounting costs: the share of store, books and histograms in the generator's CPU."""

from __future__ import annotations

from bench.profile import BOOKKEEPING
from bench.profile import text as as_text
from bench.results import Chart, Results, Row, Scale, Section, number
from bench.tools import OURS
from bench.work import Step, Work

NAME = "store"
ABOUT = "share of store, books and histograms in the generator's CPU"
FILE = "profile.txt"
_GOAL = 10


def _work(scale: Scale) -> Work:
    steady = 6.0 if scale.quick else 18.0
    return Work(chats=64, ramp_s=1.0, steady_s=steady, interval_s=0.0, settle_s=1.5, profile=True)


def steps(scale: Scale, results: Results) -> list[Step]:
    """Ours, back to back, sampled."""
    return [Step(OURS, _work(scale))]


def section(scale: Scale, results: Results) -> Section:
    """A row a part."""
    text = (
        "py-spy looks at the stack 200 times a second, from outside, while 64 chats are refreshed back to back; a "
        "sample belongs to the innermost frame that is in one of these parts. C code counts as whoever called it. "
        "A share needs no quiet machine: what is waited for is not sampled."
    )
    profile = _profile(results.of(OURS, _work(scale)))
    if profile is None:
        return Section(
            "What the accounting costs", text, [["part", "share"], ["all", results.problem(OURS, _work(scale))]]
        )
    shares = profile["shares"]
    together = 100 * sum(shares[part] for part in BOOKKEEPING)
    table = [["part", "share of the samples", "goal"]]
    table += [[part, f"{number(100 * share, 2)} %", ""] for part, share in shares.items()]
    table.append([" + ".join(BOOKKEEPING), f"{number(together, 2)} %", f"at most {_GOAL} %"])
    bars = [
        {"name": part, "value": 100 * share, "low": 100 * share, "high": 100 * share} for part, share in shares.items()
    ]
    chart = Chart("store", "Where the generator's CPU goes", "bars", bars, "share of the samples, %")
    text += f" {profile['samples']} samples; [{FILE}]({FILE}) has the functions."
    return Section("What the accounting costs", text, table, [chart], {FILE: as_text(profile)})


def _profile(rows: list[Row]) -> dict | None:
    return next((row["profile"] for row in rows if row.get("profile")), None)
