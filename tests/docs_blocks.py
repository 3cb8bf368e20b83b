"""The code blocks of README.md and docs/, and what is put in place of what cannot be had in a test."""

from __future__ import annotations

import re
from dataclasses import dataclass

from markdown_it import MarkdownIt

from tests.integration.processes import ROOT

PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))]
#: Pages that are printed by a program, with indented blocks.
PRINTED = ("docs/bad-runs.md", "docs/reference/metrics.md")
#: A comment before a block that says why no test runs it. A page does not show it.
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
#: What a load test would wait for. The last of two equal options counts, so these are added to each command.
SHORTER = {
    "locust": "--headless --only-summary -t 2s -u 4 -r 4",
    "arrivals": "--headless --only-summary -t 2s",
    "capacity": "--headless --only-summary --max-sessions 5 --start-sessions 2 --step-hold 1 --confirm-hold 1",
}
#: text in a block, what a test runs instead. {url} is a simulator for all blocks, {root} the repository.
SUBSTITUTIONS = {
    # Hosts and ports.
    "https://chat.staging.example": "{url}",
    "http://127.0.0.1:8080": "{url}",
    "https://127.0.0.1:8080": "https://127.0.0.1:{port}",
    "$CHAT_URL": "{url}",
    "chatload simulator --flex-disconnect-timeout 10 --limit-for-sessions 120": "true",
    "chatload simulator --tls": "chatload simulator --port {port} --tls",
    "chatload simulator --service-time": "chatload simulator --port {port} --service-time",
    "--port 8080": "--port {port}",
    "--port 8082": "--port {port}",
    "--prometheus-port 9646": "--prometheus-port {port}",
    " --service support": "",
    " --open": "",
    # Hours and thousands of chats: a tenth of the numbers or less, in seconds.
    "--processes 4 -u 4 -r 4": "--processes 2 -u 2 -r 2 --master-bind-port {port} --master-port {port}",
    "--processes 4": "--processes 2 --master-bind-port {port} --master-port {port}",
    "--arrival-profile locustfiles/weekday.csv": "--arrival-profile minute.csv",
    "--sweep 0.3,0.5,0.8,0.95,1.05 --target 2% --sessions 160": "--sweep 0.5 --target 90% --sessions 5 --chat-length 1",
    "--sweep 0.7 --sessions 897": "--sweep 0.7 --sessions 5 --chat-length 1",
    "-u 110 -r 50": "-u 5 -r 5",
    "-u 300 -r 100": "-u 5 -r 5",
    "-u 200 --flex-disconnect-timeout 45": "-u 5 --flex-disconnect-timeout 2 --sweep 0.5 --sessions 5 --chat-length 1",
    "--sessions 10000,100000,1000000 --refresh-interval 3,10,30": "--sessions 50 --for 20s --customers 5",
    "--sessions 10000 --refresh-interval 3,5,10 --for 10m --customers 250": "--sessions 50 --for 20s --customers 5",
    "reports/sample": "reports/mine",
    # An hour of measuring, or this test itself: that the targets exist.
    "make ": "make --dry-run --directory {root} ",
    "bench/.venv/bin/python": "python",
    "--workers 1 2 --sessions 500 --settle 20": "--workers 1 --sessions 5 --settle 1 --seconds 2",
    "--workers 1 2 --sessions 2000 --settle 20": "--help",
    "--workers 1 5 10 20 50 100 200 300 400 600 --settle 8 --seconds 20": "--workers 2 --settle 1 --seconds 2",
    "python -m tests.fuzz --seconds 600": "python -m tests.fuzz --help",  # tests/fuzz/test_fuzz.py runs it
}  # fmt: skip
#: Part of a command, the codes that it may end with, and why it is not 0. The first that fits counts.
CODES = {
    "--target-drop-rate 0.1%": (4,),  # too few chats
    "chatload doctor": (0, 1),  # what is wrong with this machine
    "chatload history": (4,),  # too few nights
    "chatload compare reports/v1-*": (0, 1),  # two of eight equal runs
    "--gate standard": (4,),  # too few chats
    "chatload combine": (4,),  # too few chats
    "chatload campaign peak.toml": (2,),  # it asks on a terminal before any load
    "chatload probe": (0, 4),
    "capacity": (0, 3, 4),  # a busy machine
    "chatload tune": (0, 1, 3, 4),  # a busy machine
}


@dataclass(frozen=True)
class Block:
    """A fenced block. not_run: the reason why no test runs it; "" if one does."""

    page: str
    line: int
    language: str
    text: str
    not_run: str

    @property
    def name(self) -> str:
        """Where it is."""
        return f"{self.page}:{self.line}"


def blocks_of(page: str) -> list[Block]:
    """Return the code blocks of a page. An indented block has no language."""
    found, reason = [], ""
    for token in MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text()):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            language = token.info or ("text" if page in PRINTED else "")
            found.append(Block(page, token.map[0] + 1, language, token.content, reason))
        comment = NOT_RUN.fullmatch(token.content.strip()) if token.type == "html_block" else None
        reason = comment[1] if comment else ""
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
