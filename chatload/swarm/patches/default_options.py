"""Locust's default options are computed once per process.

Fault: a worker calls `argument_parser.default_args_dict()`, which builds the whole command line parser, once per option
in each spawn message: 65 ms in which no chat is refreshed, and 5 MB of reference cycles. A ramp has one such message
per second. Locust 2.47.0, runners.py, message "spawn". No upstream issue found.
"""

import functools

from locust import argument_parser


def install() -> None:
    """Cache the default options: neither Locust's options nor the environment variables change."""
    if not hasattr(argument_parser.default_args_dict, "cache_info"):
        argument_parser.default_args_dict = functools.cache(argument_parser.default_args_dict)
