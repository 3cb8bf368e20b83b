"""chatload's own user, as locustfiles/chat.py has it, with the beat of the others."""

import os

from fields import beat
from locust import events

from chatload.swarm.user import ChatUser


class Chat(ChatUser):
    pass


@events.init.add_listener
def _(**_):
    beat(os.environ["BENCH_PAUSES"])
