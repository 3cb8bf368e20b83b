"""Sentences about a run's summary, used by its reports, by errors and by the log."""

import math
from collections.abc import Mapping
from typing import Any

from chatload.render import words
from chatload.render.document import Code, Inline
from chatload.run.books import LATE_START_S
from chatload.run.lifetimes import chat_hours_text
from chatload.run.settings import written
from chatload.stats.rates import per_unit_text
from chatload.vocabulary import EndedBy, IncidentKind, RunResult

NOTHING_TESTED = "nothing was tested"
#: A run that is proposed is at least this many times as long.
_LEAST_LONGER = 1.5
#: Number of thresholds that the first line names.
_NAMED = 2


def result_and_why(summary: Mapping[str, Any]) -> tuple[str, str]:
    """Return the result of the run, and a sentence that says why."""
    result, books = summary["result"], summary["books"]
    thresholds = summary["thresholds"]
    if not summary["valid"]:
        return result, "; ".join(summary["invalid_reasons"])
    if not books["balanced"]:
        more = len(books["imbalances"]) - 1
        others = f", and {words.plural(more, 'more imbalance')}" if more > 0 else ""
        first = books["imbalances"][0] if books["imbalances"] else books_line(books, "/")
        return result, f"the books do not balance: {first}{others}"
    if summary["aborted"]:
        return result, f"ended early as hopeless: {summary['aborted']}"
    state = {RunResult.FAILED: "fail", RunResult.INCONCLUSIVE: "inconclusive"}.get(result)
    if named := [threshold for threshold in thresholds if threshold["result"] == state]:
        was = "failed" if state == "fail" else f"{'is' if len(named) == 1 else 'are'} inconclusive"
        which = ", ".join(threshold["expression"] for threshold in named[:_NAMED])
        others = f" and {words.number(len(named) - _NAMED)} more" if len(named) > _NAMED else ""
        said = f"{words.number(len(named))} of {words.plural(len(thresholds), 'threshold')} {was}: {which}{others}"
        if all(threshold["metric"].startswith("lateness.") for threshold in named):
            said += ". This is the lateness of the generator, and says nothing of the server"
        return result, said + (_longer_run(summary) if state == "inconclusive" else "")
    said = answer(summary)
    return result, said.removeprefix(f"{NOTHING_TESTED}: ") if result == RunResult.NOTHING_TESTED else said


def _longer_run(summary: Mapping[str, Any]) -> str:
    """Return how long a run would probably settle all inconclusive thresholds; empty if that is not known for one.

    Samples grow with the length of a run. The whole run counts, not only the judged part, so that is rather too long.
    """
    undecided = [threshold for threshold in summary["thresholds"] if threshold["result"] == "inconclusive"]
    started, ended = summary["started_at"], summary["ended_at"]
    if started is None or ended is None or not all(each["needed"] and each["samples"] for each in undecided):
        return ""
    times = max((each["needed_90"] or each["needed"]) / each["samples"] for each in undecided)
    # Where a run lacks less than this, chance can make the next one lack it too.
    length = words.duration(60 * math.ceil(max(times, _LEAST_LONGER) * (ended - started) / 60))
    return f". A run of about {length} like this one would probably settle {'it' if len(undecided) == 1 else 'them'}"


def answer(summary: Mapping[str, Any]) -> str:
    """Return how many of the accepted sessions were dropped, and how, and how many failed, in one sentence."""
    if not summary["sessions"]["accepted"]:
        return _nothing_tested(summary)
    failed = summary["rates"]["failed"]
    count, of = failed["least"], failed["of"]
    return _drops(summary) + (f"; {words.number(count)} failed ({words.percent(count / of)})" if count else "")


def _drops(summary: Mapping[str, Any]) -> str:
    sessions = summary["sessions"]
    accepted, ended = sessions["accepted"], sum(sessions["by_verdict"].values())
    of = f"{words.number(accepted)} accepted sessions" if accepted < ended else words.plural(accepted, "session")
    dropped = summary["rates"]["dropped"]
    surely, possibly = dropped["least"], dropped["most"] - dropped["least"]
    more = f"; {words.number(possibly)} more may have been" if possibly else ""
    if sessions["common_silence"]:
        return _dropped_alike(summary, of)
    if surely:
        was, share = "was" if surely == 1 else "were", words.percent(surely / accepted)
        late, early = sessions["by_verdict"]["dropped_late"], sessions["by_verdict"]["dropped_early"]
        how = f"because a refresh came too late ({share})"
        if early:
            how = f"by the server though every refresh was in time ({share})"
        if early and late:
            how = (
                f"({share}): {words.number(late)} because a refresh came too late, "
                f"{words.number(early)} though every refresh was in time"
            )
        return f"{words.number(surely)} of {of} {was} dropped {how}{_in_chat_hours(summary, ',')}{more}"
    if possibly:
        return f"no drop is proven in {of}, but {words.number(possibly)} may have been dropped"
    exposure = summary["exposure"]
    hourly = exposure["dropped_per_chat_hour"]
    bounds = []
    if dropped["high"] is not None and dropped["high"] < 1:
        bounds.append(words.under(dropped))
    if hourly["high"] is not None:
        bounds.append(f"under {per_unit_text(hourly['high'], up=True)} per chat-hour")
    each = ", each" if len(bounds) > 1 else ""
    sure = f": {' and '.join(bounds)}{each} with {words.confidence(dropped['confidence'])} confidence" if bounds else ""
    return f"none of {of} was dropped{_in_chat_hours(summary)}{sure}"


def _in_chat_hours(summary: Mapping[str, Any], comma: str = "") -> str:
    hours = summary["exposure"]["chat_hours"]
    return f"{comma} in {chat_hours_text(hours)}" if hours else ""


def exposure(summary: Mapping[str, Any]) -> str:
    """Return the drops per chat-hour with their bounds; empty without exposure."""
    hourly, hours = summary["exposure"]["dropped_per_chat_hour"], summary["exposure"]["chat_hours"]
    if hourly["rate"] is None:
        return ""
    count = words.number(hourly["most"])
    if hourly["least"] < hourly["most"]:
        count = f"{words.number(hourly['least'])} to {count}"
    return (
        f"drops per chat-hour: {words.hourly(hourly['rate'])} ({count} in {chat_hours_text(hours)}), bounds "
        f"{words.hourly_bounds(hourly)}"
    )


def censored(summary: Mapping[str, Any]) -> str:
    """Return that rates per session are too low for whole chats; empty if they are not."""
    exposure = summary["exposure"]
    if not exposure["censored"]:
        return ""
    return (
        f"{words.percent(exposure['cut_off_share'])} of the accepted sessions were cut off by the end of the run, so "
        "rates per session are too low for whole chats (their upper bounds leave these sessions out). Rates per "
        "chat-hour and by age allow for them"
    )


def dropped_by_age(summary: Mapping[str, Any]) -> str:
    """Return the probability of a drop before the greatest age that is given; empty if none is."""
    if not summary["dropped_by_age"]:
        return ""
    last = summary["dropped_by_age"][-1]
    age, confidence = words.duration(last["age_s"]), summary["exposure"]["dropped_per_chat_hour"]["confidence"]
    return (
        f"dropped before the age of {age}: {words.percent(last['rate'])} of chats, bounds {words.bounds(last)}, each "
        f"with {words.confidence(confidence)} confidence; {words.plural(last['at_risk'], 'chat')} reached this age"
    )


def _dropped_alike(summary: Mapping[str, Any], of: str) -> str:
    sessions, dropped = summary["sessions"], summary["rates"]["dropped"]
    silence, most = sessions["common_silence"], dropped["most"]
    were = "were" if most == dropped["least"] else "were or may have been"
    which = "all" if silence["sessions"] == most else f"{words.number(silence['sessions'])} of them"
    about = f"{(silence['lower_s'] + silence['upper_s']) / 2:.2g} s"
    share = words.percent(min(1.0, most / sessions["accepted"]))
    return (
        f"{words.number(most)} of {of} {were} dropped by the server ({share}), {which} about {about} after the last "
        f"answered request. The timeout of {silence['timeout_s']:g} s is probably wrong: run `chatload probe`"
    )


def _nothing_tested(summary: Mapping[str, Any]) -> str:
    sessions = summary["sessions"]
    if not sessions["started"]:
        kind = IncidentKind.NOTHING_STARTED
        why = next((f" ({incident['what']})" for incident in summary["incidents"] if incident["kind"] == kind), "")
        return f"{NOTHING_TESTED}: no session was started{why}"
    fates = ", ".join(f"{words.number(n)} {verdict}" for verdict, n in sessions["by_verdict"].items() if n)
    started = f"{words.plural(sessions['started'], 'session')} started, none accepted ({fates or 'none ended'})"
    reasons = sessions["not_accepted"]
    why = f"; most often: {reasons[0]['why']} ({words.number(reasons[0]['sessions'])})" if reasons else ""
    return f"{NOTHING_TESTED}: {started}{why}"


_ENDED_EARLY = {
    EndedBy.INTERRUPTED: "interrupted",
    EndedBy.STOPPED: "stopped in the web UI",
    EndedBy.HOURS: "stopped at the end of the allowed hours",
}


def ended_early(summary: Mapping[str, Any]) -> str:
    """Return who ended the run before its planned time, and when; empty for other ends."""
    end = summary["end"]
    what = _ENDED_EARLY.get(end["by"])
    if what is None or end["after_s"] is None:
        return what or ""
    after, planned = end["after_s"], end["planned_s"]
    if planned is None:
        return f"{what} after {words.duration(after)}"
    if planned < 60:
        return f"{what} after {after:.0f} of {planned:g} s"
    return f"{what} after {words.duration(after)} of {words.duration(planned)}"


def judged_part(summary: Mapping[str, Any]) -> str:
    """Return on which part of the run speed was judged; empty for the whole run."""
    part, started = summary["judged"], summary["started_at"]
    if part is None or started is None:
        return ""
    first, last = (words.duration(part[name] - started) for name in ("start", "end"))
    which = "as --judge says" if part["given"] else "its steady part (--judge all: the whole run)"
    return f"percentiles of latency and response time are judged from {first} to {last} of the run, {which}"


def heading(summary: Mapping[str, Any]) -> tuple[Inline, ...]:
    """Return the run by name, host, time, length and timeout."""
    name, settings = str(summary["name"]), summary["settings"]
    parts: list[Inline] = [Code(name)]
    if settings.get("host"):
        parts += [", on ", Code(str(settings["host"]))]
    started, ended = summary["started_at"], summary["ended_at"]
    said = []
    if started is not None:
        said.append(words.instant(started))
    if started is not None and ended is not None:
        said.append(f"took {words.duration(ended - started)}")
    if settings.get("flex_disconnect_timeout") is not None:
        said.append(f"flex-disconnect-timeout {written(settings['flex_disconnect_timeout'])} s")
    if connections := int(settings.get("connections") or 0):
        said.append(f"the chats of a process shared {words.number(connections)} connections")
    return (*parts, "".join(f", {part}" for part in said))


def margin(summary: Mapping[str, Any]) -> str:
    """Return what was left of the timeout when refreshes came."""
    refresh, margin = summary["refresh"], summary["refresh"]["margin_s"]
    least, p1, p50 = (words.of_tail(margin, key) for key in ("min", "p1", "p50"))
    if not least:
        return "margin before the timeout: no refresh was measured"
    doubt = ", by a timeout that is probably wrong" if summary["sessions"]["common_silence"] else ""
    return (
        f"margin before the timeout: least {least}, p1 {p1}, p50 {p50}, "
        f"over {words.plural(refresh['count'], 'refresh', 'refreshes')}{doubt}"
    )


def generator(generator: Mapping[str, Any]) -> str:
    """Return whether the generator's own processes stalled or ran out of ports."""
    processes = words.plural(generator["processes"], "process", "processes")
    short = ""
    if generator.get("exhausted"):
        never = words.plural(generator["exhausted"], "request")
        short = f"; out of local ports or file descriptors for {never}"
    if not generator["stalls"]:
        return f"generator: {processes}, no stalls{short}"
    stalls = words.plural(generator["stalls"], "stall")
    longest, total = words.seconds(generator["longest_stall_s"]), words.seconds(generator["stalled_s"])
    return f"generator: {processes}, {stalls} ({total} in all, longest {longest}){short}"


def resent(requests: Mapping[str, Any]) -> str:
    """Return how many requests were sent again; empty where none was."""
    count = requests.get("resent")
    if not count:
        return ""
    return f"{words.plural(count, 'request')} sent again: the server had closed the idle connection"


def keys_replaced(summary: Mapping[str, Any]) -> str:
    """Return how often the server replaced secure keys; empty where it never did."""
    count = summary["requests"]["keys_replaced"]
    return f"the server replaced the secure key of a chat {words.plural(count, 'time')}" if count else ""


def offline_notices(summary: Mapping[str, Any]) -> str:
    """Return how often widgets said that the chat server is offline; empty where none did."""
    count = summary["sessions"]["offline_notices"]
    return f"widgets said {words.plural(count, 'time')} that the chat server is offline" if count else ""


def other_users(summary: Mapping[str, Any]) -> str:
    """Return what the requests of users that hold no chats came to; empty if there are none."""
    others = summary["other_users"]
    if not others["classes"] and not others["requests"]:
        return ""
    named = f"users of the locustfile ({', '.join(others['classes'])})" if others["classes"] else "code"
    sent = words.plural(others["requests"], "request")
    if others["failed"]:
        said = f"{words.number(others['failed'])} of {sent} failed"
    else:
        said = f"{sent}, none failed" if others["requests"] else "no request"
    return f"other {named}: {said}; chatload does not judge these"


def arrivals(summary: Mapping[str, Any]) -> str:
    """Return how the chats of an open workload started; empty for a closed workload."""
    arrivals = summary.get("arrivals") or {}
    if not arrivals.get("count"):
        return ""
    tail = arrivals["start_lateness_s"]
    text = f"arrivals: {words.number(arrivals['count'])}, {words.number(arrivals['not_started'])} not started"
    if tail["max"] is None:
        return text
    p50, p99, most = (words.seconds(tail[key]) for key in ("p50", "p99", "max"))
    late = f"{words.number(arrivals['late_starts'])} late by more than {words.seconds(LATE_START_S)}"
    return f"{text}, {late}; start lateness p50 {p50}, p99 {p99}, most {most}"


def books_line(books: Mapping[str, Any], sign: str = "=") -> str:
    """Return both sides of the books: sessions started and ended, requests sent and outcomes."""
    sessions = f"{words.plural(books['sessions_started'], 'session')} started"
    requests = f"{words.plural(books['requests_sent'], 'request')} sent"
    ended, outcomes = words.number(books["sessions_ended"]), words.number(books["requests_with_outcome"])
    return f"{sessions} {sign} {ended} ended; {requests} {sign} {outcomes} outcomes"
