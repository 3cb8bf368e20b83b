"""The table of bad runs, and of good but unusual ones. `python -m tests.badruns.table` prints docs/bad-runs.md."""

from __future__ import annotations

from typing import Any

from tests.badruns.rows import Row, Serve, page
from tests.badruns.servers import (
    after,
    chunked,
    disturbed,
    edited,
    freeze,
    from_nth,
    kill,
    now_and_then,
    of_the_fault_table,
    proxied,
    restart,
    simulator,
    stub,
    to,
)
from tests.faults import deeds
from tests.faults import servers as faulty
from tests.faults.proxy import Call, Deed, http_answer
from tests.integration.processes import ROOT
from tests.integration.rawserver import Peer

ARRIVALS = ROOT / "locustfiles" / "arrivals.py"

FAILED, USAGE, INVALID, UNDECIDED, OK = (frozenset({code}) for code in (1, 2, 3, 4, 0))
EITHER = FAILED | UNDECIDED
UNSERVED = "unserved.rate < 1% fail"
UNSUCCESSFUL = "GetMessages.unsuccessful.rate < 1% fail"
MAY = "may have been dropped"
UNCOVERED: tuple[str, ...] = ("no threshold is about",)

LONGER = "chat_length = 2.5\nmessages = 0\n"
FOUR_SECONDS = "chat_length = 4.0\nmessages = 0\n"
#: For servers behind a proxy that is slower.
FEWER = ("-u", "50", "-t", "15s")
LATE = ("--refresh-interval", "2.4", "--allow-late-refresh", "-t", "6s", "--chats", "100")


def untested(why: str) -> dict[str, Any]:
    """What is right where no RequestChat is accepted; why: the reason that is given."""
    why = f"most often: RequestChat: {why}"
    return {"codes": FAILED, "words": ("nothing was tested", "none accepted", why, UNSERVED),
            "four_codes": UNDECIDED, "four_words": ("NOTHING TESTED", why)}  # fmt: skip


def never_begun(why: str) -> dict[str, Any]:
    """What is right where the first probe already shows that no run can be made; why: what it says."""
    return {"codes": USAGE, "words": (why,), "four_words": ("not a run",)}


def unserved(*words: str) -> dict[str, Any]:
    """What is right where a part of the chats is served, and served well: the four say nothing of the others."""
    return {"codes": FAILED, "words": (UNSERVED, *words), "four_codes": UNDECIDED, "four_words": UNCOVERED}


def dead_later(outcome: str) -> dict[str, Any]:
    """What is right where the server serves nobody any more from an instant on; outcome: of requests from then on."""
    return {"codes": FAILED, "words": (MAY, UNSERVED, UNSUCCESSFUL, outcome), "four_codes": EITHER,
            "four_words": (MAY, outcome)}  # fmt: skip


def outage() -> dict[str, Any]:
    """What is right where one outage ends: it is one incident, and says little about the rates of sessions."""
    return {"codes": FAILED, "words": (MAY, UNSUCCESSFUL, "connection"), "four_codes": EITHER,
            "four_words": (MAY, "connection")}  # fmt: skip


def unread(*outcomes: str) -> dict[str, Any]:
    """What is right where chats are opened, and no refresh succeeds; outcomes: of the refreshes."""
    return {"codes": FAILED, "words": (UNSUCCESSFUL, *outcomes), "four_codes": UNDECIDED,
            "four_words": ("margin.p1 > 500 ms inconclusive", "no refresh was measured", *outcomes)}  # fmt: skip


def dropped(*words: str) -> dict[str, Any]:
    """What is right where chats are dropped for sure."""
    return {
        "codes": FAILED,
        "words": ("dropped.rate < 1% fail", *words),
        "four_words": ("dropped.rate < 5% fail", *words),
    }


def undecided() -> dict[str, Any]:
    """What is right where chats end and nothing shows why: they may have been dropped."""
    return {"codes": UNDECIDED, "words": (MAY, "inconclusive")}


def hanging() -> dict[str, Any]:
    """What is right where refreshes are not answered in time."""
    return {"codes": FAILED, "words": (UNSUCCESSFUL, MAY, "timeout"),
            "four_words": ("GetMessages.latency.p99 < 300 ms fail", MAY, "timeout")}  # fmt: skip


def nothing(why: str) -> dict[str, Any]:
    """What is right where no chat was opened at all."""
    return {"codes": UNDECIDED, "words": ("NOTHING TESTED", why)}


#: The gate's limit is what the vendor's client waits; nothing is unsuccessful.
SLOW: dict[str, Any] = {"codes": FAILED, "words": ("GetMessages.latency.p99 < 3 s fail",),
                        "four_words": ("GetMessages.latency.p99 < 300 ms fail",)}  # fmt: skip
#: The retries of an overloaded server's clients may overload the generator too.
OVERLOADED: dict[str, Any] = {"codes": FAILED | INVALID, "words": ("timeout", MAY)}
LOST: dict[str, Any] = {"codes": FAILED, "words": ("failed.rate < 1% fail", UNSUCCESSFUL),
                        "four_codes": UNDECIDED, "four_words": UNCOVERED}  # fmt: skip
#: If the server takes long to come back, margin.p1 fails too. No drop may be claimed.
RESTARTED = {**LOST, "four_codes": EITHER,
             "never": ("dropped.rate < 1% fail", "dropped.rate < 5% fail", "dropped_late.rate < 5% fail")}  # fmt: skip
#: Refreshes came too late; whether the chats ended for that, such a clock does not show.
SILENT_TOO_LONG: dict[str, Any] = {"codes": FAILED, "words": (MAY, "margin.p1 > 0 s fail"),
                                   "four_words": (MAY, "margin.p1 > 500 ms fail")}  # fmt: skip
SURELY_EARLY = dropped("by the server though every refresh was in time")


def always(deed: Deed) -> Serve:
    """A stub that does this to every request."""
    return stub(lambda: deed)


def fault(kind: str, *operations: str, **more: object) -> str:
    """A fault of the simulator, as TOML."""
    lines = [f'kind = "{kind}"', *(f"{key} = {value}" for key, value in more.items())]
    if operations:
        lines.append(f"operations = {list(operations)}")
    return "[[fault]]\n" + "\n".join(lines) + "\n"


def plain_http(peer: Peer) -> None:
    """Say at once, to whoever connects, what a plain HTTP server says to what it does not understand."""
    peer.send(http_answer(b"", "HTTP/1.1 400 Bad Request"))


def status(code: str, *headers: str, body: bytes = b"<html>No</html>") -> Deed:
    """An HTTP answer that the chat server did not make."""
    return deeds.status(code, *headers, body=body)


DEAD = [
    Row("nothing listens", "the server is not there", "nothing listens at the port",
        of_the_fault_table(faulty.nobody), **never_begun("cannot be reached: connection refused")),
    Row("accepts nobody", "the server does not accept", "connections are made, and nothing is ever read",
        of_the_fault_table(faulty.never_accepting), **untested("timeout waiting for the answer")),
    Row("closes from t on", "the server dies during the run",
        "from the second second on, every connection is closed without an answer",
        stub(lambda: after(2.0, Call.close)), **dead_later("connection"), options=("--chats", "0")),
    Row("gone at t", "the server process dies during the run", "it is killed, and nothing listens any more",
        disturbed(kill, 1.0), **dead_later("connection"), options=("--chats", "0")),
    Row("restarted at t", "the server restarts during the run", "it is killed, and comes back with no chat",
        disturbed(restart, 1.0), **RESTARTED, script=LONGER),
    Row("frozen at t", "the server stands still from t on", "its process is stopped (SIGSTOP) until the end",
        disturbed(freeze, 1.0), **dead_later("timeout"), options=("--chats", "0")),
    Row("resets every connection", "the server resets", "every connection is reset as soon as it is accepted",
        stub(welcome=Peer.reset), **untested("connection reset")),
    Row("another protocol", "it is no HTTP server", "every request is answered by the greeting of an SSH server",
        always(deeds.raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")), **untested("answer is not HTTP")),
]  # fmt: skip

HANGING = [
    Row("hangs 3 %", "3 % of refreshes are never answered", "3 % of GetMessages hang",
        stub(now_and_then(0.03, to("GetMessages", deeds.hang))), **hanging()),
    Row("hangs 30 %", "30 % of refreshes are never answered", "30 % of GetMessages hang",
        stub(now_and_then(0.3, to("GetMessages", deeds.hang))), **hanging()),
    Row("hangs all refreshes", "no refresh is answered", "every GetMessages hangs",
        always(to("GetMessages", deeds.hang)), **hanging()),
    Row("hangs for new chats", "new chats hang", "every RequestChat after the first 150 hangs",
        always(to("RequestChat", from_nth(151, deeds.hang))), **unserved("timeout")),
    Row("hangs for every chat", "no chat can be opened", "every RequestChat hangs",
        always(to("RequestChat", deeds.hang)), **untested("timeout waiting for the answer")),
    Row("too slow", "refreshes time out", "every GetMessages is answered after 1.5 s",
        simulator(faults=fault("slow", "GetMessages", delay_s=1.5)), **hanging(), script=LONGER),
    Row("slow", "refreshes are slow, and in time", "every GetMessages is answered after 3.2 s",
        simulator("--flex-disconnect-timeout", 20, faults=fault("slow", "GetMessages", delay_s=3.2)),
        **SLOW, script=FOUR_SECONDS, options=("--flex-disconnect-timeout", "20", "--request-timeout", "6", "-t", "9s")),
    Row("trickles", "answers trickle", "bodies come a byte every 20 ms, and do not end",
        always(to("GetMessages", deeds.trickle_body)), **hanging()),
    Row("overloaded", "the server is overloaded", "requests wait in line; the server can serve 100 a second",
        simulator("--service-time", "0.01"), **OVERLOADED),
]  # fmt: skip

REFUSING = [
    Row("refuses all", "no chat is accepted", "every RequestChat is answered statusCode 2",
        simulator(faults=fault("status_2", "RequestChat")), **untested("statusCode 2")),
    Row("refuses half", "half of the chats are refused", "every other RequestChat is answered statusCode 2",
        simulator(faults=fault("status_2", "RequestChat", chance=0.5)), **unserved()),
    Row("at its limit", "the server's limit is below the load", "it takes 30 chats at a time",
        simulator("--limit-for-sessions", 30), **unserved()),
    Row("opens no chat", "no chat is opened", "every RequestChat is answered 1/false",
        simulator(faults=fault("status_1", "RequestChat")), **untested("statusCode 1/false")),
    Row("opens no chat, says it ended", "no chat is opened", "every RequestChat is answered 1/true",
        simulator(faults=fault("status_1_violation", "RequestChat")), **untested("statusCode 1/true")),
    Row("opens ended chats", "every chat has ended when it is opened",
        "every RequestChat is answered 0/true, and every later request too",
        always(edited(lambda call, answer: {**answer, "chatEnded": True})), **untested("statusCode 0/true")),
    Row("opens chats without ids", "chats have no id", "RequestChat is answered 0/false without chatId",
        always(to("RequestChat", edited(lambda call, answer: {**answer, "chatId": None}))), **untested("no chatId")),
    Row("refreshes fail", "no refresh succeeds", "every GetMessages is answered 1/false",
        simulator(faults=fault("status_1", "GetMessages")), **unread()),
    Row("loses every chat", "every chat is lost", "every GetMessages is answered statusCode 2, in time",
        simulator(faults=fault("status_2", "GetMessages")), **LOST),
]  # fmt: skip

#: Name -> what is answered, how, why a RequestChat so answered is not accepted, and the outcome of requests.
SHAPES = {
    "unknown statusCode": ("statusCode is 7", deeds.payload(statusCode=7, chatEnded=False, messages=[]),
                           "statusCode not in the table", "unknown_status"),
    "statusCode as text": ('statusCode is the text "0"', edited(lambda call, answer: {**answer, "statusCode": "0"}),
                           "statusCode is missing or of the wrong type", "malformed"),
    "statusCode missing": ("there is no statusCode", deeds.payload(chatEnded=False, messages=[]),
                           "statusCode is missing or of the wrong type", "malformed"),
    "chatEnded as text": ('chatEnded is the text "false"',
                          edited(lambda call, answer: {**answer, "chatEnded": "false"}),
                          "chatEnded is of the wrong type", "malformed"),
    "no JSON": ("the body is the text OK", deeds.text(b"OK"), "body is not JSON", "malformed"),
    "truncated JSON": ("the body is JSON that stops in the middle", deeds.text(b'{"statusCode":0,"chatEnded":fal'),
                       "body is not JSON", "malformed"),
    "JSON array": ("the answer is wrapped in a JSON array", edited(lambda call, answer: [answer]),
                   "body is not a JSON object", "malformed"),
    "JSON null": ("the body is null", deeds.text(b"null"), "body is not a JSON object", "malformed"),
    "empty body": ("the body is empty", deeds.text(b""), "empty body", "malformed"),
    "HTML": ("a proxy answers 200 with a page of HTML", deeds.text(b"<html><body>Welcome</body></html>"),
             "body is not JSON", "malformed"),
    "no content": ("the answer is 204 without a body", deeds.raw(b"HTTP/1.1 204 No Content\r\n\r\n"), "HTTP 204",
                   "http_error"),
}  # fmt: skip

MALFORMED = [
    *(Row(f"{name}, always", "answers cannot be read", f"to every request: {behaves}", always(deed), **untested(why))
      for name, (behaves, deed, why, _) in SHAPES.items()),
    *(Row(f"{name}, refreshes", "refreshes cannot be read", f"to every GetMessages: {behaves}",
          always(to("GetMessages", deed)), **unread(outcome))
      for name, (behaves, deed, _, outcome) in SHAPES.items()
      if name in ("unknown statusCode", "statusCode as text", "truncated JSON", "empty body", "HTML")),
]  # fmt: skip

LOGIN = ("302 Found", "Location: /login")
HTTP = [
    Row("503 always", "the service is unavailable", "every request is answered 503 with Retry-After: 60",
        always(status("503 Service Unavailable", "Retry-After: 60")), **untested("HTTP 503")),
    Row("503 from t on", "the service becomes unavailable", "from the second second on, 503 with Retry-After: 60",
        stub(lambda: after(2.0, status("503 Service Unavailable", "Retry-After: 60"))),
        **dead_later("http_error"), options=("--chats", "0")),
    Row("503 for half", "a gateway fails half of the time", "half of all requests are answered 503",
        stub(now_and_then(0.5, status("503 Service Unavailable"))), **dead_later("http_error")),
    Row("500 always", "the service fails", "every request is answered 500",
        always(status("500 Internal Server Error")), **untested("HTTP 500")),
    Row("429 always", "the service limits the rate", "every request is answered 429 with Retry-After: 60",
        always(status("429 Too Many Requests", "Retry-After: 60")), **untested("HTTP 429")),
    Row("301 always", "the service has moved", "every request is answered 301",
        always(status("301 Moved Permanently", "Location: /elsewhere")), **never_begun("HTTP 301")),
    Row("302 always", "a login page is in front", "every request is redirected to it, 302",
        always(status(*LOGIN)), **never_begun("HTTP 302")),
    Row("302 for new chats", "a login page is in front of new chats", "every RequestChat is redirected to it, 302",
        always(to("RequestChat", status(*LOGIN))), **untested("HTTP 302")),
    Row("302 from t on", "the login expires during the run", "from the second second on, 302 to a login page",
        stub(lambda: after(2.0, status(*LOGIN))), **dead_later("http_error"), options=("--chats", "0")),
    Row("401 always", "the login is refused", "every request is answered 401", always(status("401 Unauthorized")),
        **never_begun("refuses requests: HTTP 401")),
    Row("401 for new chats", "the client may open no chat", "every RequestChat is answered 401",
        always(to("RequestChat", status("401 Unauthorized"))), **untested("HTTP 401")),
    Row("403 for refreshes", "a firewall forbids refreshes", "every GetMessages is answered 403",
        always(to("GetMessages", status("403 Forbidden"))), **never_begun("HTTP 403")),
    Row("wrong service", "--service is wrong", "the server has no such service, 404",
        simulator(), **never_begun("has no chat service 'sales'"), options=("--service", "sales")),
    Row("wrong dialect", "--dialect is wrong", "the server speaks webapi, the client gms-v2",
        simulator("--dialect", "webapi"), **never_begun("HTTP 404; check --service, --dialect and --host")),
    Row("wrong dialect, the other way", "--dialect is wrong", "the server speaks gms-v2, the client webapi",
        simulator(), **never_begun("HTTP 404; check --service, --dialect and --host"), options=("--dialect", "webapi")),
]  # fmt: skip

TLS = [
    Row("no TLS there", "the handshake fails", "the URL is https, the port speaks plain HTTP",
        stub(scheme="https", welcome=plain_http), **never_begun("cannot be reached: TLS failed")),
    Row("handshake hangs", "the handshake hangs", "the URL is https, and the port waits for an HTTP request",
        stub(scheme="https"), **untested("timeout")),
    Row("handshake cut", "the handshake is cut", "the connection is reset in place of the handshake",
        stub(scheme="https", welcome=Peer.reset), **untested("connection reset")),
    Row("untrusted certificate", "the certificate is not trusted", "its authority is unknown", stub(tls="good"),
        **never_begun("certificate from an unknown authority")),
    Row("expired certificate", "the certificate has expired", "it was valid until yesterday",
        stub(tls="expired"),
        **never_begun("certificate expired or not yet valid"), options=("--ca-file", "{authority}")),
    Row("certificate of another host", "the certificate is of another host", "it names another host",
        stub(tls="of_another"), **never_begun("certificate for another name"), options=("--ca-file", "{authority}")),
    Row("TLS cut from t on", "TLS connections are cut during the run",
        "from the second second on, the connection ends in the middle of each answer, without TLS's close_notify",
        stub(lambda: after(2.0, deeds.cut_in_body), tls="good"), **dead_later("connection"),
        options=("--chats", "0", "--ca-file", "{authority}")),
]  # fmt: skip

DROPS = [
    Row("timeout shorter than told", "--flex-disconnect-timeout is wrong",
        "the server's timeout is 1 s, --flex-disconnect-timeout 45, interval 1.4 s",
        simulator("--flex-disconnect-timeout", 1),
        **dropped("The timeout of 45 s is probably wrong: run `chatload probe`"), script=LONGER,
        options=("--flex-disconnect-timeout", "45", "--refresh-interval", "1.4")),
    Row("late by the plan", "the interval is longer than the timeout", "the timeout is 2 s, the interval 2.4 s",
        simulator(), **dropped("because a refresh came too late", "plan"), script=FOUR_SECONDS, options=LATE),
    Row("stalls", "the server stalls for longer than the timeout",
        "every request reaches it 2.5 s late", simulator(faults=fault("stall", "GetMessages", delay_s=2.5)),
        **hanging(),
        script=LONGER),
    Row("outage", "no connection works for longer than the timeout", "every connection is closed for 2.6 s",
        proxied(lambda call: (Call.close if 1.5 <= call.proxy.age_s < 4.1 else Call.answer)(call)),
        **outage(),
        script=LONGER, options=("-u", "40", "--chats", "80")),
    Row("ends early", "the server ends chats early", "5 % of GetMessages end their chat",
        simulator(faults=fault("early_end", "GetMessages", chance=0.05)),
        **dropped("by the server though every refresh was in time")),
    Row("ends without a word", "chats end, and nothing says why",
        "the second GetMessages is answered 0/true without an event",
        always(to("GetMessages", from_nth(2, edited(lambda call, answer: {**answer, "chatEnded": True})))),
        **undecided()),
    Row("keys rejected", "the server rejects good keys",
        "RequestChat's answer has a secureKey that the server then rejects, with error code 8210",
        proxied(to("RequestChat", edited(lambda call, answer: {**answer, "secureKey": "0"})), "--error-8210"), **LOST,
        options=FEWER),
    Row("expired by another timeout", "the server removes chats for silence after a second, and says so",
        "the server's timeout is 1 s, --flex-disconnect-timeout 2, interval 1.4 s; it answers with error code 8209",
        simulator("--flex-disconnect-timeout", 1, "--error-8209"),
        **dropped("The timeout of 2 s is probably wrong: run `chatload probe`"), script=LONGER,
        options=("--refresh-interval", "1.4")),
    Row("failed restorations", "chats are lost when they move", "5 % of GetMessages end their chat, quit-reason-code 8",
        simulator("--quit-reasons", "documented",
                  faults=fault("failed_restoration", "GetMessages", chance=0.05)),
        **dropped("by the server though every refresh was in time")),
    Row("lost requests", "requests are lost", "10 % of requests never reach the server, and are not answered",
        simulator(faults=fault("lost", chance=0.1)), **hanging()),
]  # fmt: skip

EARLY = fault("early_end", "GetMessages", chance=0.05)
CLOCKS = [
    *(Row(f"early ends, {name}", "the server ends chats early, and its clock is unreliable",
          f"5 % of GetMessages end their chat; {behaves}", simulator(*options, faults=EARLY), **right)
      for name, behaves, options, right in (
          ("whole seconds", "events are stamped in whole seconds", ("--utc-resolution", 1), SURELY_EARLY),
          ("clock hours away", "the clock is five hours ahead", ("--clock-offset", 18000), SURELY_EARLY),
          ("clock that steps", "the clock steps by -3 s during the run",
           ("--clock-step", -3, "--clock-step-at", 5), SURELY_EARLY),
          ("clock that drifts", "the clock gains 1 % of its time", ("--clock-drift-ppm", 10000), SURELY_EARLY),
          ("two nodes", "two nodes, 400 ms apart, stamp the events", ("--nodes", 2, "--node-offset", 0.4),
           SURELY_EARLY),
          ("undated", "events have no utcTime", ("--undated-chance", 1), SURELY_EARLY),
          ("untold", "the customer's ParticipantLeft is missing", ("--no-customer-left-told",), undecided()),
      )),
    *(Row(f"late, {name}", "the interval is longer than the timeout, and the clock is unreliable",
          f"the timeout is 2 s, the interval 2.4 s; {behaves}", simulator(*options), **right, script=FOUR_SECONDS,
          options=LATE)
      for name, behaves, options, right in (
          ("whole seconds", "events are stamped in whole seconds", ("--utc-resolution", 1), SILENT_TOO_LONG),
          ("clock that steps", "the clock steps by -3 s during the run",
           ("--clock-step", -3, "--clock-step-at", 6), dropped("because a refresh came too late")),
          ("undated", "events have no utcTime", ("--undated-chance", 1), SILENT_TOO_LONG),
      )),
]  # fmt: skip

SETUPS = [
    Row("no users", "no users", "`-u 0`", simulator(),
        **nothing("no session was started (-u 0 asks for no users)"), options=("-u", "0", "-t", "2s")),
    Row("no matching tags", "--tags match nothing", "`--tags nothing`, and no task has that tag", simulator(),
        **nothing("no session was started (--tags and --exclude-tags leave no task)"),
        options=("--tags", "nothing", "-t", "2s")),
    Row("no chat in time", "the run ends before its first chat", "one chat an hour arrives, for 2 s",
        simulator(),
        **nothing("no session was started"), options=("--arrival-rate", "0.0003", "-t", "2s", "-u", "1"),
        locustfile=ARRIVALS.read_text()),
    Row("blocked generator", "the generator is blocked", "a listener computes for 3 s and yields to no user",
        simulator(), INVALID,
        ("INVALID: the generator's own lateness could have caused",), script=LONGER, locustfile="""
import time

import gevent
from locust import events

from chatload.swarm.user import ChatUser


class Customer(ChatUser):
    pass


def compute():
    until = time.perf_counter() + 3
    while time.perf_counter() < until:
        pass


@events.test_start.add_listener
def later(**_):
    gevent.spawn_later(2.0, compute)
"""),
    Row("no file descriptor", "the generator runs out of file descriptors",
        "its limit is six more than it has open", simulator(), INVALID,
        ("INVALID: the generator ran out of local ports or file descriptors",), locustfile="""
import os
import resource

from locust import events

from chatload.swarm.user import ChatUser


class Customer(ChatUser):
    pass


@events.test_start.add_listener
def few_files(**_):
    limit = len(os.listdir("/proc/self/fd")) + 6
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
"""),
]  # fmt: skip


AGENTS = ("--agents", "--agent-wait", 0.1, 0.3, "--agent-leaves-chance", 0.5, "--agent-leaves-after", 0.2, 0.6)
OTHER = ("--other-client-chance", 1, "--other-client-after", 0.1, 0.3, "--other-client-stays", 0.1, 0.3)
GOOD = [
    Row("ordinary", "nothing", "an ordinary server, for comparison", simulator(), OK),
    Row("agents", "agents end chats", "agents join every chat and end half of them", simulator(*AGENTS), OK),
    Row("whole seconds", "the clock's resolution", "events are stamped in whole seconds",
        simulator(*AGENTS, "--utc-resolution", 1), OK),
    Row("clock hours away", "a clock that is hours off", "events are stamped five hours ahead",
        simulator(*AGENTS, "--clock-offset", 18000), OK),
    Row("clock that steps", "a clock that steps", "the clock of the events steps by -3 s during the run",
        simulator(*AGENTS, "--clock-step", -3, "--clock-step-at", 5), OK),
    Row("two nodes", "nodes with different clocks", "two nodes, 400 ms apart, stamp the events",
        simulator(*AGENTS, "--nodes", 2, "--node-offset", 0.4), OK),
    Row("no utcTime", "events without a stamp", "no event has utcTime", simulator(*AGENTS, "--undated-chance", 1), OK),
    Row("null fields", "null fields", "members that say nothing new are null, and all of a Disconnect's answer",
        simulator("--answer-fields", "null", "--disconnect-answer", "null"), OK),
    Row("bare Disconnect", "a bare answer", 'a Disconnect is answered {"statusCode":0}',
        simulator("--disconnect-answer", "bare"), OK),
    Row("no chatEnded", "chatEnded is absent", "no answer has chatEnded", simulator("--chat-ended-told", "never"), OK),
    Row("another Client", "another Client in the chat",
        "a second participant of type Client joins every chat and leaves it", simulator(*AGENTS, *OTHER), OK),
    Row("namesakes", "another Client of the same name", "the same, and it has the customer's nickname",
        simulator(*OTHER, "--other-client-shares-name"), OK),
    Row("reason codes", "reason codes",
        "the customer's ParticipantLeft is there and has a quit-reason-code, also where the agent ended the chat",
        simulator(*AGENTS, "--quit-reasons", "all"), OK),
    Row("rotated keys", "rotated keys", "every second answer has a new secureKey",
        simulator("--key-rotates-answers", 2), OK),
    Row("moved alias", "a chat that moves to another node", "every chat goes on at another node, with another alias",
        simulator("--nodes", 2, "--node-changes", "chat", "--node-moves-after", 0.2, 0.6), OK),
    Row("repeated events", "repeated events", "every transcript begins up to five events too early",
        simulator(*AGENTS, "--repeat-events", 5), OK),
    Row("chunked", "chunked answers", "bodies come in chunks of 16 bytes", proxied(chunked), OK, options=FEWER),
    Row("HTTP/1.0", "no kept connections", "answers are HTTP/1.0, without a length, ended by closing",
        proxied(deeds.old_http), OK, options=FEWER),
    Row("gzip", "compressed answers", "answers are compressed though no client asked for it",
        proxied(deeds.gzipped), OK, options=FEWER),
    Row("slow but in time", "slow, but in time", "every request is answered after 150 ms",
        simulator(faults=fault("slow", delay_s=0.15)), OK),
    Row("long polling", "long polling", "a GetMessages is held for up to 0.2 s, and --long-poll says so",
        simulator("--long-poll", 0.2), OK, options=("--long-poll", "0.2")),
    Row("timeout longer than told", "a longer timeout than assumed", "it is 45 s, --flex-disconnect-timeout 2",
        simulator("--flex-disconnect-timeout", 45), OK),
    Row("another dialect", "another API", "the server speaks webapi, and --dialect says so",
        simulator("--dialect", "webapi"), OK, options=("--dialect", "webapi")),
]  # fmt: skip

BAD = {
    "Dead servers": DEAD,
    "Servers that hang or are slow": HANGING,
    "Servers that refuse": REFUSING,
    "Answers that cannot be read": MALFORMED,
    "HTTP": HTTP,
    "TLS": TLS,
    "Dropped chats": DROPS,
    "Dropped chats with unreliable clocks": CLOCKS,
    "Set-ups and the generator": SETUPS,
}

#: Rows that CI runs, of every kind; the others are run by hand, with CHATLOAD_EVERY_WAY=1.
IN_CI = frozenset({
    "nothing listens", "closes from t on", "gone at t", "restarted at t",
    "hangs 3 %", "hangs for new chats",
    "refuses all", "refuses half",
    "truncated JSON, always", "unknown statusCode, refreshes",
    "302 always", "503 from t on",
    "untrusted certificate",
    "timeout shorter than told", "late by the plan", "ends early",
    "early ends, whole seconds",
    "no users", "no matching tags", "blocked generator",
    "ordinary", "whole seconds", "null fields", "another Client", "reason codes", "chunked", "moved alias",
})  # fmt: skip

if __name__ == "__main__":
    print(page(BAD, GOOD), end="")
