"""The benchmark: chatload beside other load generators, in one run, on one machine. `make bench`, docs/bench.md."""
