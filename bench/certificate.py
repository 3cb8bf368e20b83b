"""An authority and a certificate for the loopback, made anew for one repetition."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple


class Pems(NamedTuple):
    """Files: who signs, and the server's certificate and key."""

    authority: Path
    certificate: Path
    key: Path


def make(folder: Path) -> Pems:
    """A certificate for 127.0.0.1 by an authority of its own."""
    pems = Pems(folder / "authority.pem", folder / "server.pem", folder / "server.key")
    authority_key, request, extensions = folder / "authority.key", folder / "server.csr", folder / "server.ext"
    extensions.write_text("subjectAltName = IP:127.0.0.1, DNS:localhost\nbasicConstraints = CA:FALSE\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for command in (
        ("req", "-x509", *curve, "-keyout", authority_key, "-out", pems.authority, "-days", "2", "-subj", "/CN=bench"),
        ("req", *curve, "-keyout", pems.key, "-out", request, "-subj", "/CN=127.0.0.1"),
        (
            *("x509", "-req", "-in", request, "-CA", pems.authority, "-CAkey", authority_key, "-CAcreateserial"),
            *("-out", pems.certificate, "-days", "2", "-extfile", extensions),
        ),
    ):
        subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)
    return pems
