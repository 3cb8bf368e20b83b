"""The Prometheus endpoint: the whole swarm's figures, from the master or the single process."""

from __future__ import annotations

import logging
import os
from argparse import Namespace
from collections.abc import Callable, Iterator

from gevent.pywsgi import WSGIServer
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from chatload.errors import UsageError
from chatload.swarm.live_figures import Moment
from chatload.swarm.prometheus import families

log = logging.getLogger("chatload")


class SwarmCollector(Collector):
    """Works the metrics out anew at every scrape: nothing is counted twice."""

    def __init__(self, moment: Callable[[], Moment]) -> None:
        self._moment = moment

    def collect(self) -> Iterator[Metric]:
        """All families, as the run stands."""
        return families(self._moment())


def open_endpoint(options: Namespace | None, moment: Callable[[], Moment]) -> WSGIServer | None:
    """Serve http://HOST:PORT/metrics in a greenlet where --prometheus-port asks for it; raises UsageError."""
    port = _port(getattr(options, "prometheus_port", 0))
    if not port:
        return None
    host = str(getattr(options, "prometheus_host", "")) or "127.0.0.1"
    registry = CollectorRegistry()
    registry.register(SwarmCollector(moment))
    server = WSGIServer((host, port), make_wsgi_app(registry), log=None, error_log=log)
    try:
        server.start()
    except OSError as error:
        # gevent puts the address into strerror; a name that is not resolved has a number below 0.
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror
        raise UsageError(f"--prometheus-port {port} cannot be opened on {host}: {why}", "choose another") from error
    return server


def _port(value: str | int | None) -> int:
    try:
        port = int(value or 0)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise UsageError(f"--prometheus-port {value} is not a port number from 0 to 65535")
    return port
