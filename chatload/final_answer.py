"""http.client's answers, without those that are only interim."""

from __future__ import annotations

import http.client

_SWITCHING = 101


class FinalAnswer(http.client.HTTPResponse):
    """An answer whose interim ones are passed over (RFC 9110, 15.2): http.client knows of 100 only, and takes a 102
    or 103 for the answer itself."""

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200 or status == _SWITCHING:
                return version, status, reason
            http.client.parse_headers(self.fp)
