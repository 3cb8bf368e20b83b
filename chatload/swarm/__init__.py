"""The Locust side: users, options, transports, worker to master."""

import sys

# The one effect of an import: what a locustfile imports takes a second, and a signal may come in it. Only under the
# locust command, which has imported its main module by then.
if "locust.main" in sys.modules:
    from chatload.swarm.signals import end_start_up

    end_start_up()
