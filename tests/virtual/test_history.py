"""`chatload history` over nightly runs of the whole engine: the night of a slower network is named."""

import json
import shutil

import pytest

from chatload.virtual.network import NetworkModel
from tests.integration.processes import chatload_here
from tests.virtual import recorded
from tests.virtual.forecast_runs import record

NIGHTS, SLOWER_FROM = 26, 16


@pytest.fixture(scope="module")
def nightly(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nightly")
    with pytest.MonkeyPatch.context() as patch:
        for night in range(NIGHTS):
            patch.setattr(recorded, "EPOCH", 1_767_225_600.0 + 86400.0 * night)
            network = NetworkModel(0.010 if night < SLOWER_FROM else 0.013, 0.6)
            record(
                folder / f"night{night:02}",
                ("fixed", 9.0, 3.0),
                users=10,
                run_s=60.0,
                network=network,
                seed=100 + night,
            )
    return folder


def history(*arguments):
    run = chatload_here("history", *arguments, "--json")
    return run.returncode, json.loads(run.stdout)


@pytest.fixture(scope="module")
def found(nightly):
    return history(nightly)


def test_the_slower_nights_are_found_and_nothing_else(found):
    code, found = found
    changes = {name: [change["run"] for change in row["changes"]] for name, row in found["metrics"].items()}
    assert code == 1 and found["result"] == "worse" and len(found["runs"]) == NIGHTS
    (first,) = changes.pop("GetMessages.latency.p99")
    assert abs(int(first.removeprefix("night")) - SLOWER_FROM) <= 2
    assert not any(found for name, found in changes.items() if "latency" not in name), changes


def test_the_same_runs_give_the_same_history(nightly, found):
    assert history(nightly) == found


def test_the_nights_before_have_no_change(nightly, tmp_path):
    for night in range(SLOWER_FROM):
        shutil.copytree(nightly / f"night{night:02}", tmp_path / f"night{night:02}")
    metrics = ("--metric", "GetMessages.latency.p99", "--metric", "dropped.rate")
    code, found = history(tmp_path, *metrics)
    assert code in (0, 4) and found["result"] != "worse"
