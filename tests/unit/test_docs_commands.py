"""Every command in a table of README and docs/, and in CONTRIBUTING, is one that the present parsers accept."""

import json
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import click
import pytest

from chatload.cli import main
from tests.integration.processes import ROOT

PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md"))]
#: Parses lists of Locust's words, one a line, as `locust` does with a locustfile of chatload.
PARSE_LOCUST = """
import json, sys
from locust import argument_parser
from chatload.swarm.options import OptionGroup, add_group
for line in sys.stdin:
    parser = argument_parser.get_parser(default_config_files=[])
    for group in (OptionGroup.RUN, OptionGroup.ARRIVALS, OptionGroup.CAPACITY):
        add_group(parser, group)
    try:
        parser.parse_args(json.loads(line))
    except SystemExit:
        print("cannot be parsed:", line, file=sys.stderr)
"""


def command_lines(page):
    """Return the words of each command of a page: of the code in its tables, and of the code blocks of CONTRIBUTING.

    Two spaces separate a command from its explanation. Comments, redirections, and words that stand for others (`...`,
    `A|B`, `[OPTION]`) are left out. N stands for a number.
    """
    text = re.sub(r" *\\\n\s*", " ", (ROOT / page).read_text())
    # Code blocks of README and docs/ are run by tests/integration/test_docs_blocks.py.
    blocks = re.findall(r"^    ((?:chatload|locust) \S.*)$", text, re.M) if page == "CONTRIBUTING.md" else []
    in_tables = re.findall(r"`((?:chatload|locust) [^`]+)`", "\n".join(re.findall(r"^\|.*$", text, re.M)))
    for line in [*blocks, *in_tables]:
        command = re.split(r"  +|\s[#>]\s|\s\|\s|\s&$", line.strip().replace("\\|", "|"))[0]
        words = [
            word for word in shlex.split(re.sub(r"--[\w-]+ \.\.\.", "", command)) if word != "..." and word[0] != "["
        ]
        yield ["1" if word == "N" else re.sub(r"\.\.\.$", "", word.split("|")[0]) for word in words]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_chatload_is_parsed(page, monkeypatch):
    # The files of the examples do not exist here.
    monkeypatch.setattr(click.Path, "convert", lambda self, value, parameter, context: Path(value))
    for name, *words in command_lines(page):
        if name != "chatload" or not words or words[0].startswith("-"):
            continue
        with click.Context(main, info_name="chatload", **main.context_settings) as context:
            command, arguments = main, words
            while isinstance(command, click.Group) and arguments:
                found = command.get_command(context, arguments[0])
                assert found is not None, words
                command, arguments = found, arguments[1:]
            # A table may name a command without its arguments.
            with suppress(click.MissingParameter):
                command.make_context(words[0], [*arguments], parent=context)


def test_every_command_of_locust_is_parsed():
    commands = [words[1:] for page in PAGES for words in command_lines(page) if words[0] == "locust"]
    assert commands
    lines = "".join(json.dumps(words) + "\n" for words in commands)
    parsed = subprocess.run(
        [sys.executable, "-c", PARSE_LOCUST],
        input=lines,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert parsed.stderr == ""
