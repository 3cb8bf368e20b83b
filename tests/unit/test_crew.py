import json

from chatload.run.books import Books
from chatload.run.windows import Usage
from chatload.swarm.crew import SILENT_S, Crew
from chatload.swarm.wire import Handover


def test_a_silent_workers_memory_is_not_counted_until_it_is_heard_of_again():
    crew = Crew()
    for worker, at in (("gone", 0.0), ("there", SILENT_S)):
        crew.hear(worker, facts(rss=100), at)
    assert crew.fell_silent(SILENT_S + 1) == ["gone"]
    assert crew.usage == {"there": Usage(1.0, 100)}
    assert crew.hear("gone", facts(rss=70), SILENT_S + 2)
    assert crew.usage == {"there": Usage(1.0, 100), "gone": Usage(1.0, 70)}


def test_a_master_that_stood_still_takes_no_worker_for_silent():
    crew = Crew()
    crew.hear("there", facts(rss=100), 0.0)
    crew.hear("gone", facts(rss=100), 0.0)
    assert crew.fell_silent(1.0) == []
    # Stopped for a minute; whoever lives is heard of again within the next seconds.
    assert crew.fell_silent(61.0) == []
    assert not crew.hear("there", facts(rss=100), 61.1)
    assert [crew.fell_silent(62.0 + second) for second in range(4)] == [[], [], ["gone"], []]


def facts(rss):
    return Handover([], [], json.dumps(Books().to_dict()), Usage(1.0, rss), False)
