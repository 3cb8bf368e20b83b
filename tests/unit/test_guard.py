"""Who is cut off: whoever has been in the middle of a request for too long, or longest where too many are."""

from chatload.simulator.http.protocol import SlowClientGuard

IDLE, HEAD, BODY = 0, 1, 2


class Connection:
    def __init__(self):
        self.cuts = 0

    def cut(self):
        self.cuts += 1


def cuts(*connections):
    return [connection.cuts for connection in connections]


def test_each_stage_has_its_time_and_a_finished_request_has_none():
    guard, slow, body, done = SlowClientGuard(10.0, 100), Connection(), Connection(), Connection()
    for connection in (slow, body, done):
        guard.note(connection, HEAD, 0.0)
    guard.note(body, BODY, 9.0)
    guard.note(done, IDLE, 9.0)
    guard.sweep(10.0)
    assert cuts(slow, body, done) == [0, 0, 0]
    guard.sweep(10.1)
    assert cuts(slow, body, done) == [1, 0, 0]
    guard.sweep(19.1)
    guard.sweep(1000.0)
    assert cuts(slow, body, done) == [1, 1, 0]


def test_above_the_limit_the_one_longest_at_it_goes():
    guard, connections = SlowClientGuard(10.0, 3), [Connection() for _ in range(6)]
    for at, connection in enumerate(connections[:4]):
        guard.note(connection, HEAD, float(at))
    assert cuts(*connections) == [1, 0, 0, 0, 0, 0]
    guard.note(connections[1], IDLE, 5.0)
    guard.note(connections[4], HEAD, 5.0)
    assert cuts(*connections) == [1, 0, 0, 0, 0, 0]
    guard.note(connections[2], BODY, 6.0)
    guard.note(connections[5], HEAD, 7.0)
    assert cuts(*connections) == [1, 0, 0, 1, 0, 0]
