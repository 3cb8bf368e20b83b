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


_HEAD = """# What chatload reports for each fault

The table has {count} faults of the target, of the network and of the generator itself. Each row is a test. The test
injects the fault of the second column into real chats, over both transports unless the row says otherwise. It checks
what the third and fourth columns say, that the books balance, and that the ledger of the simulator behind the fault
contradicts no verdict. A row whose name is a link has a test of its own there, with whole runs. This page is printed
from the table of the tests (`python -m tests.faults.table > docs/faults.md`), and a test checks that it is current.

Many rows rest on three rules:

- **One total deadline per request.** `--request-timeout` covers everything from resolving the name to the last byte. A
  body that arrives byte by byte cannot exceed it. A failure takes precedence over the HTTP status before it: an answer
  that is cut short is `connection: answer cut short`, never a 200.
- **A transport sends a request once.** There is one exception: the server closed a kept connection just as a request
  left on it, and no byte of an answer came. This is not a fault of the server. A request that is safe to repeat
  (GetMessages without a message, typing, Disconnect, reading) is then sent once more on a new connection, and counted
  (`requests.resent` in summary.json, a line on the console). The first attempt counts as a contact that the server
  *may* have seen. RequestChat and SendMessage are never sent twice, because a second chat or a repeated message is
  worse than a failure. They fail as `kept connection closed just as the request left`.
- **Redirects are not followed.** A chat lives on the server where it was opened. A redirect comes from a gateway or a
  login page, and following it would load and measure another server. It is an `http_error` that names the status.
  A headless run that meets one in its first request is refused with one line.

Details are a few constant texts (`chatload/protocol/wire.py`) that statistics can use as keys. They contain no URL,
no id and no number except an HTTP status.
"""
_COLUMNS = "| fault | what is injected | failures of requests | verdicts of the chats | rule |\n|---|---|---|---|---|\n"


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
