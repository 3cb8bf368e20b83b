"""A run's summary as a document, for a terminal and summary.md; `page` adds the charts and tables of report.html."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatload.features.report import drift_view, sentences
from chatload.features.report.by_class import class_blocks, fetch_blocks
from chatload.features.report.junit import junit
from chatload.features.report.summary import summarize
from chatload.features.report.tiles import tiles
from chatload.render import document as doc
from chatload.render import words
from chatload.render.document import Tone
from chatload.render.markdown import markdown
from chatload.render.output import write_json, write_text
from chatload.run.reader import OnRead, RunReader
from chatload.stats.rates import bound_text, per_unit_text
from chatload.thresholds.gate import Gate
from chatload.thresholds.metrics import METRICS
from chatload.vocabulary import STATUS_TABLE, Blame, RunResult, ThresholdResult, Verdict, tone

RESULT_TONES = {
    RunResult.PASSED: Tone.GOOD, RunResult.FAILED: Tone.BAD, RunResult.INCONCLUSIVE: Tone.WARN,
    RunResult.INVALID: Tone.BAD, RunResult.NOTHING_TESTED: Tone.BAD, RunResult.NOT_JUDGED: Tone.SOFT,
}  # fmt: skip
_THRESHOLDS = {
    ThresholdResult.FAIL: Tone.BAD, ThresholdResult.INCONCLUSIVE: Tone.WARN, ThresholdResult.PASS: Tone.GOOD,
}  # fmt: skip
_ALL = "summary.json"


def write_outputs(run: str | Path, gate: Gate | None = None, on_read: OnRead | None = None) -> dict[str, Any]:
    """Write summary.json, summary.md and junit.xml beside a run's file, each whole or not at all; return the summary.

    report.html is not among them: drawing it takes seconds, in which a generator would not send. run: the run's folder
    or file. gate: the thresholds to judge by; by default those of the run. on_read: see `RunReader`. Raises UsageError.
    """
    with RunReader.open(run, on_read) as reader:
        summary, run_dir = summarize(reader, gate), reader.run_dir
    write_json(summary, run_dir / "summary.json")
    write_text(markdown(summary_document(summary)), run_dir / "summary.md")
    write_text(junit(summary), run_dir / "junit.xml")
    return summary


@dataclass(frozen=True)
class PageBlocks:
    """What only the page shows, by section. requests: in place of the narrower tables of a text."""

    verdicts: Sequence[doc.Block] = ()
    classes: Sequence[doc.Block] = ()
    requests: Sequence[doc.Block] = ()
    time: Sequence[doc.Block] = ()
    drops: Sequence[doc.Block] = ()
    refresh: Sequence[doc.Block] = ()
    drift: Sequence[doc.Block] = ()
    generator: Sequence[doc.Block] = ()
    settings: Sequence[doc.Block] = ()


def summary_document(summary: Mapping[str, Any], more: PageBlocks = PageBlocks(), **page: Any) -> doc.Document:
    """Return a run's summary as a document. page: further fields of `Document`."""
    result, why = sentences.result_and_why(summary)
    sections = {
        "thresholds": ("Thresholds", _thresholds(summary)),
        "verdicts": ("Verdicts", (*_verdicts(summary), *more.verdicts)),
        **({"classes": ("By user class", (*class_blocks(summary), *more.classes))} if summary.get("by_class") else {}),
        "requests": (
            "Requests",
            (
                *(more.requests or (_requests(summary), _durations(summary))),
                *fetch_blocks(summary),
                *_about_requests(summary),
            ),
        ),
        "time": ("Over time", (*more.time, *_drift(summary, more.drift))),
        "drops": ("Why dropped", (*_drops(summary), *more.drops)),
        "refresh": ("Refresh health", (doc.Sentence(sentences.margin(summary)), *more.refresh)),
        "generator": ("Generator", tuple(_generator(summary, more.generator))),
        "settings": ("Settings", more.settings),
    }
    return doc.Document(
        answer=doc.Sentence(why),
        badge=doc.Badge(result, RESULT_TONES[RunResult(result)]),
        lead=list(_lead(summary, why)),
        sections=[doc.Section(heading, blocks, anchor) for anchor, (heading, blocks) in sections.items()],
        subject=sentences.heading(summary),
        tiles=tiles(summary),
        **page,
    )


def _lead(summary: Mapping[str, Any], why: str) -> Iterator[doc.Block]:
    if not summary["valid"]:
        yield doc.Sentence("what was measured cannot be held against the server", Tone.BAD)
    books = summary["books"]
    if not books["balanced"]:
        yield doc.Callout("the books do not balance", sentences.books_line(books, "/"))
        # The answer has the first of them.
        yield doc.Bullets(books["imbalances"][1:], Tone.BAD, "more imbalance", _ALL)
    if summary["aborted"] and summary["aborted"] not in why:
        yield doc.Callout("ended early", summary["aborted"])
    if early := sentences.ended_early(summary):
        yield doc.Sentence(f"{early}: what the run shows is judged all the same", Tone.WARN, strong=True)
    if censored := sentences.censored(summary):
        yield doc.Sentence(censored, Tone.WARN)
    if why != (answer := sentences.answer(summary)) and not answer.endswith(why):
        yield doc.Sentence(answer, strong=True)
    if _others_failed(summary):
        yield doc.Sentence(sentences.other_users(summary), Tone.WARN)
    if summary["settings"].get("insecure"):
        yield doc.Sentence("TLS certificates not verified (--insecure)", Tone.WARN, strong=True)


def _thresholds(summary: Mapping[str, Any]) -> tuple[doc.Block, ...]:
    """Return the judgement of each threshold with its reason, those that failed first."""
    order = list(_THRESHOLDS)
    ordered = sorted(summary["thresholds"], key=lambda threshold: order.index(ThresholdResult(threshold["result"])))
    if not ordered:
        judge = doc.Code("chatload report RUN --gate standard")
        return (doc.Sentence(("no threshold was set. ", judge, " judges the run")),)
    shown = [
        *doc.columns(("threshold", "result", "value"), "llr"),
        doc.TableColumn("bounds", optional=True),
        doc.TableColumn("samples", optional=True),
    ]
    if settles := any(map(_needed, ordered)):
        shown.append(doc.TableColumn("would settle it (80 % / 90 %)", page_only=True))
    rows = []
    for threshold in ordered:
        result = threshold["result"]
        low, high = (threshold_value(threshold, end) for end in ("lower", "upper"))
        if low and high:
            between = f"{low} to {high}"
        elif low:
            between = f"≥ {low}"
        else:
            between = f"≤ {high}" if high else ""
        cells: list[doc.TableCell | str] = [
            doc.TableCell(doc.Code(threshold["expression"])),
            doc.TableCell(result, _THRESHOLDS[ThresholdResult(result)], strong=True),
            threshold_value(threshold, "value"),
            between,
            "" if threshold.get("samples") is None else words.number(threshold["samples"]),
            *([_needed(threshold)] if settles else []),
        ]
        rows.append(doc.TableRow(cells, note=threshold.get("why") or ""))
    caption = f"bounds: one-sided, each with {words.confidence(summary['confidence'])} confidence"
    passed = words.number(sum(threshold["result"] == "pass" for threshold in ordered))
    held = f"{passed} of {words.plural(len(ordered), 'threshold')} {'holds' if len(ordered) == 1 else 'hold'}"
    if part := sentences.judged_part(summary):
        held += f"; {part}"
    return (
        doc.Sentence("no session was accepted" if summary["result"] == RunResult.NOTHING_TESTED else held),
        doc.Table("Thresholds", shown, rows, caption, noun="threshold", file="junit.xml"),
    )


def _needed(threshold: Mapping[str, Any]) -> str:
    """Return how many samples would settle it, with a probability of 80 % and of 90 %; once where both are equal."""
    both = [threshold[key] for key in ("needed", "needed_90") if threshold.get(key) is not None]
    return " / ".join(words.number(n) for n in dict.fromkeys(both))


def threshold_value(threshold: Mapping[str, Any], key: str) -> str:
    """A threshold's value or bound in its unit; shares are fractions of 1, durations seconds."""
    value = threshold.get(key)
    if value is None:
        return ""
    if threshold.get("unit") == "%":
        return words.percent(value) if key == "value" else bound_text(value, up=key == "upper")
    if threshold.get("unit") == "/h":
        return words.hourly(value) if key == "value" else per_unit_text(value, up=key == "upper")
    if threshold.get("unit") != "s":
        return words.number(value) if isinstance(value, int) else f"{value:g}"
    beyond = key == "value" and threshold.get("beyond")
    past = "under " if "margin." in str(threshold["expression"]) else "over "
    return (past if beyond else "") + words.seconds(value)


def _verdicts(summary: Mapping[str, Any]) -> Iterator[doc.Block]:
    sessions, rates = summary["sessions"], summary["rates"]
    by_verdict = sessions["by_verdict"]
    if any(by_verdict.values()):
        yield _verdict_table(by_verdict, rates)
    else:
        yield doc.Sentence("no session ended")
    if by_verdict[Verdict.CUT_OFF]:
        confirmed, cut = words.number(sessions["cut_off_confirmed"]), words.number(by_verdict[Verdict.CUT_OFF])
        yield doc.Sentence(f"the server confirmed the goodbye of {confirmed} of the {cut} cut_off sessions")
    for said in (sentences.exposure(summary), sentences.dropped_by_age(summary), sentences.offline_notices(summary)):
        if said:
            yield doc.Sentence(said)
    if summary["books"]["balanced"]:
        yield doc.Sentence(f"books balance: {sentences.books_line(summary['books'])}", Tone.GOOD)


def _verdict_table(by_verdict: Mapping[str, int], rates: Mapping[str, Any]) -> doc.Table:
    rows = []
    for verdict, count in by_verdict.items():
        kind, rate = Tone(tone(verdict)) if count else Tone.SOFT, rates[verdict]
        share = "" if rate["rate"] is None else words.percent(rate["rate"])
        cells = (words.number(count), share, words.bounds(rate))
        name = doc.TableCell(verdict, kind)
        rows.append(doc.TableRow((name, *cells, Verdict(verdict).meaning), Tone.PLAIN if count else kind))
    confidence = words.confidence(rates["dropped"]["confidence"])
    caption = (
        f"share: of the sessions whose end counts for the verdict; bounds: one-sided, each with {confidence} confidence"
    )
    shown = [*doc.columns(("verdict", "sessions", "share", "bounds")), doc.TableColumn("meaning", "w", page_only=True)]
    return doc.Table("Verdicts", shown, rows, caption)


def _requests(summary: Mapping[str, Any]) -> doc.Block:
    by_operation = summary["requests"]["by_operation"]
    if not by_operation:
        return doc.Sentence("no request was sent")
    rows, others = [], Counter[str]()
    for operation, row in by_operation.items():
        other = {name: n for name, n in row["by_outcome"].items() if n and name not in STATUS_TABLE}
        others.update(other)
        counts = (row["sent"], *(row["by_outcome"][name] for name in STATUS_TABLE), sum(other.values()))
        rows.append((operation, *map(words.number, counts)))
    said = ", ".join(f"{words.number(n)} {name}" for name, n in others.items())
    headings = ("operation", "sent", *STATUS_TABLE, "other")
    return doc.table("Requests", headings, rows, caption=f"other: {said}" if said else "")


def _others_failed(summary: Mapping[str, Any]) -> bool:
    return bool(summary["other_users"]["failed"])


def _about_requests(summary: Mapping[str, Any]) -> Iterator[doc.Block]:
    others = "" if _others_failed(summary) else sentences.other_users(summary)  # those that failed are in the lead
    yield from (doc.Sentence(said) for said in (sentences.keys_replaced(summary), others) if said)


def _durations(summary: Mapping[str, Any]) -> doc.Block:
    keys = ("p50", "p99", "p99_9", "max")
    by_operation = summary["requests"]["by_operation"]
    tails = {f"{name} latency": row["latency_s"] for name, row in by_operation.items()}
    # Only polls can be skipped. The response time of other requests is on the page.
    if polls := by_operation.get("GetMessages"):
        skipped = polls["response_time_s"]["skipped"]
        more = f", with {words.plural(skipped, 'skipped poll')}" if skipped else ""
        tails[f"GetMessages response time{more}"] = polls["response_time_s"]
    tails["refresh lateness (ours)"] = summary["refresh"]["lateness_s"]
    tails["gap between contacts"] = summary["refresh"]["gap_s"]
    rows = [
        (name, *(words.of_tail(tail, key) for key in keys))
        for name, tail in tails.items()
        if words.of_tail(tail, "max")
    ]
    if not rows:
        return doc.Sentence("nothing was measured")
    headings = ("", *(key.replace("_", ".") for key in keys))
    return doc.table("Durations", headings, rows)


def _drops(summary: Mapping[str, Any]) -> Iterator[doc.Block]:
    sessions, bursts = summary["sessions"], summary["bursts"]
    blames = {blame: n for blame, n in sessions["dropped_late_by_blame"].items() if n}
    early, failed = (sessions["by_verdict"][verdict] for verdict in (Verdict.DROPPED_EARLY, Verdict.FAILED))
    if blames:
        ordered = sorted(blames.items(), key=lambda item: -item[1])
        rows = [(blame, words.number(n), Blame(blame).meaning) for blame, n in ordered]
        caption = "blame: the cause without which the session would have been in time"
        yield doc.table("Blame", ("blame", "dropped_late", "meaning"), rows, sides="lrw", caption=caption)
        if early or failed:
            ended = words.plural(early + failed, "session")
            said = (
                f"{ended} ended for a reason that lateness does not explain (dropped_early, failed). If the server's "
                "timeout is shorter than the configured one, or was shortened during the run, the blame is not "
                "certain. "
            )
            yield doc.Sentence((said, doc.Code("chatload probe"), " measures the timeout"), Tone.WARN)
    elif not sessions["accepted"]:
        yield doc.Sentence("no session was accepted")
    else:
        ended = f"; {words.plural(early, 'session')} ended though every refresh was in time" if early else ""
        yield doc.Sentence(f"no session was proven to be dropped because a refresh came too late{ended}")
    if silence := sessions["common_silence"]:
        ended = f"{words.number(silence['sessions'])} of {words.plural(silence['dropped'], 'dropped session')}"
        least, most = f"{silence['lower_s']:.3g}", f"{silence['upper_s']:.3g}"
        silent = f"about {least}" if least == most else f"{least} to {most}"
        said = (
            f"by its own timestamps the server ended {ended} {silent} s "
            f"after their last answered request: the timeout of {silence['timeout_s']:g} s is probably wrong. "
        )
        yield doc.Sentence((said, doc.Code("chatload probe"), " measures it"))
    if drops := bursts["drops"]:
        incidents, count = bursts["incidents"], len(bursts["bursts"])
        came = f"{words.plural(drops, 'drop')} (late, early and unproven) came in {words.plural(incidents, 'incident')}"
        if drops > incidents:
            parts = words.plural(count, "burst")
            if alone := incidents - count:
                parts += f" and {words.number(alone)} alone"
            known, worth = summary["rates"]["dropped"]["of"], bursts["sessions_worth"]
            independent = f"The {words.plural(known, 'session')} are worth {words.number(worth)} independent ones"
            yield doc.Sentence(f"{came}: {parts}. {independent}", Tone.WARN)
        else:
            yield doc.Sentence(f"{came}; none of them in a burst")


def _drift(summary: Mapping[str, Any], charts: Sequence[doc.Block]) -> Iterator[doc.Block]:
    found = summary.get("drift") or {}
    claimed = Tone.WARN if drift_view.claims(found) else Tone.PLAIN
    said = [doc.Sentence(f"over time: {sentence}", claimed) for sentence in drift_view.sentences(found)]
    if charts:
        yield doc.Section("What changes slowly", (*said, *charts), "drift")
    else:
        yield from said


def _generator(summary: Mapping[str, Any], charts: Sequence[doc.Block]) -> Iterator[doc.Block]:
    said = (sentences.generator(summary["generator"]), sentences.resent(summary["requests"]))
    yield from (doc.Sentence(sentence) for sentence in (*said, sentences.arrivals(summary)) if sentence)
    yield from charts
    if incidents := summary["incidents"]:
        lines = [f"incident at {words.instant(i['at'], '%H:%M:%S UTC')}: {i['kind']}: {i['what']}" for i in incidents]
        yield doc.Bullets(lines, Tone.WARN, "incident", _ALL)


_EXAMPLES = """\
  dropped_late.rate < 0.1%
  failed.count == 0
  dropped.per_chat_hour < 0.2
  dropped.by_age(8m) < 0.1%
  GetMessages.timeout.rate < 0.5%
  GetMessages.latency.p99 < 300ms
  lateness.p99_9 <= 10ms
  margin.p1 > 5s
  GetMessages.response_time.p95 < 300ms in every 1m
  Vip: dropped.rate < 1%"""
_UNITS = (
    "Rates take % or a fraction; rates per chat-hour take a number; durations take us, ms, s, m or h. Any age can be "
    "used in by_age: 90s, 8m, 1h. Any percentile can be used: p50, p99, p99_9 "
    "(99.9 %). An operation before a metric of requests restricts it to that operation: GetMessages.timeout.rate. In a "
    "run with several user classes, the name of one and a colon restrict any metric to its chats: Vip: dropped.rate."
)
_COUNTS = "each rate has a count too, such as failed.count for failed.rate; dropped.by_age has none"
_JUDGEMENT = (
    "Rates and percentiles are judged by exact one-sided bounds (Clopper-Pearson) with --confidence, rates per "
    "chat-hour by those of Garwood, probabilities by age by the beta product confidence procedure. A threshold "
    "passes if the whole interval is on its right side, fails if the whole interval is on its wrong side, and is "
    "inconclusive otherwise, with the number of sessions that would settle it. Unproven drops count against every "
    "claim. Counts, min, max and incident.share are compared as observed. So are rates and percentiles with 'in every "
    "1m' behind the value: they must hold in every minute. Sessions are not independent if an incident takes many of "
    "them: their rates have a design effect from the incidents and blocks of time of the run, and a threshold that "
    "passes says for which size of incidents. --incident-size demands a size. Requests of the same time are alike, so "
    "a percentile is judged by the number of independent requests that its requests are worth."
)


def thresholds_document() -> doc.Document:
    """Return every metric of thresholds with its meaning, grouped by kind."""
    incidents = [(m.name, m.meaning) for m in METRICS if m.name.startswith("incident")]
    others = [m for m in METRICS if not m.name.startswith("incident")]
    rates = [(m.name, m.meaning) for m in others if m.kind == "rate" or m.name == "sessions.count"]
    hourly = [(m.name, m.meaning) for m in others if m.kind == "hourly rate"]
    durations = [(m.name, m.meaning) for m in METRICS if m.kind == "duration"]
    return doc.Document(
        answer=doc.Sentence("A threshold is METRIC OP VALUE[UNIT]. OP is one of < <= > >=, or == for counts."),
        lead=(doc.Verbatim(_EXAMPLES), doc.Sentence(_UNITS), doc.Sentence(_JUDGEMENT)),
        sections=[
            doc.Section("Rates and counts", (doc.Sentence(_COUNTS), doc.Terms(rates))),
            doc.Section("Rates per chat-hour of accepted chats", (doc.Terms(hourly),)),
            doc.Section("Durations", (doc.Terms(durations),)),
            doc.Section("Incidents", (doc.Terms(incidents),)),
        ],
    )
