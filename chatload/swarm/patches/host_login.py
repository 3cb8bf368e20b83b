"""User and password in `--host` are hidden from Locust.

Fault: Locust shows `environment.host` as it is in its web UI, in its --html report and in its logs, password included.
Locust 2.47.0, env.py and web.py. No upstream issue found.
"""

from typing import Any
from weakref import WeakKeyDictionary

from locust.env import Environment

from chatload.protocol.secret import Secret, without_login

#: Environment -> host without login -> host with login.
_logins: WeakKeyDictionary[Environment, dict[str, Secret]] = WeakKeyDictionary()


class _HostWithoutLogin:
    """`Environment.host`: reads without the user and password it was set with."""

    def __get__(self, environment: Environment | None, owner: Any = None) -> Any:
        return self if environment is None else environment.__dict__.get("host")

    def __set__(self, environment: Environment, url: str | None) -> None:
        shown = url and without_login(url)
        environment.__dict__["host"] = shown
        if url and shown and shown != url:
            _logins.setdefault(environment, {})[shown] = Secret(url)


def install() -> None:
    """Replace `Environment.host` in this process."""
    if not isinstance(vars(Environment).get("host"), _HostWithoutLogin):
        Environment.host = _HostWithoutLogin()


def hide_login(environment: Environment) -> None:
    """Remove the login from an environment that was made before `install`, and from its options."""
    environment.host = environment.host
    options: Any = environment.parsed_options
    if options is not None and options.host:
        options.host = without_login(options.host)


def host_with_login(environment: Environment, host: str | None = None) -> str | None:
    """Return the host with the login that it was last set with.

    host: a host that was typed in the web UI, which cannot show the login. Default: the environment's host.
    """
    url: str | None = environment.host if host is None else host
    secret = _logins.get(environment, {}).get(url or "")
    return url if secret is None else secret.reveal()
