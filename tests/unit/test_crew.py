import json

from chatload.run.books import Books
from chatload.run.windows import Usage
from chatload.swarm.worker_report import SILENT_S, WorkerRegistry, WorkerReport


def test_a_silent_workers_memory_is_not_counted_until_it_is_heard_of_again():
    registry = WorkerRegistry()
    for worker, at in (("gone", 0.0), ("there", SILENT_S)):
        registry.receive(worker, facts(rss=100), at)
    assert registry.find_silent(SILENT_S + 1) == ["gone"]
    assert registry.usage == {"there": Usage(1.0, 100)}
    assert registry.receive("gone", facts(rss=70), SILENT_S + 2)
    assert registry.usage == {"there": Usage(1.0, 100), "gone": Usage(1.0, 70)}


def test_a_master_that_stood_still_takes_no_worker_for_silent():
    registry = WorkerRegistry()
    registry.receive("there", facts(rss=100), 0.0)
    registry.receive("gone", facts(rss=100), 0.0)
    assert registry.find_silent(1.0) == []
    # Stopped for a minute; whoever lives is heard of again within the next seconds.
    assert registry.find_silent(61.0) == []
    assert not registry.receive("there", facts(rss=100), 61.1)
    assert [registry.find_silent(62.0 + second) for second in range(4)] == [[], [], ["gone"], []]


def facts(rss):
    return WorkerReport([], [], {"": json.dumps(Books().to_dict())}, Usage(1.0, rss), False)
