"""Made-up repetitions of the benchmark."""

from __future__ import annotations

from bench.measures import MEASURES
from bench.results import Results, Scale

SCALE = Scale()


def repetition(step, **figures):
    quiet = figures.pop("quiet", True)
    errors = {"p50": 0.001, "p99": 0.002, "p99_9": 0.003, "max": 0.004}
    return {
        "tool": step.tool,
        "work": step.work.to_dict(),
        "repetition": step.repetition,
        **{"chats": step.work.chats, "whole": True, "refreshes_per_s": 100.0, "refreshes_per_cpu_s": 1000.0},
        **{
            "cpu_us_per_refresh": 100.0,
            "cpu_share": 0.5,
            "server_cpu_share": 0.4,
            "rss_mb": 50 + step.work.chats / 100,
        },
        **{"start_cpu_ms_per_chat": 1.5, "worst_pause_s": 0.012, "exit_code": 0, "ended_by_us": False},
        **{"wrong_answers": 0, "noise": {"quiet": quiet, "reasons": [] if quiet else ["noise"]}},
        "gap_error_s": {"steady": errors, "with_ramp": errors},
        **figures,
    }


def filled(*names, scale=SCALE, **figures):
    """Results in which every step was carried out."""
    results = Results()
    for name in names:
        while pending := [step for step in MEASURES[name].steps(scale, results) if step not in results.done]:
            results.add(pending[0], repetition(pending[0], **figures))
    return results
