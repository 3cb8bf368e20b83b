"""What the tools of the benchmark run: one script a tool, all of them the same work.

The same environment for all: BENCH_CHATS chats, opened over BENCH_RAMP_S seconds, refreshed every BENCH_INTERVAL_S (0 is
back to back), and said goodbye to BENCH_RAMP_S + BENCH_HOLD_S after the first was opened. BENCH_BEAT names the file for
the pauses of the process.
"""
