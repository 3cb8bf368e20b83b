"""The Locust side: user classes, options, the runs of a process, the web UI, the metrics endpoint."""

import logging

log = logging.getLogger("chatload")
