"""The fault table: one row a fault. `python -m tests.faults.table` prints docs/faults.md."""

from __future__ import annotations

from typing import Any

from tests.faults import deeds, servers
from tests.faults.proxy import Call, at, http_answer
from tests.faults.rows import Row, page
from tests.integration.rawserver import Peer

HASTY = {"request_s": 2.0}
REAL = "tests/faults/test_faults_real.py::"
LOST = "the engine retries with increasing pauses, never past the deadline"
BELIEVED = "lean keeps a resolved name for 30 s unless its addresses stop answering; requests resolves it each time"
NEW_CHAT = "a RequestChat that the server may have processed is never sent twice"


def refresh(deed: Any, *nths: int) -> Any:
    """The deed for the second GetMessages of each chat, or for these."""
    return at("GetMessages", deed, *(nths or (2,)))


def opened_once(proxy: Any, answer: Any) -> None:
    """One RequestChat a chat, and no more."""
    sent = sum(call.operation == "RequestChat" for call in proxy.calls)
    assert sent == answer["books"]["started"], sent


def said_once(proxy: Any, answer: Any) -> None:
    """One SendMessage a chat, and no more."""
    assert sum(call.operation == "SendMessage" for call in proxy.calls) == answer["books"]["started"]


def nothing_elsewhere(proxy: Any, answer: Any) -> None:
    """Nobody asked where the redirects led."""
    assert not [request for _, request in proxy.seen if b"/elsewhere" in request.split(b"\r\n")[0]]


CONNECTIONS = [
    Row("refused", "no process listens at the port", ("RequestChat connection: connection refused",), "gave_up",
        serve=servers.nobody, flex=2, rule="nothing was sent, so RequestChat is retried within the retry budget"),
    Row("refused in mid chat", "the server dies during a chat, and its port is closed",
        ("GetMessages connection: connection refused", "Disconnect connection: connection refused"),
        "dropped_unproven", flex=2, deed=refresh(deeds.gone), resent=1, chats=1,
        rule="the client cannot learn how the chat ended, and claims nothing"),
    Row("reset when accepted", "a TCP reset as soon as the connection is there",
        ("RequestChat connection: connection reset",), "gave_up", flex=2, welcome=Peer.reset),
    Row("reset before the answer", "the request is read, then a TCP reset on a new connection",
        ("RequestChat connection: connection reset",), "gave_up", deed=at("RequestChat", Call.reset),
        extra=opened_once, rule=NEW_CHAT),
    Row("closed before the answer", "the request is read, then the connection closed in order",
        ("RequestChat connection: connection closed before the answer",), "gave_up",
        deed=at("RequestChat", Call.close), extra=opened_once, rule=NEW_CHAT),
    Row("backlog full", "a listener that accepts no connection, its queue full",
        ("RequestChat timeout: timeout while connecting",), "gave_up", serve=servers.full_backlog, flex=2,
        settings={"request_s": 0.4}),
    Row("never accepted", "a listener that accepts no connection, its queue not yet full",
        ("RequestChat timeout: timeout waiting for the answer",), "gave_up", serve=servers.never_accepting,
        settings=HASTY, rule=NEW_CHAT),
    Row("half-open", "the connection stays, nothing is read and nothing answered any more",
        ("GetMessages timeout: timeout waiting for the answer",), deed=refresh(deeds.hang), settings=HASTY, rule=LOST),
    Row("IPv6", "the host is [::1]", host="::1"),
    Row("IPv6 first, in vain", "a name with two addresses, the first of which has no listener", named="localhost",
        rule="the addresses are tried in turn, within one total deadline"),
]  # fmt: skip

ANSWERS = [
    Row("reset in the head", "a TCP reset after half of the answer's head",
        ("GetMessages connection: answer cut short",), deed=refresh(deeds.reset_in_head), rule=LOST),
    Row("reset in the body", "a TCP reset after HTTP 200 and most of the body",
        ("GetMessages connection: answer cut short",), deed=refresh(deeds.reset_in_body),
        rule="a failure takes precedence over the status: it is not a 200"),
    Row("body cut short", "HTTP 200, most of the body, then the connection closed in order",
        ("GetMessages connection: answer cut short",), deed=refresh(deeds.cut_in_body),
        rule="a failure takes precedence over the status: it is not a 200"),
    Row("chunks cut short", "a chunked body whose last chunk does not come",
        ("GetMessages connection: answer cut short",), deed=refresh(deeds.cut_in_chunks)),
    Row("head cut short", "half of the answer's head, then the connection closed in order",
        ("GetMessages connection: answer cut short",), deed=refresh(deeds.cut_in_head)),
    Row("answer twice", "a second answer, of a lost session, right behind the first",
        deed=refresh(deeds.twice_answered), rule="bytes after an answer are never the next request's answer"),
    Row("unasked answer", "a 408 on the idle connection", deed=refresh(deeds.unasked_later),
        settings={"interval_s": 1.0, "refreshes": 3},
        rule="the connection is not used again; nothing was sent on it, so nothing is repeated"),
    Row("answer too late", "the answer comes after the request was given up, and says 2",
        ("GetMessages timeout: timeout waiting for the answer",), deed=refresh(deeds.too_late), settings=HASTY,
        rule="the connection is closed with the request, so a late answer is discarded"),
    Row("slow-loris head", "a byte of the head every 20 ms, forever",
        ("GetMessages timeout: timeout waiting for the answer",), deed=refresh(deeds.trickle_head), settings=HASTY,
        rule="the total deadline"),
    Row("trickling body", "a byte of the body every 20 ms, each sooner than any socket timeout",
        ("GetMessages timeout: timeout waiting for the answer",), deed=refresh(deeds.trickle_body), settings=HASTY,
        rule="the total deadline"),
    Row("endless head", "headers without end", ("GetMessages malformed: head too large",),
        deed=refresh(deeds.endless_head)),
    Row("endless body", "a body without end", ("GetMessages malformed: body too large",),
        deed=refresh(deeds.endless_body), rule="4 MiB are read at most"),
    Row("Content-Length too great", "ten bytes more promised than sent, the connection kept",
        ("GetMessages timeout: timeout waiting for the answer",), deed=refresh(deeds.too_long_a_length),
        settings=HASTY),
    Row("Content-Length too small", "ten bytes fewer promised than sent",
        ("GetMessages malformed: body is not JSON",), deed=refresh(deeds.too_short_a_length)),
    Row("bad chunk", "a chunk whose size is not a number", ("GetMessages malformed: answer is not HTTP",),
        deed=refresh(deeds.bad_chunks)),
    Row("not HTTP", "another protocol's greeting", ("GetMessages malformed: answer is not HTTP",),
        deed=refresh(deeds.raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"))),
    Row("HTTP/1.0", "every answer HTTP/1.0, without a length, ended by closing", deed=deeds.old_http),
    Row("Connection: close", "every answer ends its connection and says so", deed=deeds.says_close),
    Row("interim answer", "100 Continue before every answer", deed=deeds.interim),
    Row("compressed unasked", "gzip, though only identity is accepted", deed=deeds.gzipped,
        rule="decompressed, as by a browser"),
    Row("compressed, not really", "an answer that says gzip and is not",
        ("GetMessages malformed: answer is compressed, and cannot be unpacked",), deed=refresh(deeds.badly_gzipped)),
]  # fmt: skip

KEPT = [
    Row("closed while idle", "the server closes the connection after an answer, without having said so",
        deed=refresh(deeds.answer_then_close), rule="found before the next request leaves; nothing is repeated"),
    Row("closed as it leaves", "the request comes, and the kept connection is closed without a byte", resent=1,
        deed=refresh(Call.close), rule="sent once more on a new connection, and counted; not a failure of the server"),
    Row("reset as it leaves", "the same, with a TCP reset", resent=1, deed=refresh(Call.reset),
        rule="the same"),
    Row("closed twice", "... and the new connection is closed too",
        ("GetMessages connection: connection closed before the answer",), resent=1, deed=refresh(Call.close, 2, 3),
        rule="once only; a new connection closed without an answer is the server's failure"),
    Row("closed after half a head", "... but after a part of an answer",
        ("GetMessages connection: answer cut short",), deed=refresh(deeds.cut_in_head),
        rule="a byte of the answer came, so the server had the request: the transport does not repeat it"),
    Row("closed after an interim answer", "... but after 100 Continue",
        ("GetMessages connection: connection closed before the answer",),
        deed=refresh(deeds.raw(b"HTTP/1.1 100 Continue\r\n\r\n")), rule="the same"),
    Row("closed under RequestChat", "1/false, then the kept connection closed as RequestChat leaves again",
        ("RequestChat 1/false: statusCode 1/false",
         "RequestChat connection: kept connection closed just as the request left"), "gave_up", flex=2,
        deed=at("RequestChat", deeds.busy_then_close), rule=NEW_CHAT, chats=1),
    Row("closed under SendMessage", "the kept connection closed as SendMessage leaves",
        ("SendMessage connection: kept connection closed just as the request left",),
        deed=at("SendMessage", Call.close), settings={"messages": 1}, extra=said_once,
        rule="a message is never sent twice"),
    Row("closed under Disconnect", "Disconnect is taken, and the kept connection closed without an answer", resent=1,
        deed=at("Disconnect", deeds.take_then_close, 1), rule="repeated: the answer says that the chat has ended"),
]  # fmt: skip

HTTP = [
    *(Row(f"redirect {code}", f"{code} to another place, once", (f"GetMessages http_error: HTTP {code}",),
          deed=refresh(deeds.status(f"{code} Elsewhere", "Location: /elsewhere")), extra=nothing_elsewhere,
          rule="not followed, see above") for code in (301, 302, 307)),
    Row("redirect of RequestChat", "302 to a login page", ("RequestChat http_error: HTTP 302",), "refused",
        deed=at("RequestChat", deeds.status("302 Found", "Location: /elsewhere")), extra=nothing_elsewhere,
        rule="not followed, see above"),
    Row("401", "RequestChat is not allowed", ("RequestChat http_error: HTTP 401",), "refused",
        deed=at("RequestChat", deeds.status("401 Unauthorized"))),
    Row("403", "GetMessages is forbidden, once", ("GetMessages http_error: HTTP 403",),
        deed=refresh(deeds.status("403 Forbidden")), rule=LOST),
    Row("404", "GetMessages is not found, once", ("GetMessages http_error: HTTP 404",),
        deed=refresh(deeds.status("404 Not Found")), rule="an HTTP status is not a statusCode: it ends no session"),
    Row("429", "too many requests, with Retry-After: 60", ("GetMessages http_error: HTTP 429",),
        deed=refresh(deeds.status("429 Too Many Requests", "Retry-After: 60")),
        rule="Retry-After is ignored: the chat would be dropped during the wait"),
    *(Row(f"burst of {code}", f"{code} to three requests in a row", (f"GetMessages http_error: HTTP {code}",),
          deed=refresh(deeds.status(f"{code} No"), 2, 3, 4), rule=LOST) for code in (500, 502, 503, 504)),
    Row("503 for longer than the timeout", "503 to every GetMessages, the chat server never sees one",
        ("GetMessages http_error: HTTP 503",), ("dropped_late", "dropped_unproven"), "retries",
        deed=at("GetMessages", deeds.status("503 Unavailable")), flex=2, settings={"refreshes": 1000}),
    Row("no content", "204 without a body", ("GetMessages http_error: HTTP 204",),
        deed=refresh(deeds.raw(b"HTTP/1.1 204 No Content\r\n\r\n"))),
    Row("empty body", "200 without a body", ("GetMessages malformed: empty body",), deed=refresh(deeds.text(b""))),
    Row("login page", "200 with HTML", ("GetMessages malformed: body is not JSON",),
        deed=refresh(deeds.text(b"<html>Please log in</html>"))),
    Row("statusCode missing", "a JSON object without it",
        ("GetMessages malformed: statusCode is missing or of the wrong type",),
        deed=refresh(deeds.payload(chatEnded=False))),
    Row("statusCode unknown", "statusCode 7", ("GetMessages unknown_status: statusCode not in the table",),
        deed=refresh(deeds.payload(statusCode=7, chatEnded=False))),
    Row("burst of 1", "statusCode 1 to three requests in a row", ("GetMessages 1/false: statusCode 1/false",),
        deed=refresh(deeds.payload(statusCode=1, chatEnded=False), 2, 3, 4), rule="retried, as the status table says"),
    Row("1 with chatEnded", "statusCode 1, chatEnded true, which cannot be",
        ("GetMessages 1/true: statusCode 1/true",), deed=refresh(deeds.payload(statusCode=1, chatEnded=True)),
        rule="counted as a violation; the session continues"),
    Row("2", "the chat server loses a session: statusCode 2 in time", ("GetMessages 2: statusCode 2",), "failed",
        serve=servers.faulty_simulator, rule="unrecoverable, and not caused by silence",
        faults='[[fault]]\nkind = "status_2"\noperations = ["GetMessages"]\nfrom_s = 0.0\n'),
    Row("ended too early", "the chat server ends sessions before their deadline", (), "dropped_early",
        serve=servers.faulty_simulator, faults='[[fault]]\nkind = "early_end"\noperations = ["GetMessages"]\n'),
]  # fmt: skip

TLS = [
    Row("good certificate", "TLS, for comparison", tls="good"),
    Row("certificate expired", "a certificate of yesterday",
        ("RequestChat connection: certificate expired or not yet valid",), "gave_up", tls="expired", flex=2,
        rule="certificates are always verified; a headless run is refused before it begins"),
    Row("certificate for another name", "a certificate of another host",
        ("RequestChat connection: certificate for another name",), "gave_up", tls="of_another", flex=2),
    Row("unknown authority", "a valid certificate from an authority that chatload does not know",
        ("RequestChat connection: certificate from an unknown authority",), "gave_up", tls="good", believes=False,
        flex=2, rule="`--ca-file` names it"),
    Row("handshake reset", "a TCP reset in place of the handshake", ("RequestChat connection: connection reset",),
        "gave_up", scheme="https", welcome=Peer.reset, flex=2),
    Row("no TLS at the TLS port", "plain HTTP where TLS is expected", ("RequestChat connection: TLS failed",),
        "gave_up", scheme="https", welcome=lambda peer: peer.send(http_answer(b"")) and None, flex=2),
    Row("TLS where none is expected", "an http:// URL for a TLS port, which sends a TLS alert",
        ("RequestChat malformed: answer is not HTTP",), "refused",
        deed=at("RequestChat", deeds.raw(b"\x15\x03\x03\x00\x02\x02\x46"))),
    Row("TLS cut in the body", "the connection ends without TLS's own goodbye, in the body",
        ("GetMessages connection: answer cut short",), tls="good", deed=refresh(deeds.cut_in_body)),
    Row("TLS closed as it leaves", "a kept TLS connection closed just as the request leaves", resent=1, tls="good",
        deed=refresh(Call.close)),
]  # fmt: skip

NAMES = [
    Row("name unknown", "a name that does not exist", ("RequestChat connection: name not resolved",), "gave_up",
        serve=servers.nameless, flex=2, settings={}),
    Row("name vanishes", "the server dies during a chat, and its name stops to resolve",
        ("GetMessages connection: name not resolved", "Disconnect connection: name not resolved"), "dropped_unproven",
        serve=servers.vanishing_name, flex=2, resent=1, chats=1, settings={"refreshes": 1000}, by={"lean": (
            "GetMessages connection: connection refused", "GetMessages connection: name not resolved",
            "Disconnect connection: name not resolved")}, rule=BELIEVED),
    Row("address changes", "the server dies, and its name leads to another address from then on",
        ("GetMessages connection: connection refused",), serve=servers.moving_name, settings={"refreshes": 12},
        resent=1, chats=1, by={"requests": ()}, rule=BELIEVED),
]  # fmt: skip

SERVER = [
    Row("stopped for a moment", "the server is stopped (SIGSTOP) for 3 s",
        ("GetMessages timeout: timeout waiting for the answer",), serve=servers.stopped(3.0), settings=HASTY,
        rule=LOST),
    Row("stopped for longer than the timeout", "the server is stopped (SIGSTOP) for 5 s",
        ("GetMessages timeout: timeout waiting for the answer",), ("dropped_late", "dropped_unproven"), "server",
        flex=2, serve=servers.stopped(5.0), settings={**HASTY, "refreshes": 1000},
        rule="unproven if the server may have seen a timed-out request in time"),
    Row("slow for longer than the timeout", "answers to GetMessages take 20 s, for 2 s",
        ("GetMessages timeout: timeout waiting for the answer",), ("completed", "dropped_late", "dropped_unproven"),
        "server", test="tests/integration/test_blame_real.py::test_slow_answers_say_server"),
    Row("restart", "the server is killed and started anew, and has forgotten all sessions",
        ("GetMessages connection: connection refused", "GetMessages 2: statusCode 2"), "failed",
        rule="a 2 although every refresh was in time: a failure of the server, not a drop; the next chats are held",
        test=REAL + "test_a_restart_that_forgets_all_sessions"),
    Row("an outage of an hour", "for an hour every connection is closed without an answer (in virtual time)",
        ("GetMessages connection: connection closed before the answer",
         "RequestChat connection: connection closed before the answer"), ("dropped_unproven", "gave_up"),
        rule="a chat is unproven if the server could not be asked about its end; chats after the hour are normal",
        test=REAL + "test_an_hours_outage"),
]  # fmt: skip

OURS = [
    Row("no local port left", "two local ports for three chats, set in the kernel",
        ("RequestChat connection: generator out of local ports or file descriptors",), ("completed", "gave_up"),
        serve=servers.few_ports, chats=3, settings={"refreshes": 30},
        invalid="the generator ran out of local ports or file descriptors: 4 requests never left",
        rule="a fault of the generator itself: no statement about the server"),
    Row("no file descriptor left", "six descriptors for ten chats (RLIMIT_NOFILE)",
        ("RequestChat connection: generator out of local ports or file descriptors",), ("cut_off", "gave_up"),
        invalid="the generator ran out of local ports or file descriptors", test=REAL + "test_file_descriptors",
        rule="resolver errors for lack of a descriptor are recognised; the run's own files are still written"),
    Row("the wall clock is set", "an hour ahead, two hours back, and correct again, during a run", (),
        ("completed", "cut_off"), test=REAL + "test_steps_of_the_wall_clock",
        rule="only the monotonic clock is used; instants in reports are the start of the run plus its reading"),
    Row("wall clocks are set in a distributed run", "the workers' ahead, the master's back, ten times a second", (),
        "cut_off", test=REAL + "test_workers_whose_wall_clocks_are_set_ahead_and_a_masters_set_back",
        rule="workers and master watch each other by the monotonic clock"),
    Row("the generator stalls", "the event loop is blocked for 4 s, twice the timeout", (), "dropped_late",
        "generator", invalid="the generator's own lateness could have caused n drops",
        test="tests/integration/test_blame_real.py::"
        "test_a_blocked_event_loop_says_generator_and_the_run_is_invalid"),
    Row("found before a run", "an expired certificate, or a redirect, at the first request",
        ("GetMessages connection: certificate expired or not yet valid", "GetMessages http_error: HTTP 302"), (),
        rule="no chat is opened: one line says what, exit code 2",
        test=REAL + "test_what_no_run_could_mend_is_found_before_it"),
]  # fmt: skip

TABLES = {
    "Connections": CONNECTIONS,
    "Answers on the wire": ANSWERS,
    "Kept connections": KEPT,
    "HTTP and statusCode": HTTP,
    "TLS": TLS,
    "Names": NAMES,
    "The server": SERVER,
    "The generator": OURS,
}

if __name__ == "__main__":
    print(page(TABLES), end="")
