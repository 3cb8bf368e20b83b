"""FastHttpUser, on a fixed schedule."""

import os
import time

import gevent
from fields import BASE, INTERVAL_S, OPENING, beat, keys
from locust import FastHttpUser, constant, events, task


class Chat(FastHttpUser):
    wait_time = constant(0)

    def on_start(self):
        reply = self.client.post(BASE, data=OPENING, name="RequestChat").json()
        self.keys, self.chat, self.position = keys(reply), reply["chatId"], reply["nextPosition"]
        self.due = time.monotonic()

    @task
    def refresh(self):
        self.due += INTERVAL_S
        gevent.sleep(max(0.0, self.due - time.monotonic()))
        data = {**self.keys, "transcriptPosition": self.position}
        reply = self.client.post(f"{BASE}/{self.chat}/refresh", data=data, name="GetMessages").json()
        if reply["statusCode"] != 0:
            raise RuntimeError(f"statusCode {reply['statusCode']}")
        self.position = reply["nextPosition"]

    def on_stop(self):
        self.client.post(f"{BASE}/{self.chat}/disconnect", data=self.keys, name="Disconnect")


@events.init.add_listener
def _(**_):
    beat(os.environ["BENCH_PAUSES"])
