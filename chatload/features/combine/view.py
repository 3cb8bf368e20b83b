"""Repeated runs judged together, as a document."""

import math
from collections.abc import Sequence

from chatload.features.combine.compute import CombinedThreshold
from chatload.render import document as doc
from chatload.render import words
from chatload.render.document import Tone
from chatload.thresholds.gate import Gate
from chatload.thresholds.judgement import overall_of
from chatload.thresholds.metrics import Threshold
from chatload.vocabulary import ThresholdResult

_TONES = {
    ThresholdResult.FAIL: Tone.BAD, ThresholdResult.INCONCLUSIVE: Tone.WARN, ThresholdResult.PASS: Tone.GOOD,
}  # fmt: skip
_RULE = (
    "The rule: fix the thresholds before the first run, give every run that was made since, and repeat until it is "
    "decided. The chance of a wrong result is then at most {}, however many runs there are. The results of the single "
    "runs do not have this property."
)


def combined_document(
    judged: Sequence[CombinedThreshold], left_out: Sequence[Threshold], gate: Gate, runs: Sequence[str]
) -> doc.Document:
    """Return thresholds judged by several runs. left_out: those that cannot be combined. runs: their names."""
    result = overall_of(item.result for item in judged)
    rows = [
        doc.TableRow(
            (
                doc.TableCell(doc.Code(str(item.threshold))),
                doc.TableCell(item.result, _TONES[item.result], strong=True),
                words.number(item.events),
                _exposure(item, item.exposure),
                _odds(item),
            ),
            note=_why(item),
        )
        for item in judged
    ]
    caption = f"odds: the evidence for the threshold, or against it. {1 / (1 - gate.confidence):.3g} to 1 decide"
    shown = doc.columns(("threshold", "result", "against it", "of", "odds"), "llrrr")
    chance = words.confidence(1 - gate.confidence)
    known = [doc.Sentence(_RULE.format(chance))]
    if gate.incident_size > 1:
        known.append(doc.Sentence(f"Assumed: no incident takes more than {gate.incident_size} sessions."))
    else:
        known.append(doc.Sentence("Assumed: sessions are independent unless a run shows otherwise (--incident-size)."))
    if left_out:
        names = ", ".join(threshold.metric.name for threshold in left_out)
        known.append(doc.Sentence(f"Not combined, because they are not rates of sessions or of incidents: {names}."))
    badge = doc.Badge("nothing judged" if result is None else result, Tone.SOFT if result is None else _TONES[result])
    sections = [
        doc.Section("Thresholds", (doc.Table("Thresholds", shown, rows, caption),)),
        doc.Section("What must be known with it", known),
    ]
    return doc.Document(doc.Sentence(f"{words.plural(len(runs), 'run')} judged together"), sections, badge)


def _exposure(item: CombinedThreshold, amount: float) -> str:
    if item.threshold.metric.kind == "hourly rate":
        return f"{amount:.3g} h"
    return words.plural(math.ceil(amount), "session")


def _odds(item: CombinedThreshold) -> str:
    best = max(item.log_for, item.log_against)
    side = "for" if item.log_for >= item.log_against else "against"
    return f"{math.exp(min(best, 20)):.3g} to 1 {side}"


def _why(item: CombinedThreshold) -> str:
    groups = words.plural(item.groups, "group")
    came = f"they came in {groups}" if 0 < item.groups < item.events else ""
    more = f"about {_exposure(item, item.more)} more at this rate would decide it" if item.more is not None else ""
    return "; ".join(filter(None, (came, more)))
