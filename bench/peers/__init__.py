"""What the tools of the benchmark run: one script a tool, all of them the same work.

The same environment for all: BENCH_CHATS chats, opened over BENCH_RAMP_S seconds, refreshed every BENCH_INTERVAL_S
seconds (0 is back to back), and said goodbye to BENCH_RAMP_S + BENCH_HOLD_S after the first was opened. BENCH_BEAT
names the file for the pauses of the process, BENCH_ERRORS that for wrong answers, of a tool that does not end badly
for them.
"""

#: What `parts.py` makes of a chat, in that order.
MADE = ("greenlet", "user", "script", "engine", "transport", "driver", "connection", "held")
