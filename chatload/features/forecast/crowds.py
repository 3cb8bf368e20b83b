"""Crowds over several processes. The result is the same whatever their number."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from chatload.features.forecast.crowd import Crowd, Job, hold

#: So many customers are one piece of work.
PIECE = 500
Holder = Callable[[Job], Crowd]
#: Told how many customers of how many are done.
Progress = Callable[[int, int], None]


def _pieces(job: Job) -> Iterator[Job]:
    for first in range(0, len(job.starts), PIECE):
        yield replace(job, first=job.first + first, starts=job.starts[first : first + PIECE])


@contextmanager
def holders(processes: int, progress: Progress = lambda _, __: None) -> Iterator[Holder]:
    """Something that holds a job's customers in so many processes, which end with the block."""
    if processes == 1:
        yield lambda job: _merged(map(hold, _pieces(job)), len(job.starts), progress)
        return
    pool = multiprocessing.get_context("spawn").Pool(processes, _mind_no_interrupt)
    try:
        # In their order, so that sums of floats come out the same each time.
        yield lambda job: _merged(pool.imap(hold, _pieces(job)), len(job.starts), progress)
    finally:
        pool.terminate()
        pool.join()


def _mind_no_interrupt() -> None:
    """Ctrl-C is the first process's to handle, which ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _merged(crowds: Iterator[Crowd], customers: int, progress: Progress) -> Crowd:
    total = Crowd()
    for crowd in crowds:
        total.merge(crowd)
        progress(total.customers, customers)
    return total
