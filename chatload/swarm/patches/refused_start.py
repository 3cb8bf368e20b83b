"""A run that cannot begin ends Locust's start before users are created.

Fault of Locust 2.47.0, runners.py, `start`: a `test_start` listener cannot refuse the run. Locust goes on and creates
users. A master that is stopped meanwhile may send "stop" before "spawn", and its workers keep their users. No upstream
issue found.
"""

import gevent
from gevent import GreenletExit


def end_start() -> None:
    """End the greenlet in which Locust starts a run; called by a `test_start` listener.

    If `start` was not called in a greenlet of its own (Locust as a library), this does nothing: the caller needs it to
    return.
    """
    if isinstance(gevent.getcurrent(), gevent.Greenlet):
        raise GreenletExit
