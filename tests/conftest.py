"""For all tests."""

import functools
import gc
import signal

import vl_convert
from hypothesis import settings

# No test times anything on a shared machine.
settings.register_profile("chatload", deadline=None)
settings.load_profile("chatload")

# A shell that starts CI in the background ignores SIGINT for all its children, and then no Ctrl-C can be tested.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Drawing the charts is the dearest part of a report. The same chart comes to the same picture, so a test process draws
# each once.
vl_convert.vegalite_to_svg = functools.lru_cache(maxsize=500)(vl_convert.vegalite_to_svg)


def pytest_collection_modifyitems(items):
    """The bad runs come first, beside tests that are one process each: their generators need a core.

    Other real runs come last."""
    turns = {"badruns": 0, "unit": 1, "virtual": 1}
    items.sort(key=lambda item: turns.get(item.path.parent.name, 2))


def pytest_collection_finish():
    """Everything that was imported and collected stays: the garbage collector need not walk it in each full round."""
    gc.collect()
    gc.freeze()
