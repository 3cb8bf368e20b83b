"""Workarounds for faults of Locust and gevent.

Each file says what it works around, which version has the fault, and which upstream issue describes it.
tests/unit/patches_side.py shows each fault without its workaround: a test that fails there means that the workaround
is no longer needed. Versions: Locust 2.47.0, gevent 26.9.0.
"""


def install() -> None:
    """Replace the parts of Locust that have no extension point. May be called again."""
    # Imported here: some workarounds are used without Locust, whose import patches the process.
    from chatload.swarm.patches import (
        default_options,
        host_login,
        master_heartbeat,
        option_units,
        orphaned_workers,
        user_counts,
    )

    for patch in (default_options, host_login, master_heartbeat, option_units, orphaned_workers, user_counts):
        patch.install()
