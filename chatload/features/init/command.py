"""`chatload init`: writes the files of a load test of one's own."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click
from jinja2 import Environment, PackageLoader, StrictUndefined

from chatload import units
from chatload.click_types import warn
from chatload.errors import UsageError
from chatload.plausibility import doubtful
from chatload.run.settings import written
from chatload.run.writer import replacing
from chatload.target import is_private
from chatload.transport.endpoint import Endpoint

#: Each file, and its template.
FILES: Final = {
    "locustfile.py": "locustfile.py.j2",
    "locust.conf": "locust.conf.j2",
    "customers.toml": "customers.toml.j2",
    "chatload.toml": "chatload.toml.j2",
    ".github/workflows/chatload.yml": "workflow.yml.j2",
    "README.md": "README.md.j2",
}
_WORKFLOW: Final = ".github/workflows/chatload.yml"
#: Names that need no quotes in a settings file, in a shell and in a URL.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]*")
#: Characters that would need quotes in a settings file, in YAML or in a shell.
_SPECIAL = re.compile(r"""[\s"'`$\\;&|<>(){}#!*,]""")
#: The ceilings allow this many times the load of the first run.
_ROOM = 2
#: Local names and addresses at which `chatload simulator` may stand in for the service.
_LOCAL = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class LoadTest:
    """What a load test is made for. timeout: a duration as it was written; users: customers at a time."""

    host: str
    service: str
    timeout: str
    users: int

    @property
    def host_name(self) -> str:
        return urlsplit(self.host).hostname or ""

    @property
    def is_local(self) -> bool:
        return self.host_name in _LOCAL and self.host.startswith("http://")

    @property
    def port(self) -> int:
        return urlsplit(self.host).port or 80

    @property
    def guarded(self) -> bool:
        """Whether the host may be somebody else's: it is no address of this machine or of a private network."""
        return not self.is_local and not is_private(self.host_name)

    @property
    def spawn_rate(self) -> int:
        """Customers that start each second: all have started after about 10 s."""
        return max(1, self.users // 10)

    @property
    def max_sessions(self) -> int:
        return _ROOM * self.users

    @property
    def max_requests_per_s(self) -> int:
        # Refreshes every 3 s, and the other requests of chats of 10 s, come to about 1 per second and customer.
        return max(10, _ROOM * self.users)


def contents(test: LoadTest) -> dict[str, str]:
    """Return the files of a load test: the path of each below its folder, and its text."""
    templates = Environment(
        loader=PackageLoader("chatload.features.init"), undefined=StrictUndefined, trim_blocks=True,
        keep_trailing_newline=True, autoescape=False,
    )  # fmt: skip
    return {
        path: templates.get_template(template).render(test=test, workflow=_WORKFLOW) for path, template in FILES.items()
    }


def write(files: dict[str, str], folder: Path) -> None:
    """Write the files into a folder, all or none. Raises UsageError; a file that is there is never overwritten."""
    there = [path for path in files if (folder / path).exists() or (folder / path).is_symlink()]
    if there:
        raise UsageError(
            f"{', '.join(there)}: already in {folder.absolute()}, and nothing is overwritten",
            "name another folder: chatload init FOLDER",
        )
    made: list[Path] = []
    try:
        for path, text in files.items():
            target = folder / path
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(f"{target.parent}: cannot be made ({error.strerror or error})") from None
            with replacing(target) as stream:
                stream.write(text)
            made.append(target)
    except UsageError:
        for target in made:
            with suppress(OSError):
                target.unlink()
        raise


# -- the command -----------------------------------------------------------------------------------


def _host(text: str) -> str:
    if "@" in text:
        raise UsageError("--host: a file should hold no password", "leave it out, and set LOCUST_HOST when you run")
    if _SPECIAL.search(text):
        raise UsageError(f"--host {text}: expected a URL without spaces and quotes, such as https://chat.example")
    return Endpoint(text).url


def _service(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise UsageError(f"--service {text}: expected letters, digits and . _ ~ -, such as support")
    return text


def _timeout(text: str) -> str:
    return f"{written(_quantity('--timeout', units.DURATION, text))}s"


def _users(text: str) -> int:
    return int(_quantity("--users", units.COUNT, text))


def _quantity(flag: str, quantity: units.Quantity, text: str) -> float:
    try:
        return quantity.read(text)
    except ValueError as error:
        raise UsageError(f"{flag} {text}: {error}") from None


def _asks() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _value(given: str | None, asked: str, default: str, read: Callable[[str], Any]) -> Any:
    """Return the value of an option that is given; else ask for it on a terminal, or take the default."""
    if given is not None:
        return read(given)
    if not _asks():
        return read(default)

    def checked(text: str) -> Any:
        try:
            return read(text.strip())
        except UsageError as error:
            raise click.UsageError(str(error)) from None  # click asks again

    return click.prompt(asked, default=default, value_proc=checked)


@click.command(short_help="Write a load test of your own, with comments, to edit.")
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--host",
    metavar="URL",
    help="URL of the chat service, such as https://chat.example. Default: that of chatload simulator.",
)
@click.option(
    "--service", metavar="NAME", help="Name of the chat service in the URL, such as support. Default: default."
)
@click.option("--timeout", metavar="DURATION", help="The server's flex-disconnect-timeout, such as 45s. Default: 45s.")
@click.option("--users", metavar="N", help="Customers that hold a chat at a time, such as 500. Default: 100.")
def init(folder: Path, host: str | None, service: str | None, timeout: str | None, users: str | None) -> None:
    """Write a load test of your own into DIR (default: the current folder).

    On a terminal, asks for the values that are not given. Otherwise uses the defaults, which fit chatload
    simulator. Writes locustfile.py, locust.conf, customers.toml, chatload.toml, a CI workflow and a
    README.md. The files have comments, and can be used without a change. No file is overwritten.

    \b
    Examples: chatload init loadtest
              chatload init loadtest --host https://chat.staging.example \\
                --service support --timeout 45s --users 500
    """
    test = LoadTest(
        host=_value(host, "URL of the chat service", "http://127.0.0.1:8080", _host),
        service=_value(service, "Name of the chat service in the URL", "default", _service),
        timeout=_value(timeout, "The server's flex-disconnect-timeout", "45s", _timeout),
        users=_value(users, "Customers that hold a chat at a time", "100", _users),
    )
    warn(doubtful({"--flex-disconnect-timeout": units.duration(test.timeout)}))
    write(contents(test), folder)
    click.echo(f"written to {folder}: {', '.join(FILES)}\n\nnext:")
    if folder != Path("."):
        click.echo(f"  cd {folder}")
    if test.is_local:
        more = "" if test.service == "default" else f" --service {test.service}"
        click.echo(f"  chatload simulator --port {test.port} --flex-disconnect-timeout {test.timeout}{more} &")
    else:
        click.echo(f"  chatload doctor --host {test.host} --service {test.service} --users {test.users}")
    click.echo("  locust\n\nlocust prints the result, and the name of the page report.html of the run.")
