"""The user classes of a run, and the requests of hooks, as blocks of its report."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from chatload.render import document as doc
from chatload.render import words
from chatload.stats.rates import per_unit_text
from chatload.vocabulary import STATUS_TABLE, Blame, Verdict

_PERCENTILES = ("p50", "p99", "max")


def class_blocks(summary: Mapping[str, Any]) -> Iterator[doc.Block]:
    """Yield the tables that have a row for each user class, of a run with several."""
    by_class = summary["by_class"]
    settings = {one["name"]: one for one in summary["settings"].get("classes", [])}
    yield _settings_table({name: settings[name] for name in by_class if name in settings})
    yield _session_table(by_class)
    yield _count_table("Verdicts", by_class, "by_verdict", Verdict)
    if any(any(one["sessions"]["dropped_late_by_blame"].values()) for one in by_class.values()):
        yield _count_table("Blame of dropped_late", by_class, "dropped_late_by_blame", Blame)
    if any(one["bursts"]["drops"] for one in by_class.values()):
        yield _incident_table(by_class)
    yield _request_table(by_class)
    yield _refresh_table(by_class)


def fetch_blocks(summary: Mapping[str, Any]) -> Iterator[doc.Block]:
    """Yield the table of the requests that hooks sent; nothing if there are none."""
    fetches = summary.get("fetches") or {}
    if not fetches:
        return
    rows = []
    for name, row in fetches.items():
        outcomes = ", ".join(f"{words.number(count)} {outcome}" for outcome, count in row["by_outcome"].items())
        tail = (words.of_tail(row["latency_s"], key) for key in _PERCENTILES)
        rows.append((name, words.number(row["sent"]), outcomes, *tail))
    caption = "requests of hooks of the locustfile: they are not requests of chats, and count in no other table"
    yield doc.table("Requests of hooks", ("request", "sent", "outcomes", *_PERCENTILES), rows, "lrwrrr", caption)


def _settings_table(settings: Mapping[str, Mapping[str, Any]]) -> doc.Table:
    rows = []
    for name, one in settings.items():
        interval = one["refresh_interval"]
        refresh = "by deadline" if one["refresh_policy"] == "deadline" else f"every {interval:g} s"
        counted = f"{one['fixed_count']} users" if one["fixed_count"] else f"weight {one['weight']:g}"
        drawn = one["feeder"] or "none"
        hooks = ", ".join(one["hooks"]) or "none"
        rows.append((name, counted, one["persona"], one["service"], refresh, one["script"] or "default", drawn, hooks))
    shown = [
        *doc.columns(("user class", "users", "persona", "service", "refresh"), "lllll"),
        doc.TableColumn("script", "w", optional=True),
        doc.TableColumn("feeder", "w", optional=True),
        doc.TableColumn("hooks", "w", optional=True),
    ]
    return doc.Table("User classes", shown, [doc.TableRow(row) for row in rows])


def _session_table(by_class: Mapping[str, Any]) -> doc.Table:
    rows = []
    for name, one in by_class.items():
        sessions, dropped, unserved = one["sessions"], one["rates"]["dropped"], one["rates"]["unserved"]
        hourly = one["exposure"]["dropped_per_chat_hour"]
        most = "" if hourly["high"] is None else f"≤ {per_unit_text(hourly['high'], up=True)}"
        drops = words.number(dropped["least"])
        if dropped["most"] > dropped["least"]:
            drops += f" to {words.number(dropped['most'])}"
        rows.append(
            (
                *(name, words.number(sessions["started"]), words.number(sessions["accepted"])),
                *(drops, words.bounds(dropped), most, words.bounds(unserved)),
            )
        )
    caption = "bounds: one-sided, as for the run as a whole; dropped: surely, and possibly"
    shown = [
        *doc.columns(("user class", "started", "accepted", "dropped", "share of dropped"), "lrrrr"),
        doc.TableColumn("dropped per chat-hour", optional=True),
        doc.TableColumn("share of unserved", optional=True),
    ]
    return doc.Table("Sessions by user class", shown, [doc.TableRow(row) for row in rows], caption)


def _count_table(name: str, by_class: Mapping[str, Any], key: str, kinds: Iterable[str]) -> doc.Table:
    """Return the table of sessions by class and kind, without kinds that did not occur. key: in the summary."""
    seen = [kind for kind in kinds if any(one["sessions"][key][kind] for one in by_class.values())]
    rows = [
        (user_class, *(words.number(one["sessions"][key][kind]) for kind in seen))
        for user_class, one in by_class.items()
    ]
    return doc.table(f"{name} by user class", ("user class", *map(str, seen)), rows)


def _incident_table(by_class: Mapping[str, Any]) -> doc.Table:
    rows = []
    for name, one in by_class.items():
        bursts, silence = one["bursts"], one["sessions"]["common_silence"]
        largest = max((burst["count"] for burst in bursts["bursts"]), default=0)
        counts = (bursts["drops"], bursts["incidents"], largest, bursts["sessions_worth"])
        said = "none" if silence is None else f"{silence['lower_s']:.3g} to {silence['upper_s']:.3g} s"
        rows.append((name, *map(words.number, counts), said))
    caption = (
        "drops: late, early and unproven. Incidents: bursts of drops, and drops that came alone. Worth: how many "
        "independent sessions those of the class are worth. Common silence: after which the server ended many of them, "
        "by its own timestamps"
    )
    headings = ("user class", "drops", "incidents", "largest burst", "sessions worth", "common silence")
    return doc.table("Drops by user class", headings, rows, caption=caption)


def _request_table(by_class: Mapping[str, Any]) -> doc.Table:
    rows = []
    for name, one in by_class.items():
        for operation, row in one["requests"]["by_operation"].items():
            counts = row["by_outcome"]
            other = sum(n for outcome, n in counts.items() if outcome not in STATUS_TABLE)
            failed = row["sent"] - counts[STATUS_TABLE[0]] - counts[STATUS_TABLE[1]]
            tail = (words.of_tail(row["latency_s"], key) for key in ("p50", "p95", "p99", "max"))
            numbers, response = (row["sent"], failed, other), words.of_tail(row["response_time_s"], "p99")
            rows.append(doc.TableRow((name, operation, *map(words.number, numbers), *tail, response)))
    caption = (
        "failed: neither 0/false nor 0/true; other: of the failed, those that are not in the status table. p50 to max: "
        "of the latency; response time: from the instant for which a request was scheduled"
    )
    headings = ("user class", "operation", "sent", "failed", "other", "p50", "p95", "p99", "max")
    shown = [*doc.columns(headings, "llrrrrrrr"), doc.TableColumn("response time p99", optional=True)]
    return doc.Table("Requests by user class", shown, rows, caption, dense=True)


def _refresh_table(by_class: Mapping[str, Any]) -> doc.Table:
    rows = []
    for name, one in by_class.items():
        refresh = one["refresh"]
        rows.append(
            doc.TableRow(
                (
                    *(name, words.number(refresh["count"])),
                    *(words.of_tail(refresh["lateness_s"], key) for key in ("p99", "max")),
                    *(words.of_tail(refresh["gap_s"], key) for key in _PERCENTILES),
                    words.of_tail(refresh["margin_s"], "min"),
                )
            )
        )
    shown = [
        *doc.columns(("user class", "refreshes", "lateness p99", "max"), "lrrr"),
        doc.TableColumn("gap p50", optional=True),
        *doc.columns(("gap p99", "gap max", "least margin"), "rrr"),
    ]
    return doc.Table("Refreshes by user class", shown, rows)
