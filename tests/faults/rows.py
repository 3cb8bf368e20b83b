"""What a row of the fault table is, and the page made of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.proxy import Deed, let_through
from tests.integration.rawserver import Peer

TRANSPORTS = ("lean", "requests")
GOOD = frozenset({"0/false", "0/true"})
HERE = "tests/faults/test_faults.py::test_fault"


@dataclass(frozen=True)
class Row:
    """One fault. The page shows what the test demands: failures, verdict, blame, resent and invalid are both.

    injected: what is done, in a sentence. failures: every request that does not succeed, "OPERATION outcome:
    detail"; by: of one transport, where it sees it otherwise. verdict: of every chat, or one of these. resent:
    requests sent once more, a chat. rule: what chatload does about it, and why. deed, welcome: the proxy's;
    tls: which certificate it has, "" for none; scheme: of the URL, where it lies. chats, settings: see
    generator. flex: of the simulator, seconds. serve: what the chats are pointed at (see servers), the proxy
    where None; faults: of a simulator of its own, as TOML. extra: called with (proxy, answer) for what else
    must hold. test: its own test, where it is not a row of `test_fault`.
    """

    name: str
    injected: str
    failures: tuple[str, ...] = ()
    verdict: str | tuple[str, ...] = "completed"
    blame: str = ""
    resent: int = 0
    rule: str = ""
    invalid: str = ""
    by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    deed: Deed = let_through
    welcome: Callable[[Peer], None] | None = None
    tls: str = ""
    believes: bool = True
    scheme: str = ""
    serve: Any = None
    host: str = "127.0.0.1"
    named: str = ""
    chats: int = 2
    flex: int = 30
    faults: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    extra: Callable[[Any, Any], None] | None = None
    test: str = ""

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The verdicts it may end in."""
        return (self.verdict,) if isinstance(self.verdict, str) else self.verdict

    def failures_by(self, transport: str) -> set[str]:
        """What must fail over this transport."""
        return set(self.by.get(transport, self.failures))

    @property
    def node(self) -> str:
        """Its test."""
        return self.test or f"{HERE}[{self.name}]"


def page(tables: Mapping[str, list[Row]]) -> str:
    """docs/faults.md."""
    rows = [row for table in tables.values() for row in table]
    parts = [_HEAD.format(count=len(rows))]
    for heading, table in tables.items():
        parts.append(f"## {heading}\n\n{_COLUMNS}" + "".join(_line(row) for row in table))
    return "\n".join(parts)


_HEAD = """# What chatload says of each fault

{count} faults of the target, of the network and of the generator itself; each row is a test that does what
the second column says to real chats, over both transports unless the row says otherwise, and demands what
the third and fourth columns say. Every row also demands that the books balance and that no verdict is
contradicted by the ledger of the simulator behind the fault. A row whose name is a link has a test of its own
there, of whole runs. This page is made from the tests' own table
(`python -m tests.faults.table > docs/faults.md`), and a test keeps it so.

Three rules that many rows rest on:

- **One total deadline a call.** `--request-timeout` holds from asking for the name to the last byte. A body
  that trickles cannot outlast it, and a failure wins over the HTTP status that came before it: an answer cut
  short is `connection: answer cut short`, never a 200.
- **A transport sends a request once.** The one exception: the server closed a kept connection just as a
  request left on it, and no byte of an answer came. That is not a fault of the server's, so a request that is
  safe to take twice (GetMessages without a message, typing, Disconnect, reading) is sent once more, on a new
  connection, and counted (`requests.resent` in summary.json, a line on the console). The first sending counts
  as a contact the server *may* have seen. RequestChat and SendMessage are never sent twice: a second chat, or
  a sentence said twice, is worse than a failure. They fail as `kept connection closed just as the request
  left`.
- **Redirects are not followed.** A chat lives where it was opened; a redirect in front of it is a gateway or
  a login page, and following it would load, and time, another server than the one under test. It is an
  `http_error` that names the status; before a run, the first probe refuses it with one line.

Details are a few constant texts (`chatload/protocol/wire.py`), fit as keys of statistics: no URL, no id, no
number in them but an HTTP status.
"""
_COLUMNS = "| fault | what is injected | what becomes of requests | and of the chats | rule |\n|---|---|---|---|---|\n"


def _line(row: Row) -> str:
    told = _told(row.failures)
    told += "".join(f"<br>over {transport}: {_told(failures)}" for transport, failures in row.by.items())
    if row.resent:
        told += f"<br>sent once more: {row.resent} a chat"
    chats = " or ".join(f"`{verdict}`" for verdict in row.verdicts) or "none is opened"
    if row.blame:
        chats += f", blame `{row.blame}`"
    if row.invalid:
        chats += f"; the run is invalid: {re.sub(': [0-9]+ requests?.*', '', row.invalid)}"
    name = f"[{row.name}](../{row.test.partition('::')[0]})" if row.test else row.name
    return f"| {name} | {row.injected} | {told} | {chats} | {row.rule} |\n"


def _told(failures: tuple[str, ...]) -> str:
    return "<br>".join(f"`{failure}`" for failure in failures) or "all succeed"
