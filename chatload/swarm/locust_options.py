"""Keeps Locust's workers from building its whole command line anew for each of its options in each spawn message.

Locust 2.47 does (runners.py: `argument_parser.default_args_dict()` in a loop over all options): 65 ms in which no chat
is refreshed and 5 MB of reference cycles a message, of which a ramp has one a second.
"""

from __future__ import annotations

import functools

from locust import argument_parser


def remember_defaults() -> None:
    """Work Locust's default options out once in this process: neither its options nor the environment change."""
    known = argument_parser.default_args_dict
    if not hasattr(known, "cache_info"):
        argument_parser.default_args_dict = functools.cache(known)
