"""`chatload campaign`: from a demand to a proof, one command after another."""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from chatload.children import run_child
from chatload.click_types import warn
from chatload.errors import FileError, UsageError, UserInterruptError
from chatload.features.campaign.campaign_file import CampaignFile, load_campaign
from chatload.features.campaign.course import RESUME, CampaignCourse
from chatload.features.campaign.findings import Findings
from chatload.features.campaign.host_watch import HostWatch
from chatload.features.campaign.results import COPY_FILE, write_rules
from chatload.features.campaign.view import announcement, refusal, result_sentence
from chatload.plausibility import unknown_variables
from chatload.render.output import deliver, write_text
from chatload.run.settings import known_variables
from chatload.target import read_rules, require_agreed

#: Keys that may change between two parts of a campaign.
_FREE_KEYS = frozenset({"time_available", "signers", "title"})


@click.command(short_help="From a demand to a proof: doctor, probe, capacity, tune, plan, proof.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--dir", "folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="The folder of the campaign. Default: FILE without its ending.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Start without the question. Needed where there is no terminal.")
def campaign(file: Path, folder: Path | None, yes: bool) -> int:
    """Find out how many servers a demand needs and which refresh interval it allows, and prove it.

    FILE is a short TOML file: the demand, the host, and the available time. The campaign checks the machine and the
    host (doctor), measures the timeout of the server (probe) and how many chats the host holds (capacity), finds the
    refresh interval (tune), plans the servers (plan), and lets chats arrive at the rate of the peak until the target
    is shown (proof).

    It prints its steps, their duration and their load first, and asks once. The ceilings, the hosts and the hours of
    chatload.toml hold for every step. After an interruption the same command continues with the step that was
    interrupted. At the end it writes the sign-off page (chatload signoff DIR).

    Exit codes: 0 proven, 1 the target is missed, 2 wrong usage, the time is too short to begin, or the machine or host
    is not ready, 3 the generator was at fault, 4 inconclusive, 130 interrupted.

    \b
    Example FILE:
      host = "https://chat.staging.example"
      chats_per_hour = 4000
      handling_time = "8m"
      flex_disconnect_timeout = "45s"
      target_drop_rate = "1%"
      time_available = "3h"

    \b
    Examples: chatload campaign peak.toml
              chatload campaign peak.toml --yes --dir reports/peak
    """
    settings, rules = load_campaign(file), read_rules()
    _name_unknown_variables(settings.dialect)
    folder = file.with_suffix("") if folder is None else folder
    admits = require_agreed(settings.host, settings.target_owner_agrees, rules)
    findings = Findings(settings, folder, rules)
    if not (folder / COPY_FILE).exists():
        _begin(findings, file, yes)
    else:
        _check_unchanged(settings, folder, file)
        write_rules(folder, rules)
        click.echo(f"resuming the campaign in {folder}")
    try:
        with _alone(folder):
            result = CampaignCourse(findings, click.echo, run_child, HostWatch(settings.host, admits)).run()
    except KeyboardInterrupt:  # between two steps
        raise UserInterruptError("interrupted", RESUME) from None
    click.echo(f"\n{result_sentence(result)}")
    # A package above this one, so it is started as a command.
    run_child((sys.executable, "-m", "chatload", "signoff", str(folder)))
    click.echo(f"sign-off page: {folder / 'signoff.html'}")
    return result.exit_code


def _name_unknown_variables(dialect: str) -> None:
    """Warn of CHATLOAD_ variables that set nothing, once for all steps."""
    known = known_variables([dialect])
    warn(unknown_variables(os.environ, known))
    for name in [name for name in os.environ if name.startswith("CHATLOAD_") and name not in known]:
        del os.environ[name]


def _begin(findings: Findings, file: Path, yes: bool) -> None:
    """Show the plan, ask, and make the folder. Raises UsageError if the campaign cannot begin."""
    budget, folder = findings.budget, findings.folder
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: a file, not the folder of a campaign", "name a folder with --dir")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder}: the folder is not empty, and has no campaign", "name another one with --dir")
    deliver(announcement(findings))
    if not budget.fits:
        raise refusal(file, findings)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("the campaign asks before it starts, and there is no terminal", "add --yes")
        click.confirm("\nStart?", abort=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made ({error.strerror})", "name another one with --dir") from None
    for copy, name in findings.file.inputs.items():
        write_text(_text_of(name), folder / copy)
    write_rules(folder, findings.rules)
    write_text(_text_of(file), folder / COPY_FILE)  # the last: the campaign has begun


def _text_of(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(path, "", f"cannot be read ({error})") from None


def _check_unchanged(settings: CampaignFile, folder: Path, file: Path) -> None:
    """Raise UsageError if the file asks for another campaign than the one in the folder."""
    before = load_campaign(folder / COPY_FILE)
    fields = set(CampaignFile.model_fields) - _FREE_KEYS
    changed = sorted(name for name in fields if getattr(before, name) != getattr(settings, name))
    if not changed:
        changed = [name for copy, name in settings.inputs.items() if _text_of(name) != _text_of(folder / copy)]
    if changed:
        raise UsageError(
            f"{file}: {', '.join(changed)} changed since the campaign in {folder} began",
            "begin another one with --dir, or restore the file",
        )
    if before != settings:
        write_text(_text_of(file), folder / COPY_FILE)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a campaign. Raises UsageError if another process has it."""
    with open(folder / COPY_FILE, "rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"{folder}: this campaign is going on in another process", "wait for its end") from None
        yield
