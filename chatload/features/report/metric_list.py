"""What `chatload thresholds` prints."""

from __future__ import annotations

from chatload.render.document import Document, Section, Sentence, Terms, Verbatim
from chatload.thresholds.metrics import METRICS, MetricDoc

_EXAMPLES = """\
  dropped_late.rate < 0.1%          GetMessages.latency.p99 < 300ms
  margin.p1 > 5s                    lateness.p99_9 <= 10ms
  failed.count == 0                 GetMessages.timeout.rate < 0.5%"""
_UNITS = (
    "Rates take % or a fraction; durations take us, ms, s or min. Any percentile can be used: p50, p99, p99_9 "
    "(99.9 %). An operation before a metric of requests restricts it to that operation: GetMessages.timeout.rate."
)
_JUDGEMENT = (
    "Rates and percentiles are judged by exact one-sided bounds (Clopper-Pearson) with --confidence. A threshold "
    "passes if the whole interval is on its right side, fails if the whole interval is on its wrong side, and is "
    "inconclusive otherwise, with the number of sessions that would settle it. Unproven drops count against every "
    "claim. Counts, min and max are compared as observed."
)


def thresholds_document() -> Document:
    """Return every metric with its meaning, grouped by kind."""
    titles = {"rate": "Rates, and counts: the same with .count", "duration": "Durations"}
    return Document(
        answer=Sentence("A threshold is METRIC OP VALUE[UNIT]. OP is one of < <= > >=, or == for counts."),
        lead=(Verbatim(_EXAMPLES), Sentence(_UNITS), Sentence(_JUDGEMENT)),
        sections=[
            Section(title, (Terms([(doc.name, _meaning(doc.meaning)) for doc in METRICS if _belongs(doc, kind)]),))
            for kind, title in titles.items()
        ],
    )


def _belongs(doc: MetricDoc, kind: str) -> bool:
    return doc.kind == kind or (kind == "rate" and doc.name == "sessions.count")


def _meaning(text: str) -> str:
    return text.partition("; also")[0].removeprefix("share of sessions: ")
