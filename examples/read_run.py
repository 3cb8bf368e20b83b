"""Read a run afterwards: counts per verdict, and the chats that were dropped.

    chatload simulator --flex-disconnect-timeout 5
    locust -f examples/smallest.py --host http://127.0.0.1:8080 --headless -u 20 -r 20 -t 30s \
           --flex-disconnect-timeout 5 --run-dir reports/mine
    python examples/read_run.py reports/mine

For a spreadsheet or a notebook use `chatload export`.
"""

import sys
from collections import Counter

from chatload import RunReader

with RunReader.open(sys.argv[1]) as run:
    print("timeout:", run.settings.flex_disconnect_timeout)
    print("books balance:", run.books().balanced())
    print("verdicts:", dict(Counter(session.verdict for session in run.sessions())))
    for session in run.sessions():
        if session.verdict.startswith("dropped"):
            print(session.chat_id, session.verdict, session.blame, session.why)
