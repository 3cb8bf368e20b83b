"""What a sweep of refresh intervals says, in sentences and rows, for every form it is shown in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

from chatload import __version__
from chatload.chat.policy import WIDGET_INTERVAL_S
from chatload.features.tune.compute import Arm, Tuning, agree, blamed
from chatload.render import words
from chatload.stats.rates import bound_text

#: `schema_version` of the JSON that `TuneReport.to_dict` makes.
SCHEMA_VERSION = 1
HEADINGS = ("interval", "part", "sessions", "dropped", "drop rate", "margin p1", "req/s", "word")
MODEL_HEADINGS = ("interval", "part", "sessions", "dropped", "drop rate", "the run")
_WORDS = {"pass": "passed", "fail": "failed", "inconclusive": "undecided", "invalid": "invalid"}
_CHATS = 1000
#: What no sweep can say; reports print it.
LIMITS = (
    "The arms shared one load, their mixture: alone, the recommended interval puts fewer requests on the server.",
    "It holds for this load, server, network and length of chats: longer chats have more refreshes to miss.",
    "Sessions count as independent; what strikes all at once (an outage) strikes every arm, and is no matter of the "
    "interval.",
    "Unproven drops count as drops.",
)


@dataclass(frozen=True)
class TuneReport:
    """A sweep judged, the run it was, what must be said with it, and the model's curve where it was asked for."""

    tuning: Tuning
    run: str
    notes: tuple[str, ...] = ()
    model: Tuning | None = None

    def to_dict(self) -> dict[str, Any]:
        """A JSON-safe form, as in tune.schema.json."""
        tuning = self.tuning
        best, stop = tuning.recommended, tuning.stopped_by
        saving = None if best is None else tuning.saving(best)
        return {
            "schema_version": SCHEMA_VERSION,
            "chatload_version": __version__,
            "run": self.run,
            "result": tuning.result,
            "problems": list(tuning.problems),
            "timeout_s": tuning.timeout_s,
            "target": tuning.target,
            "confidence": tuning.confidence,
            "recommended": None if best is None else {"fraction": best.fraction, "interval_s": best.interval_s},
            "saving": None
            if saving is None
            else {
                "widget_interval_s": WIDGET_INTERVAL_S,
                "requests_per_s_per_chat": saving.per_chat,
                "share_of_polls": saving.share,
                "chats_open": saving.chats,
                "requests_per_s": saving.at_load,
            },
            "stopped_by": None if stop is None else stop.fraction,
            "sessions_needed": tuning.needed,
            "arms": [_arm(arm, tuning) for arm in tuning.arms],
            "model": None if self.model is None else [_arm(arm, self.model) for arm in self.model.arms],
            "notes": list(self.notes),
        }


def schema() -> dict[str, Any]:
    """The published JSON Schema (draft 2020-12) of `TuneReport.to_dict`."""
    text = (resources.files("chatload.features.tune") / "tune.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def answer(tuning: Tuning) -> str:
    """The one sentence that matters."""
    best, stop = tuning.recommended, tuning.stopped_by
    target, sure = words.percent(tuning.target), f"{100 * tuning.confidence:g} % confidence"
    if best is not None:
        return (
            f"refresh every {interval(best)} ({best.fraction:g} of the timeout): at most "
            f"{bound_text(best.upper, up=True)} of the sessions dropped at {sure}, below the target of {target}"
        )
    if tuning.problems:
        return f"the sweep is invalid: {tuning.problems[0]}"
    assert stop is not None
    if stop.word == "fail":
        return (
            f"no interval of the sweep keeps the target of {target}: at {interval(stop)}, the shortest, at least "
            f"{bound_text(stop.lower, up=False)} of the sessions were dropped, at {sure}"
        )
    return f"no interval is shown to keep the target of {target} at {sure}: {stopped(tuning)}"


def stopped(tuning: Tuning) -> str:
    """Why no longer interval is recommended."""
    stop = tuning.stopped_by
    if stop is None:
        return "every interval of the sweep passed: a longer one may do too"
    seen = f"at {interval(stop)} ({stop.fraction:g}) {dropped(stop)} of {words.plural(stop.sessions, 'session')}"
    causes = ", ".join(f"{words.number(n)} {name}" for name, n in blamed(stop))
    seen += f" were dropped ({causes})" if causes else " were dropped"
    if stop.word == "fail":
        return f"{seen}: above the target"
    if stop.word == "invalid":
        suspects = words.plural(stop.suspects, "drop")
        return f"{seen}, but the generator's own lateness may have caused {suspects}: use a less busy machine"
    if tuning.needed is None:
        return f"{seen}: undecided, and no number of sessions at these shares would settle it"
    return (
        f"{seen}: undecided; {words.number(stop.needed or 0)} sessions in that arm would settle it, a sweep of "
        f"{words.number(tuning.needed)}"
    )


def saved(tuning: Tuning) -> str:
    """What the recommended interval saves; empty where none is recommended."""
    best = tuning.recommended
    saving = None if best is None else tuning.saving(best)
    if best is None or saving is None:
        return ""
    than = f"the widget's {WIDGET_INTERVAL_S:g} s"
    if saving.per_chat <= 0 or tuning.timeout_s <= WIDGET_INTERVAL_S:
        return (
            f"{abs(saving.per_chat):.3f} requests/s {'less' if saving.per_chat > 0 else 'more'} a chat than {than}, "
            f"which no chat survives at a timeout of {tuning.timeout_s:g} s"
            if tuning.timeout_s <= WIDGET_INTERVAL_S
            else f"{-saving.per_chat:.3f} requests/s more a chat than {than}: nothing is saved"
        )
    return (
        f"it saves {saving.per_chat:.3f} requests/s a chat against {than} ({100 * saving.share:.0f} % of the polls): "
        f"{_CHATS * saving.per_chat:.0f} at {words.number(_CHATS)} chats, {saving.at_load:.1f} at the sweep's "
        f"{saving.chats:.0f}"
    )


def settings_for(arm: Arm) -> str:
    """The options that make it the interval of every chat."""
    return f"--refresh-policy fraction --refresh-fraction {arm.fraction:g}"


def interval(arm: Arm) -> str:
    """The arm's refresh interval."""
    return f"{arm.interval_s:.4g} s"


def dropped(arm: Arm) -> str:
    """How many were dropped: a range where some drops are unproven or the generator's."""
    least, most = words.number(arm.least), words.number(arm.most)
    return most if arm.least == arm.most else f"{least} to {most}"


def word(arm: Arm, tuning: Tuning) -> str:
    """What came of the arm; arms after the one that ended the sequence are not tested."""
    stop = tuning.stopped_by
    return "not tested" if stop is not None and arm.fraction > stop.fraction else _WORDS[arm.word]


def rows(tuning: Tuning) -> Iterator[tuple[str, ...]]:
    """An arm a row, under HEADINGS."""
    for arm in tuning.arms:
        yield (
            *(interval(arm), f"{arm.fraction:g}", words.number(arm.sessions), dropped(arm)),
            *(_bounds(arm), words.seconds(arm.margin_p1_s)),
            *("" if arm.requests_per_s is None else f"{arm.requests_per_s:.3f}", word(arm, tuning)),
        )


def model_rows(report: TuneReport) -> Iterator[tuple[str, ...]]:
    """An arm of the model a row, under MODEL_HEADINGS, and whether the run agrees with it."""
    seen = {arm.fraction: arm for arm in report.tuning.arms}
    for arm in () if report.model is None else report.model.arms:
        own = seen.get(arm.fraction)
        agrees = "" if own is None else "agree" if agree(arm, own, report.tuning.confidence) else "differ"
        yield (
            *(interval(arm), f"{arm.fraction:g}", words.number(arm.sessions), dropped(arm)),
            *(_bounds(arm), agrees),
        )


def bounds_note(tuning: Tuning) -> str:
    """What the columns mean."""
    return (
        f"drop rate: its exact bounds, each at {100 * tuning.confidence:g} % confidence. margin p1: "
        "what 99 of 100 sessions had left of the timeout at their widest gap (upper bound). req/s: of one open chat. "
        "Tested from the shortest up, until one does not pass; so no correction for many looks is needed."
    )


def _bounds(arm: Arm) -> str:
    return f"{bound_text(arm.lower, up=False).removesuffix(' %')} to {bound_text(arm.upper, up=True)}"


def _arm(arm: Arm, tuning: Tuning) -> dict[str, Any]:
    return {**asdict(arm), "tested": word(arm, tuning) != "not tested"}
