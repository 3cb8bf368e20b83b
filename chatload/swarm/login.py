"""A host's user and password, kept from all that shows the host: Locust's web UI, its --html report, its logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatload.protocol.secret import Secret, without_login

if TYPE_CHECKING:
    from locust.env import Environment


class _Discreet:
    """Mixed into Locust's Environment: its `host` is read without the login it was set with."""

    _host: str | None = None
    _logins: dict[str, Secret]

    @property
    def host(self) -> str | None:
        """The host under test, without user and password."""
        return self._host

    @host.setter
    def host(self, url: str | None) -> None:
        self._host = url and without_login(url)
        if url and self._host and self._host != url:
            self._logins[self._host] = Secret(url)


def hide_login(environment: Environment) -> None:
    """From now on `environment.host` shows no login, whoever sets it: Locust hands it to its pages as it is."""
    url = environment.__dict__.pop("host", None)
    environment._logins = {}
    environment.__class__ = type("Environment", (_Discreet, type(environment)), {})
    environment.host = url
    options: Any = environment.parsed_options
    if options is not None and options.host:
        options.host = without_login(options.host)


def host_with_login(environment: Environment, host: str | None = None) -> str | None:
    """The host as it was given; by default the environment's. A host typed in the web UI without a login keeps the one
    it was last given with: the page cannot show it."""
    url: str | None = environment.host if host is None else host
    secret = getattr(environment, "_logins", {}).get(url)
    return secret.reveal() if isinstance(secret, Secret) else url
