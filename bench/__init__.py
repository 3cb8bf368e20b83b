"""The benchmark: chatload beside other load generators. See docs/bench.md."""
