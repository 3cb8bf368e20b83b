"""What `chatload thresholds` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from chatload.thresholds.metrics import METRICS

_HEAD = """\
A threshold is METRIC OP VALUE[UNIT], with one of < <= > >= (and == for counts):

  dropped_late.rate < 0.1%          GetMessages.latency.p99 < 300ms
  margin.p1 > 5s                    lateness.p99_9 <= 10ms
  failed.count == 0                 GetMessages.timeout.rate < 0.5%

Rates take % or a fraction, durations us, ms, s or min. Any percentile will do:
p50, p99, p99_9 (99.9 %). Rates and percentiles are judged by exact one-sided
bounds (Clopper-Pearson) with --confidence: a threshold passes where the bound
is on the right side, fails where the other is on the wrong one, and is else
inconclusive, with the number of sessions that would settle it. Unproven drops
count against every claim. Counts, min and max are compared as observed. An
operation before a metric of requests makes it that operation's:
GetMessages.timeout.rate.
"""


def metric_list(width: int = 79) -> str:
    """Every metric with its meaning, grouped by kind."""
    return _HEAD + "".join(f"{line}\n" for line in _lines(width))


def _lines(width: int) -> Iterator[str]:
    for kind, title in (("rate", "Rates, and counts: the same with .count"), ("duration", "Durations")):
        yield f"\n{title}"
        for doc in METRICS:
            if doc.kind == kind or (kind == "rate" and doc.name == "sessions.count"):
                meaning = doc.meaning.partition("; also")[0].removeprefix("share of sessions: ")
                first, *rest = textwrap.wrap(meaning, width - 25)
                yield f"  {doc.name:<23}{first}"
                yield from (f"{'':25}{line}" for line in rest)
