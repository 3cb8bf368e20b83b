"""Every exit code of every chatload command and locustfile. Scripts rely on them."""

PASSED = 0
THRESHOLD_FAILED = 1
WRONG_USAGE = 2
INVALID = 3
INCONCLUSIVE = 4
INTERRUPTED = 130
#: The reader of the output has gone (`| head`): 128 + SIGPIPE, as from other commands.
OUTPUT_CLOSED = 141
