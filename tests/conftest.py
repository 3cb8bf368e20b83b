"""For all tests."""

import signal

from hypothesis import settings

# No test times anything on a shared machine.
settings.register_profile("chatload", deadline=None)
settings.load_profile("chatload")

# A shell that starts CI in the background ignores SIGINT for all its children, and then no Ctrl-C can be tested.
signal.signal(signal.SIGINT, signal.default_int_handler)
