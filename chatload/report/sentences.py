"""What a summary says, in sentences that every report shares."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from chatload.report import words
from chatload.session.books import LATE_START_S


def result_and_why(summary: Mapping[str, Any]) -> tuple[str, str]:
    """The result in a word, and in a sentence why."""
    books = summary["books"]
    sound = summary["valid"] and books["balanced"]
    result = summary.get("result") or ("passed" if sound else "invalid")
    thresholds = summary.get("thresholds", ())
    if not summary["valid"]:
        return result, "; ".join(summary["invalid_reasons"])
    if not books["balanced"]:
        more = len(books["imbalances"]) - 1
        others = f", and {words.plural(more, 'more imbalance')}" if more > 0 else ""
        first = books["imbalances"][0] if books["imbalances"] else books_line(books, "/")
        return result, f"the books do not balance: {first}{others}"
    if summary.get("aborted"):
        return result, f"ended early as hopeless: {summary['aborted']}"
    for word, state in (("failed", "fail"), ("inconclusive", "inconclusive")):
        count = sum(threshold["result"] == state for threshold in thresholds)
        if result == word and count:
            was = f"{'is' if count == 1 else 'are'} inconclusive" if word == "inconclusive" else "failed"
            return result, f"{words.number(count)} of {words.plural(len(thresholds), 'threshold')} {was}"
    return result, answer(summary)


def answer(summary: Mapping[str, Any]) -> str:
    """The one line that answers: did a refresh come too late?"""
    verdicts = summary["sessions"]["by_verdict"]
    accepted = sum(verdicts.values()) - verdicts["refused"]
    late, unproven = verdicts["dropped_late"], verdicts["dropped_unproven"]
    if not accepted:
        return f"no session was accepted ({words.number(verdicts['refused'])} refused): nothing was tested"
    of = f"{words.number(accepted)} accepted sessions" if verdicts["refused"] else words.plural(accepted, "session")
    if late:
        was, share = "was" if late == 1 else "were", words.percent(late / accepted)
        answer = f"{words.number(late)} of {of} {was} dropped because a refresh came too late ({share})"
        return answer + (f"; {words.number(unproven)} more may have been" if unproven else "")
    if unproven:
        return f"no drop proven late in {of}, but {words.number(unproven)} may have been"
    late = summary["rates"]["dropped_late"]
    confidence = f"{100 * late['confidence']:g} % confidence"
    return f"no refresh came too late in {of}: {words.under(late)} with {confidence}"


def heading(summary: Mapping[str, Any]) -> str:
    """The run by name, time, length and timeout."""
    parts = [str(summary["name"])]
    started, ended = summary["started_at"], summary["ended_at"]
    if started is not None:
        parts.append(datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"))
    if started is not None and ended is not None:
        parts.append(f"took {words.duration(ended - started)}")
    timeout = summary["settings"].get("flex_disconnect_timeout")
    if timeout is not None:
        parts.append(f"flex-disconnect-timeout {timeout} s")
    if connections := shared(summary):
        parts.append(connections)
    if unverified := insecure(summary):
        parts.append(unverified)
    return ", ".join(parts)


def shared(summary: Mapping[str, Any]) -> str:
    """That chats had no connections of their own, where they had none."""
    most = int(summary["settings"].get("connections") or 0)
    return f"the chats of a process shared {words.number(most)} connections" if most else ""


def insecure(summary: Mapping[str, Any]) -> str:
    """That the server's certificate was not verified, where it was not."""
    return "TLS certificates not verified (--insecure)" if summary["settings"].get("insecure") else ""


def margin(summary: Mapping[str, Any]) -> str:
    """What was left of the timeout."""
    refresh, margin = summary["refresh"], summary["refresh"]["margin_s"]
    least, p1, p50 = (words.of_tail(margin, key) for key in ("min", "p1", "p50"))
    if not least:
        return "margin before the timeout: no refresh was measured"
    return (
        f"margin before the timeout: least {least}, p1 {p1}, p50 {p50}, "
        f"over {words.plural(refresh['count'], 'refresh', 'refreshes')}"
    )


def generator(generator: Mapping[str, Any]) -> str:
    """How the generator fared."""
    processes = words.plural(generator["processes"], "process", "processes")
    short = ""
    if generator.get("exhausted"):
        never = words.plural(generator["exhausted"], "request")
        short = f"; out of local ports or file descriptors for {never}"
    if not generator["stalls"]:
        return f"generator: {processes}, never stood still{short}"
    stalls = words.plural(generator["stalls"], "time")
    longest, total = words.seconds(generator["longest_stall_s"]), words.seconds(generator["stalled_s"])
    return f"generator: {processes}, stood still {stalls} ({total} in all, longest {longest}){short}"


def resent(requests: Mapping[str, Any]) -> str:
    """How often a request was sent once more; empty where none was."""
    count = requests.get("resent")
    if not count:
        return ""
    whose, they = ("its", "it") if count == 1 else ("their", "they")
    return f"{words.plural(count, 'request')} sent once more: {whose} kept connection was closed just as {they} left"


def arrivals(summary: Mapping[str, Any]) -> str:
    """How the chats of an open workload began; empty of a closed one."""
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
    """Both sides of the books."""
    sessions = f"{words.plural(books['sessions_started'], 'session')} started"
    requests = f"{words.plural(books['requests_sent'], 'request')} sent"
    ended, outcomes = words.number(books["sessions_ended"]), words.number(books["requests_with_outcome"])
    return f"{sessions} {sign} {ended} ended; {requests} {sign} {outcomes} outcomes"
