"""The script most people would write: HttpUser, a wait of 5 s, no more."""

import os

from fields import BASE, INTERVAL_S, OPENING, beat, keys
from locust import HttpUser, constant, events, task


class Chat(HttpUser):
    wait_time = constant(INTERVAL_S)

    def on_start(self):
        reply = self.client.post(BASE, data=OPENING, name="RequestChat").json()
        self.keys, self.chat, self.position = keys(reply), reply["chatId"], reply["nextPosition"]

    @task
    def refresh(self):
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
