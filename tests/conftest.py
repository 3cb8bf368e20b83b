"""For all tests."""

import functools
import gc
import os
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


# Each of the many runs would draw a page that nobody looks at. The tests of the page let theirs do it.
os.environ["CHATLOAD_NO_REPORT"] = "true"

#: The folders whose tests compute; those of the others start processes and wait.
COMPUTING = ("unit", "virtual", "simulations")
#: The longest files, the longest first. Those of the folders that compute, then those that start processes and wait.
LONGEST = (
    *("test_forecast_fit", "test_truth", "test_large_report", "test_capacity", "test_comparing", "test_soak"),
    *("test_history", "test_repeating", "test_drift", "test_report_figures", "test_percentiles", "test_dependence"),
    *("test_export", "test_tune"),
    *("test_bad_runs", "test_campaign_real", "test_stopping", "test_capacity_real", "test_results_real"),
    *("test_docs_blocks", "test_web_start", "test_truth_real", "test_openapi", "test_thresholds_real", "test_tutorial"),
    *("test_personas_real", "test_fuzz", "test_wrong_input", "test_safety_real", "test_secrets", "test_live"),
    *("test_pages", "test_web_ui", "test_ci_recipes", "test_kill", "test_report", "test_arrivals_real"),
    *("test_bad_counts_real",),
)


def pytest_collection_modifyitems(items):
    """Files that compute alternate with files that wait for processes, so that both cores have work until the end.

    The longest come first of each kind. The first of all are the bad runs: their generators need a core, so files that
    wait are beside them, and the first that computes comes a little later.
    """
    files = {item.path: None for item in items}
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    turns = {}
    for computes in (False, True):
        kind = [path for path in files if (path.parent.name in COMPUTING) is computes]
        kind.sort(key=lambda path: ranks.get(path.stem, len(ranks)))
        later = 0.1 if computes else 0.0
        turns |= {path: later + (1 - later) * place / len(kind) for place, path in enumerate(kind)}
    items.sort(key=lambda item: (item.path.stem != "test_bad_runs", turns[item.path]))


def pytest_collection_finish():
    """Everything that was imported and collected stays: the garbage collector need not walk it in each full round."""
    gc.collect()
    gc.freeze()
