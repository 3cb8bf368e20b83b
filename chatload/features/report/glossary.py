"""The words of every report, explained."""

from __future__ import annotations

from collections.abc import Mapping

MEANINGS: Mapping[str, str] = {
    "contact": "a request the server may have seen",
    "gap": "the time between two contacts; here its upper bound, from one leaving to the next one's answer",
    "deadline": "the instant by which the next contact must have arrived: last contact plus flex-disconnect-timeout",
    "margin": "what was left of the timeout when the contact came",
    "lateness": "how much later than scheduled a refresh left: the generator's own fault",
    "arrival": "a chat that is to begin at its own time, whether or not earlier ones are done: the open workload",
    "late start": "an arrival whose chat began more than 100 ms after its time: the generator's own fault",
    "blame": "whichever share of a silence, taken away, would have saved the session",
    "inconclusive": "too few samples to say with the confidence asked for",
}
