"""Certificates that are good, and some that are not; all but one from an authority of their own."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

_NAMES = "subjectAltName=IP:127.0.0.1,DNS:localhost"


class Certificates:
    """`good`, `expired` and `of_another` are contexts of servers; `authority` is what a client believes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.authority = str(folder / "authority.pem")
        self._openssl("req", "-x509", *_KEY, "-subj", "/CN=authority", "-keyout", "authority.key", "-out",
                      "authority.pem", "-days", "2")  # fmt: skip
        self.good = self._server("good", _NAMES)
        self.expired = self._server("expired", _NAMES, days=-1)
        self.of_another = self._server("other", "subjectAltName=DNS:elsewhere.example")

    def file(self, name: str) -> str:
        """The path of a file: good.pem, good.key, ..."""
        return str(self._folder / name)

    def _server(self, name: str, names: str, days: int = 2) -> ssl.SSLContext:
        (self._folder / "names").write_text(names)
        self._openssl("req", *_KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "authority.pem", "-CAkey", "authority.key", "-days",
                      str(days), "-extfile", "names", "-out", f"{name}.pem")  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        return context

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self._folder, check=True, capture_output=True, timeout=60)


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
