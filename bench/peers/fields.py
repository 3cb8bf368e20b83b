"""What every Locust peer sends: the same life cycle, the same requests."""

import os

BASE = "/genesys/2/chat/default"
OPENING = {"nickname": "chatload", "subject": "load test"}
#: Seconds between two refreshes of a chat; 0 is one after the other.
INTERVAL_S = float(os.environ["BENCH_INTERVAL"])
#: The beat that tells how long this process stood still, at worst.
BEAT_S = 0.005


def keys(reply):
    return {"userId": reply["userId"], "secureKey": reply["secureKey"], "alias": reply["alias"]}


def beat(path):
    """Write down every pause of this process: when, and how much later than it should the beat came."""
    import time

    import gevent

    def watch():
        with open(path, "w", encoding="ascii") as file:
            while True:
                began = time.monotonic()
                gevent.sleep(BEAT_S)
                late = time.monotonic() - began - BEAT_S
                if late > 0.002:
                    file.write(f"{began} {late}\n")
                    file.flush()

    gevent.spawn(watch)
