"""Repeated runs judged together, as a document."""

import math
from collections.abc import Sequence

from chatload.features.combine.compute import CombinedRuns, CombinedThreshold, ThresholdByRun
from chatload.render import document as doc
from chatload.render import words
from chatload.render.document import Tone
from chatload.vocabulary import ThresholdResult

_TONES = {
    ThresholdResult.FAIL: Tone.BAD, ThresholdResult.INCONCLUSIVE: Tone.WARN, ThresholdResult.PASS: Tone.GOOD,
}  # fmt: skip
_RULE = (
    "The rule: fix the thresholds before the first run, give every run that was made since, and repeat until it is "
    "decided. The chance of a wrong result is then at most {}, however many runs there are. The results of the single "
    "runs do not have this property."
)


_BY_RUN = (
    "The evidence about these thresholds does not add up over runs, because they are not rates of sessions or of "
    "incidents. They pass if they pass in every run, and fail if they fail in every run."
)


def combined_document(made: CombinedRuns) -> doc.Document:
    """Return runs that are judged together."""
    gate, result = made.gate, made.result
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
        for item in made.combined
    ]
    caption = "of: without sessions that the end of a run cut off, which are no evidence for a low rate; "
    caption += f"odds: the evidence for the threshold, or against it. {1 / (1 - gate.confidence):.3g} to 1 decide"
    shown = doc.columns(("threshold", "result", "against it", "of", "odds"), "llrrr")
    chance = words.confidence(1 - gate.confidence)
    known = [doc.Sentence(_RULE.format(chance))]
    if gate.incident_size > 1:
        known.append(doc.Sentence(f"Assumed: no incident takes more than {gate.incident_size} sessions."))
    else:
        known.append(doc.Sentence("Assumed: sessions are independent unless a run shows otherwise (--incident-size)."))
    known += [doc.Sentence(f"Ended early as hopeless: {why}", Tone.BAD) for why in made.aborted]
    sections = [doc.Section("Thresholds", (doc.Table("Thresholds", shown, rows, caption),))]
    if made.by_run:
        sections.append(doc.Section("Judged in each run by itself", (_by_run(made.by_run), doc.Sentence(_BY_RUN))))
    sections.append(doc.Section("What must be known with it", known))
    runs = words.plural(len(made.runs), "run")
    return doc.Document(doc.Sentence(f"{runs} judged together"), sections, doc.Badge(result, _TONES[result]))


def _by_run(items: Sequence[ThresholdByRun]) -> doc.Table:
    rows = [
        doc.TableRow(
            (
                doc.TableCell(doc.Code(str(item.threshold))),
                doc.TableCell(item.result, _TONES[item.result], strong=True),
                *(words.number(item.results.count(result)) for result in _TONES),
            )
        )
        for item in items
    ]
    headings = ("threshold", "result", *(f"runs: {result}" for result in _TONES))
    return doc.Table("Judged in each run by itself", doc.columns(headings, "llrrr"), rows)


def _exposure(item: CombinedThreshold, amount: float) -> str:
    if item.unit == "hour":
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
