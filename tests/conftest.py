"""For all tests."""

import signal

# A shell that starts CI in the background ignores SIGINT for all its children, and then no Ctrl-C can be tested.
signal.signal(signal.SIGINT, signal.default_int_handler)
