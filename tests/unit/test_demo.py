"""`chatload demo`, without its processes: what it refuses before it starts any, and how it ends."""

import pytest

from chatload import cli
from chatload.children import ChildEnd
from chatload.features.demo import command as demo


class StagedSimulator:
    """Stands in for the simulator."""

    started = False
    url = "http://127.0.0.1:9"

    def __init__(self, *_):
        StagedSimulator.started = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def ledger(self):
        return b""


@pytest.fixture
def staged(monkeypatch):
    """The commands that the demo runs; each ends with the next of `ends`."""
    commands, ends = [], []

    def run_child(command, shown):
        commands.append(command)
        return ends.pop(0)

    StagedSimulator.started = False
    monkeypatch.setattr(demo, "Simulator", StagedSimulator)
    monkeypatch.setattr(demo, "run_child", run_child)
    return commands, ends


def run_demo(*words):
    with pytest.raises(SystemExit) as left:
        cli.run(["demo", *map(str, words)])
    return left.value.code


@pytest.mark.parametrize("wrong", [("--threshold", "nonsense"), ("--seconds", "1e300"), ("--seconds", "0")])
def test_a_wrong_option_is_refused_before_anything_is_started(staged, wrong, capsys):
    assert run_demo(*wrong) == 2 and not StagedSimulator.started and not staged[0]
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1


def test_an_interrupt_is_one_line(staged, tmp_path, monkeypatch, capsys):
    commands, ends = staged
    ends[:] = [ChildEnd(0, asked_by=2)]
    assert run_demo("--run-dir", tmp_path / "none") == 130
    assert capsys.readouterr().err == "chatload: interrupted before the run began\n"
    (tmp_path / "run").mkdir()
    ends[:] = [ChildEnd(0, asked_by=2), ChildEnd(0)]
    # The run began: what there is of it is compared with the ledger all the same.
    (tmp_path / "run" / "run.sqlite").touch()
    monkeypatch.setattr(demo, "refuse_unwritable", lambda _: None)
    assert run_demo("--run-dir", tmp_path / "run") == 130
    assert commands[-1][3] == "reconcile"
    assert capsys.readouterr().err == f"chatload: interrupted; the run so far is in {tmp_path / 'run'}\n"
