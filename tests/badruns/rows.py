"""What a row of the table of bad runs is, and the page that is printed from the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.certificates import Certificates

#: The four thresholds of a run that passed while its server was dead; every row is judged by them too.
FOUR = (
    "dropped_late.rate < 5%",
    "dropped.rate < 5%",
    "GetMessages.latency.p99 < 300ms",
    "margin.p1 > 500ms",
)


@dataclass
class World:
    """What rows share. folder: for their files, one below it for each row."""

    certificates: Certificates
    folder: Path


#: Starts what a run is pointed at; gives the URL for --host. The folder is the row's own.
Serve = Callable[[World, Path], AbstractContextManager[str]]


@dataclass(frozen=True)
class Row:
    """One bad run, or one good but unusual one.

    Attributes:
        name: of the row, unique.
        wrong: what is wrong, in a few words (what is unusual, of a good row).
        behaves: how the server behaves, or what the set-up is.
        serve: starts the server.
        codes: the exit codes that are right for `--gate standard`.
        words: what the run's output must contain; line breaks of the console do not matter.
        options: of locust, after those of `LOAD`; the last one wins.
        script: the customers' script; `SCRIPT` where empty.
        locustfile: the text of the run's locustfile; locustfiles/chat.py where empty.
        four_codes, four_words: the same of `chatload report RUN` with the thresholds `FOUR`; `codes` and `words`
            where empty.
        never: what neither output may contain.
    """

    name: str
    wrong: str
    behaves: str
    serve: Serve
    codes: frozenset[int]
    words: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    script: str = ""
    locustfile: str = ""
    four_codes: frozenset[int] = frozenset()
    four_words: tuple[str, ...] = ()
    never: tuple[str, ...] = ()


#: Options of every run: enough chats and refreshes that a good server passes both gates.
LOAD = (
    *("-u", "100", "-r", "100", "--chats", "300", "-t", "8s", "--stop-timeout", "3"),
    *("--flex-disconnect-timeout", "2", "--refresh-interval", "0.3", "--request-timeout", "1"),
)
#: A customer who stays for a second and says nothing.
SCRIPT = "chat_length = 1.0\nmessages = 0\n"


def page(bad: Mapping[str, list[Row]], good: list[Row]) -> str:
    """docs/bad-runs.md."""
    count = sum(len(rows) for rows in bad.values())
    parts = [_HEAD.format(bad=count, good=len(good), four="\n".join(f"    --threshold '{each}'" for each in FOUR))]
    for heading, rows in bad.items():
        parts.append(f"## {heading}\n\n{_COLUMNS}" + "".join(_line(row) for row in rows))
    parts.append(f"## Unusual servers that pass\n\n{_GOOD}" + "".join(_good_line(row) for row in good))
    return "\n".join(parts)


_HEAD = """# No bad run passes

{bad} bad servers and set-ups, and {good} unusual servers with which nothing is wrong. Each row is a test. The test
runs `locust --gate standard` against the server and checks the exit code and the words. Then it judges the same run
by four other thresholds, with `chatload report RUN` and

{four}

and checks both again. Bold numbers are exit codes (1: a threshold failed, 2: no chat was opened, 3: invalid,
4: inconclusive, or nothing was tested), and the words after them are in the output. No bad run may exit 0. Every
unusual server must pass both times.

All rows put the same load on the server: 300 chats of one second each, by 100 users, refreshed every 0.3 s,
with a flex-disconnect-timeout of 2 s and a request timeout of 1 s, unless the row says otherwise. The
first of the unusual servers is an ordinary one, so a bad row does not fail because of too few chats.

This page is printed from the table of the tests (`python -m tests.badruns.table > docs/bad-runs.md`), and a test
checks that it is current.
"""
_COLUMNS = "| what is wrong | the server, or the set-up | the standard gate | the four |\n|---|---|---|---|\n"
_GOOD = "| what is unusual | the server |\n|---|---|\n"


def _line(row: Row) -> str:
    by_gate = _said(row.codes, row.words)
    by_four = _said(row.four_codes or row.codes, row.four_words or row.words)
    return f"| {row.wrong} | {row.behaves} | {by_gate} | {by_four} |\n"


def _said(codes: frozenset[int], words: tuple[str, ...]) -> str:
    named = " or ".join(f"**{code}**" for code in sorted(codes))
    return f"{named}: " + "<br>".join(f"`{each}`" for each in words)


def _good_line(row: Row) -> str:
    return f"| {row.wrong} | {row.behaves} |\n"
