"""One run: counters, histogram, session records, settings, and the run file."""
