"""A proxy on loopback that lets every byte through and remembers it: what went over the wire, as the wire has it."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class Recording:
    """What clients said and were answered, one bytes value a direction of a connection."""

    def __init__(self):
        self._said, self._heard = [], []

    @property
    def said(self):
        return [bytes(part) for part in self._said]

    @property
    def heard(self):
        return [bytes(part) for part in self._heard]


@contextmanager
def recorder(url):
    """A recording proxy in front of `url`; gives its own host:port and the Recording."""
    target, recording = (urlsplit(url).hostname, urlsplit(url).port), Recording()
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    open_sockets = {listener}

    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(target, 10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            open_sockets.update((client, server))
            for source, sink, log in ((client, server, recording._said), (server, client, recording._heard)):
                kept = bytearray()
                log.append(kept)
                threading.Thread(target=_pump, args=(source, sink, kept), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", recording
    finally:
        for each in list(open_sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def _pump(source, sink, kept):
    with suppress(OSError):
        while data := source.recv(65536):
            kept += data
            sink.sendall(data)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
